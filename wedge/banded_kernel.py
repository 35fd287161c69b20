"""A product with a banded matrix as one kernel on a GPU: every output is the sum of a few neighbouring inputs.

Memory is read and written once, whichever axis; what neighbours read in common comes from the caches.
"""
# ruff: noqa: N803 - constants of a kernel are in capitals, as Triton's users expect

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl

_TILE = 2048  # outputs of a program


class Taps(NamedTuple):
    """Rows of a banded ``(rows, columns)`` matrix: from which column on, ``(rows,)`` int32, and ``(rows, taps)`` float32 weights."""

    starts: torch.Tensor
    weights: torch.Tensor
    columns: int


@triton.jit
def _along(  # type: ignore[no-untyped-def]
    values, product, starts, weights, num_out, num_in, inner,
    TAPS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_INNER: tl.constexpr,
):  # fmt: skip
    """Fill ``(outer, num_out, inner)`` from ``(outer, num_in, inner)``; a program has a tile of one outer index."""
    blocks_inner, blocks = tl.cdiv(inner, BLOCK_INNER), tl.cdiv(num_out, BLOCK)
    program = tl.program_id(0)
    outer = (program // (blocks_inner * blocks)).to(tl.int64)
    out = (program // blocks_inner) % blocks * BLOCK + tl.arange(0, BLOCK)
    place = program % blocks_inner * BLOCK_INNER + tl.arange(0, BLOCK_INNER)
    start = tl.load(starts + out, mask=out < num_out, other=0)
    inside = place[None, :] < inner
    total = tl.zeros((BLOCK, BLOCK_INNER), dtype=tl.float32)
    source = values + outer * num_in * inner + place[None, :]
    for tap in range(TAPS):
        column = start + tap
        known = (out < num_out) & (column < num_in)
        weight = tl.load(weights + out * TAPS + tap, mask=known, other=0.0)
        total += weight[:, None] * tl.load(source + column.to(tl.int64)[:, None] * inner, mask=known[:, None] & inside, other=0.0)
    target = product + outer * num_out * inner + out.to(tl.int64)[:, None] * inner + place[None, :]
    tl.store(target, total, mask=(out < num_out)[:, None] & inside)


def along(taps: Taps, values: torch.Tensor, dim: int) -> torch.Tensor:
    """Return float32 ``values`` with axis ``dim``, which the matrix is as wide as, replaced by the product."""
    values = values.contiguous()
    dim %= values.ndim
    shape = list(values.shape)
    outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    shape[dim] = len(taps.starts)
    product = values.new_empty(shape)
    block_inner = min(256, triton.next_power_of_2(inner))
    block = min(_TILE // block_inner, triton.next_power_of_2(shape[dim]))
    programs = outer * triton.cdiv(inner, block_inner) * triton.cdiv(shape[dim], block)
    if programs:
        _along[(programs,)](
            values, product, *taps[:2], shape[dim], taps.columns, inner,
            TAPS=taps.weights.shape[1], BLOCK=block, BLOCK_INNER=block_inner,
        )  # fmt: skip
    return product
