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
_SIDE = 256  # of a tile, along what lies side by side in memory

# Numbers that change from matrix to matrix: a kernel of their own for each would take longer to compile than to run.
_ANY = ["num_out", "num_in", "num_taps", "num_lines"]


class Taps(NamedTuple):
    """Rows of a banded ``(rows, columns)`` matrix: from which column on, ``(rows,)`` int32, and ``(taps, rows)`` float32 weights."""

    starts: torch.Tensor
    weights: torch.Tensor
    columns: int


@triton.jit(do_not_specialize=_ANY)
def _along_last(  # type: ignore[no-untyped-def]
    values, product, starts, weights, num_out, num_in, num_taps, num_lines, BLOCK: tl.constexpr, LINES: tl.constexpr
):
    """Fill ``(line, num_out)`` from ``(line, num_in)``."""
    blocks = tl.cdiv(num_out, BLOCK)
    program = tl.program_id(0)
    out = program % blocks * BLOCK + tl.arange(0, BLOCK)
    line = program // blocks * LINES + tl.arange(0, LINES)
    start = tl.load(starts + out, mask=out < num_out, other=0)
    total = tl.zeros((LINES, BLOCK), dtype=tl.float32)
    source = values + line.to(tl.int64)[:, None] * num_in
    for tap in range(num_taps):
        column = start + tap
        known = (out < num_out) & (column < num_in)
        weight = tl.load(weights + tap * num_out + out, mask=known, other=0.0)
        inside = (line < num_lines)[:, None] & known[None, :]
        total += weight[None, :] * tl.load(source + column[None, :], mask=inside, other=0.0)
    target = product + line.to(tl.int64)[:, None] * num_out + out[None, :]
    tl.store(target, total, mask=(line < num_lines)[:, None] & (out < num_out)[None, :])


@triton.jit(do_not_specialize=_ANY)
def _along_inner(  # type: ignore[no-untyped-def]
    values, product, starts, weights, num_out, num_in, num_taps, inner, BLOCK: tl.constexpr, INNER: tl.constexpr
):
    """Fill ``(outer, num_out, inner)`` from ``(outer, num_in, inner)``; a program has a tile of one outer index."""
    blocks_inner, blocks = tl.cdiv(inner, INNER), tl.cdiv(num_out, BLOCK)
    program = tl.program_id(0)
    outer = (program // (blocks_inner * blocks)).to(tl.int64)
    out = program // blocks_inner % blocks * BLOCK + tl.arange(0, BLOCK)
    place = program % blocks_inner * INNER + tl.arange(0, INNER)
    start = tl.load(starts + out, mask=out < num_out, other=0)
    total = tl.zeros((BLOCK, INNER), dtype=tl.float32)
    source = values + outer * num_in * inner + place[None, :]
    for tap in range(num_taps):
        column = start + tap
        known = (out < num_out) & (column < num_in)
        weight = tl.load(weights + tap * num_out + out, mask=known, other=0.0)
        inside = known[:, None] & (place < inner)[None, :]
        total += weight[:, None] * tl.load(source + column.to(tl.int64)[:, None] * inner, mask=inside, other=0.0)
    target = product + outer * num_out * inner + out.to(tl.int64)[:, None] * inner + place[None, :]
    tl.store(target, total, mask=(out < num_out)[:, None] & (place < inner)[None, :])


def along(taps: Taps, values: torch.Tensor, dim: int) -> torch.Tensor:
    """Return float32 ``values`` with axis ``dim``, which the matrix is as wide as, replaced by the product."""
    values, dim = values.contiguous(), dim % values.ndim
    shape = list(values.shape)
    outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    num_taps, num_out = taps.weights.shape
    shape[dim] = num_out
    product = values.new_empty(shape)
    # As operations of torch see them, so that who keeps what is read, for a recording, hears of them too.
    starts, weights = taps.starts.view(-1), taps.weights.view(num_taps, num_out)
    numbers = (num_out, taps.columns, num_taps)
    if product.numel() == 0:
        return product
    if inner == 1:
        block = min(_SIDE, triton.next_power_of_2(num_out))
        lines = min(_TILE // block, triton.next_power_of_2(outer))
        programs = triton.cdiv(outer, lines) * triton.cdiv(num_out, block)
        _along_last[(programs,)](values, product, starts, weights, *numbers, outer, BLOCK=block, LINES=lines)
        return product
    side = min(_SIDE, triton.next_power_of_2(inner))
    block = min(_TILE // side, triton.next_power_of_2(num_out))
    programs = outer * triton.cdiv(inner, side) * triton.cdiv(num_out, block)
    _along_inner[(programs,)](values, product, starts, weights, *numbers, inner, BLOCK=block, INNER=side)
    return product
