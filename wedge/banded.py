"""Products with matrices whose non-zeros lie near the diagonal: interpolation, narrow filters.

A dense product along an axis of n points costs n operations a point, which is free for short axes and most of the time for long ones. Cut
into blocks of rows, each with the columns that it touches, it costs the same a point whatever the length. On a GPU with Triton a kernel
sums the few neighbours of every point, see `wedge.banded_kernel`: blocks are read and copied several times there.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.autograd.function import once_differentiable

_BLOCK, _GPU_BLOCK = 64, 128  # rows: a GPU does more operations in the time of a call
_WORTH_IT = 2.0  # times fewer operations from which on the blocks are worth their calls
_MOST_TAPS = 64  # of a row, that a kernel sums one by one

Along = Callable[[torch.Tensor, int], torch.Tensor]


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
        self._forward, self._backward = _ways(matrix)

    def along(self, values: torch.Tensor, dim: int) -> torch.Tensor:
        """Return ``values`` with axis ``dim``, as long as the matrix is wide, replaced by the product; 0, or -2 or -1 of three axes."""
        product: torch.Tensor = _Product.apply(values, self._forward, self._backward, dim)
        return product


def _ways(matrix: torch.Tensor) -> tuple[Along, Along]:
    """Return the product with a matrix, and that with its transpose."""
    if (kernel := _kernel(matrix.device)) is not None:
        forward, backward = kernel(matrix), kernel(matrix.T)
        if forward is not None and backward is not None:
            return forward, backward
    return _Blocks(matrix), _Blocks(matrix.T)


class _Blocks:
    """The product block by block."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.blocks = _blocks(matrix)

    def __call__(self, values: torch.Tensor, dim: int) -> torch.Tensor:
        if len(self.blocks) == 1:
            return _dense(self.blocks[0].values, values, dim)
        shape = list(values.shape)
        shape[dim] = self.blocks[-1].bottom
        product = values.new_empty(shape)
        for block in self.blocks:
            part = values.narrow(dim, block.left, block.right - block.left)
            product.narrow(dim, block.top, block.bottom - block.top).copy_(_dense(block.values, part, dim))
        return product


def kernel_of(matrix: torch.Tensor) -> Along | None:
    """Return the product as a kernel, None where rows have too many non-zeros for it; see `wedge.banded_kernel`."""
    from wedge.banded_kernel import Taps, along

    columns = matrix.shape[1]
    touched, places = matrix != 0, torch.arange(columns, device=matrix.device)
    # An empty row begins anywhere.
    first = torch.where(touched, places, columns).amin(dim=1).clamp_max(columns - 1)
    last = torch.where(touched, places, 0).amax(dim=1)
    num_taps = max(1, int((last - first).amax()) + 1)
    if num_taps > _MOST_TAPS:
        return None
    places = first + torch.arange(num_taps, device=matrix.device)[:, None]
    weights = torch.where(places < columns, matrix.T.gather(0, places.clamp_max(columns - 1)), 0)
    taps = Taps(first.int(), weights.contiguous(), columns)
    return lambda values, dim: along(taps, values, dim)


@cache
def _kernel(device: torch.device) -> Callable[[torch.Tensor], Along | None] | None:
    """Return what makes kernels on a device, once one of them has computed there what blocks do; None where there are none."""
    if device.type != "cuda":
        return None
    matrix = torch.ones(40, 44, device=device).triu().tril(4) * torch.linspace(1, 2, 44, device=device)
    values = torch.linspace(-1, 1, 3 * 44 * 5, device=device).view(3, 44, 5)
    try:
        along = kernel_of(matrix)
        assert along is not None
        difference = float((along(values, -2) - _Blocks(matrix)(values, -2)).abs().max())
    except ImportError:
        return None
    except Exception as error:  # of whatever compiles or launches it
        warnings.warn(f"kernels do not work here, torch computes instead: {' '.join(str(error).split())[:200]}", stacklevel=2)
        return None
    if difference < 1e-4:
        return kernel_of
    warnings.warn(f"kernels compute something else here, torch computes instead: by {difference:.1g}", stacklevel=2)
    return None


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
    """The product in one way; its gradient is that with the transpose."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, forward: Along, backward: Along, dim: int) -> torch.Tensor:
        ctx.backward, ctx.dim = backward, dim
        return forward(values, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return ctx.backward(gradient, ctx.dim), None, None, None
