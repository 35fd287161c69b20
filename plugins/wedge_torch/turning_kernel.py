"""A matrix turned tile by tile on a GPU: every tile is read and written in rows that lie in one piece."""
# ruff: noqa: N803 - constants of a kernel are in capitals, as Triton's users expect

import torch
import triton
import triton.language as tl

_SIDE = 64  # of a tile


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
def _turn(batch, turned, num_rows, num_columns, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Fill ``(column, row)`` from ``(row, column)``."""
    blocks = tl.cdiv(num_rows, SIDE)
    program = tl.program_id(0)
    row = program % blocks * SIDE + tl.arange(0, SIDE)
    column = program // blocks * SIDE + tl.arange(0, SIDE)
    inside = (row < num_rows)[:, None] & (column < num_columns)[None, :]
    values = tl.load(batch + row.to(tl.int64)[:, None] * num_columns + column[None, :], mask=inside)
    target = turned + column.to(tl.int64)[:, None] * num_rows + row[None, :]
    tl.store(target, tl.trans(values), mask=tl.trans(inside))


def turn(batch: torch.Tensor) -> torch.Tensor:
    """Return ``(n, m)``, which lies so in memory, as ``(m, n)`` that does."""
    num_rows, num_columns = batch.shape
    found = batch.new_empty((num_columns, num_rows))
    programs = triton.cdiv(num_rows, _SIDE) * triton.cdiv(num_columns, _SIDE)
    if programs:
        _turn[(programs,)](batch, found, num_rows, num_columns, SIDE=_SIDE)
    return found
