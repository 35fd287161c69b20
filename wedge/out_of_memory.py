"""Going on with fewer rows at once where memory runs out: another program may have taken what was free when the plan was made."""

import ctypes
import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from wedge.errors import is_out_of_memory

T = TypeVar("T")
SAME_RESULT = "slabs of {rows} y-rows, the result stays the same"


def release_unused() -> None:
    """Give freed memory back to the system where the C library can: what stays in the process counts against the plan that follows."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


def with_fewer_rows(work: Callable[[int], T], rows: int, told: str = SAME_RESULT) -> tuple[T, int]:
    """Return what ``work(rows)`` returns, and the rows that it did with; where memory runs out, halve them and call it again.

    A warning says each time how it goes on, in the words of ``told``; with a single row the error is passed on.
    """
    while True:
        try:
            return work(rows), rows
        except Exception as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
        # Here, not in the handler: the error's traceback holds the tensors that did not fit.
        release_unused()
        rows = (rows + 1) // 2
        warnings.warn(f"out of memory: going on with {told.format(rows=rows)}", stacklevel=2)


def _from(start: int, work: Callable[[range], T], rows: int) -> T:
    return work(range(start, start + rows))


@dataclass
class RowsAtOnce:
    """How many y-rows are worked on at once; fewer from where memory runs out.

    Parameters
    ----------
    rows
        At the most.
    told
        See `with_fewer_rows`.
    """

    rows: int
    told: str = SAME_RESULT

    def ranges(self, whole: range) -> Iterator[range]:
        """Yield the ranges of rows that cover ``whole``, in order; asked for one by one, later ones are smaller where memory ran out."""
        start = whole.start
        while start < whole.stop:
            rows = range(start, min(start + self.rows, whole.stop))
            yield rows
            start = rows.stop

    def pieces(self, whole: range, work: Callable[[range], T]) -> Iterator[tuple[range, T]]:
        """Yield pieces of some rows, in order, and what ``work`` makes of each."""
        start = whole.start
        while start < whole.stop:
            asked = min(self.rows, whole.stop - start)
            found, rows = with_fewer_rows(partial(_from, start, work), asked, self.told)
            if rows < asked:
                self.rows = rows
            yield range(start, start + rows), found
            start += rows
            del found
