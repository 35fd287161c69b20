"""The coarser copies of a volume, written while its rows arrive, so that nobody has to read the volume again."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from wedge.pyramid import halve_along
from wedge.slabs import slab_ranges


class CoarserCopies:
    """Makes every copy from the rows of the one before it, as `wedge.pyramid.halve` would of the whole volume.

    Of each copy it holds the rows of one chunk, and half the values of one more row of what it is made from. Rows that come out of order,
    or more than once, leave the copies unfinished until `finish`.

    Parameters
    ----------
    volume
        The Zarr array ``(z, y, x)`` that the rows are written to.
    copies
        The Zarr arrays of `wedge.pyramid.level_shapes` after the first, empty.
    """

    def __init__(self, volume: Any, copies: Sequence[Any]) -> None:
        self._volume, self._arrays = volume, copies
        self._begin()

    def _begin(self) -> None:
        self._next: int | None = 0
        self._finest: _Copy | None = None
        for finer, array in reversed(list(pairwise((self._volume, *self._arrays)))):
            self._finest = _Copy(array, finer.shape[1], self._finest)

    def add(self, y_start: int, block: np.ndarray) -> None:
        """Take ``(y, z, x)`` float32 rows of the volume from ``y_start``; they may be changed afterwards.

        Raises
        ------
        OSError
            If a chunk cannot be written.
        """
        if self._finest is None or not len(block):
            return
        in_order, self._next = y_start == self._next, None
        if in_order:
            for row in block:
                self._finest.add(row)
            # Only now: where a row failed, nobody knows which copies have it.
            self._next = y_start + len(block)

    def finish(self) -> None:
        """See that all copies are whole, once all rows of the volume are written: where they did not come in order, read them again.

        Raises
        ------
        OSError
            If a chunk cannot be written.
        """
        num_rows, chunk = self._volume.shape[1], self._volume.chunks[1]
        if self._finest is None or self._next == num_rows:
            return
        self._begin()
        for rows in slab_ranges(num_rows, chunk):
            block = np.asarray(self._volume[:, rows.start : rows.stop, :])
            for row in range(len(rows)):
                self._finest.add(block[:, row])


class _Copy:
    """One copy, ``finer_rows`` being the rows of what it is made from; its rows go on to the next coarser one."""

    def __init__(self, array: Any, finer_rows: int, coarser: "_Copy | None") -> None:
        self._array, self._coarser = array, coarser
        self._paired = finer_rows > 1
        self._even: np.ndarray | None = None
        self._chunk = np.empty(array.chunks, np.float32)
        self._num_rows = 0

    def add(self, finer: np.ndarray) -> None:
        """Take the next ``(z, x)`` row of what it is made from."""
        # Along z, then y, then x, as `halve` does: in float32 another order gives other last digits.
        row = halve_along(finer, 0)
        if self._paired and self._even is None:
            self._even = row.copy()
            return
        if self._even is not None:
            row, self._even = (self._even + row) / 2, None
        row = halve_along(row, 1)
        place = self._num_rows % self._chunk.shape[1]
        self._chunk[:, place] = row
        self._num_rows += 1
        if place + 1 == self._chunk.shape[1] or self._num_rows == self._array.shape[1]:
            self._array[:, self._num_rows - place - 1 : self._num_rows, :] = self._chunk[:, : place + 1]
        if self._coarser is not None:
            self._coarser.add(row)
