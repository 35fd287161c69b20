"""Reading what comes next, and writing what is done, while the present is computed: one thread for each, one slab ahead or behind.

Decompressing, compressing and copying leave the interpreter to others, so that three things are done at once; their order, and so the
result, stays the same.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch

from wedge.out_of_memory import RowsAtOnce

T = TypeVar("T")


def read_ahead(read: Callable[[range], T], ranges: Iterable[range]) -> Generator[tuple[range, T], None, None]:
    """Yield ranges of rows and what ``read`` returns for each, while a thread reads the one after it.

    ``ranges`` are asked for one by one. What reading raises is raised where that range would have come.
    """
    with ThreadPoolExecutor(1, "wedge-read") as pool:
        coming: list[tuple[range, Future[T]]] = []
        for rows in ranges:
            coming.append((rows, pool.submit(read, rows)))
            if len(coming) > 1:
                yield _taken(coming)
        while coming:
            yield _taken(coming)


def _taken(coming: list[tuple[range, Future[T]]]) -> tuple[range, T]:
    """Take the first of what comes; nothing here goes on holding it."""
    rows, reading = coming.pop(0)
    return rows, reading.result()


def computed(
    read: Callable[[range], torch.Tensor], work: Callable[[torch.Tensor], T], num_rows: int, at_once: RowsAtOnce
) -> Iterator[tuple[range, T]]:
    """Yield rows and what ``work`` makes of the tensor, rows first, that ``read`` returns for them, in order.

    The next rows are read meanwhile; those that ``work`` has no memory for are worked on in pieces.
    """
    with closing(read_ahead(read, at_once.ranges(range(num_rows)))) as slabs:
        for rows, block in slabs:
            yield from at_once.pieces(rows, partial(_on_piece, work, block, rows.start))


def _on_piece(work: Callable[[torch.Tensor], T], block: torch.Tensor, first: int, rows: range) -> T:
    return work(block[rows.start - first : rows.stop - first])


CHUNKS_WRITTEN = 4
"""Chunks of a volume that are compressed side by side where there is room for them."""


class Rows(Protocol):
    """What rows are written to, such as a `wedge.output.Writer`."""

    def write_rows(self, y_start: int, block: Any) -> None:
        """Keep ``(y, z or tilt, x)`` rows from ``y_start``."""


class WriteBehind:
    """Writes rows in a thread, one slab behind.

    Use it as a context manager inside that of the writer. Leaving it waits for the slab under way, whatever happened, so that nothing is
    written any more when the writer commits or removes its output.

    Parameters
    ----------
    writer
        What writes.
    """

    def __init__(self, writer: Rows) -> None:
        self._writer = writer
        self._pool = ThreadPoolExecutor(1, "wedge-write")
        self._pending: Future[None] | None = None

    def write_rows(self, y_start: int, block: Any) -> None:
        """Have ``(y, z or tilt, x)`` rows written, once those before are; what became of those is raised here.

        Raises
        ------
        InputError
            If the disk is full.
        """
        self._wait()
        self._pending = self._pool.submit(self._writer.write_rows, y_start, block)

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            # Of two errors the first is told.
            if kind is None:
                self._wait()
        finally:
            self._pool.shutdown(cancel_futures=True)


def on_its_way(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor in main memory; for a GPU in pinned pages, which it copies from without anybody waiting."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor
