"""Products with matrices whose non-zeros lie near the diagonal: interpolation, narrow filters.

A dense product along an axis of n points costs n operations a point, which is free for short axes and most of the time for long ones. Cut
into blocks of rows, each with the columns that it touches, it costs the same a point whatever the length.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

_BLOCK, _GPU_BLOCK = 64, 128  # rows: a GPU does more operations in the time of a call
_WORTH_IT = 2.0  # times fewer operations from which on the blocks are worth their calls


@dataclass(frozen=True)
class _Block:
    """Rows ``top`` to ``bottom`` of a matrix in columns ``left`` to ``right``; beyond, they are zero."""

    top: int
    bottom: int
    left: int
    right: int
    values: torch.Tensor


class Banded:
    """A ``(rows, columns)`` float32 matrix with its non-zeros near the diagonal.

    Looking for them reads the matrix on the host, so on a GPU it synchronizes: build one where it will be used often.
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        self._forward, self._backward = _blocks(matrix), _blocks(matrix.T)

    def along(self, values: torch.Tensor, dim: int) -> torch.Tensor:
        """Return ``values`` with axis ``dim``, as long as the matrix is wide, replaced by the product; 0, or -2 or -1 of three axes."""
        if len(self._forward) == 1:
            return _dense(self._forward[0].values, values, dim)
        product: torch.Tensor = _Product.apply(values, self._forward, self._backward, dim)
        return product


def _blocks(matrix: torch.Tensor) -> list[_Block]:
    rows, columns = matrix.shape
    touched = (matrix != 0).cpu()
    height = _GPU_BLOCK if matrix.is_cuda else _BLOCK
    blocks = []
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        where = torch.nonzero(touched[top:bottom].any(dim=0)).flatten().tolist()
        left, right = (where[0], where[-1] + 1) if where else (0, 1)
        blocks.append(_Block(top, bottom, left, right, matrix[top:bottom, left:right].contiguous()))
    cost = sum(block.values.numel() for block in blocks)
    # A single block stands for the whole matrix.
    return blocks if len(blocks) > 1 and cost * _WORTH_IT <= rows * columns else [_Block(0, rows, 0, columns, matrix)]


def _dense(matrix: torch.Tensor, values: torch.Tensor, dim: int) -> torch.Tensor:
    if dim == -1:
        return values @ matrix.T
    if dim == -2:
        return matrix @ values
    return (matrix @ values.flatten(1)).unflatten(1, values.shape[1:])


class _Product(torch.autograd.Function):
    """The product block by block; its gradient is that with the transpose."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, forward: list[_Block], backward: list[_Block], dim: int) -> torch.Tensor:
        ctx.backward, ctx.dim = backward, dim
        return _by_blocks(values, forward, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return _by_blocks(gradient, ctx.backward, ctx.dim), None, None, None


def _by_blocks(values: torch.Tensor, blocks: list[_Block], dim: int) -> torch.Tensor:
    shape = list(values.shape)
    shape[dim] = blocks[-1].bottom
    product = values.new_empty(shape)
    for block in blocks:
        part = values.narrow(dim, block.left, block.right - block.left)
        product.narrow(dim, block.top, block.bottom - block.top).copy_(_dense(block.values, part, dim))
    return product
