"""Views on disk, one at a time: a store is read fast by rows only, and most of what is done to views needs a whole one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from wedge.data import TiltSeries
from wedge.output import Writer, writing
from wedge.slabs import chunk_rows, read_sinograms, read_weights, rows_first, slab_ranges, write_rows


class Spool:
    """A copy of a tilt series in an unnamed file, gone when the process ends, however it ends.

    Parameters
    ----------
    tilts
        The series; what is hidden by a weight of 0 is filled, see `wedge.slabs.read_sinograms`.
    folder
        Where there is room for it.
    weighted
        Whether there will be weights, all 1 unless the series has some.

    Attributes
    ----------
    views, weights
        ``(tilt, y, x)`` float32 in the file, to be changed in place; weights may be None.
    """

    def __init__(self, tilts: TiltSeries, folder: Path, *, weighted: bool = False, on_progress: Callable[[int], Any] | None = None) -> None:
        num_tilts, num_rows, width = (int(n) for n in tilts.array.shape)
        self.tilts, self.shape = tilts, (num_tilts, num_rows, width)
        self._files: list[Any] = []
        try:
            with writing(folder):
                self.views = self._array(folder)
                self.weights = self._array(folder) if weighted or tilts.weights is not None else None
            self._copy(on_progress)
        except BaseException:
            self.close()
            raise

    def _copy(self, on_progress: Callable[[int], Any] | None) -> None:
        if self.weights is not None and self.tilts.weights is None:
            self.weights[:] = 1
        for rows in slab_ranges(self.shape[1], chunk_rows(self.shape)):
            write_rows(self.views, rows.start, read_sinograms(self.tilts, rows.start, rows.stop))
            weights = read_weights(self.tilts, rows.start, rows.stop)
            if weights is not None and self.weights is not None:
                write_rows(self.weights, rows.start, weights)
            if on_progress is not None:
                on_progress(len(rows))

    def _array(self, folder: Path) -> np.ndarray:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._files.append(file)
        if hasattr(os, "posix_fallocate"):
            # A map of a file that the disk has no room for ends the process without a word.
            os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(self.shape)))
        return np.memmap(file, np.float32, "r+" if hasattr(os, "posix_fallocate") else "w+", shape=self.shape)

    def write(self, writer: Writer) -> None:
        """Write all rows, and weights where the writer takes some."""
        for rows in slab_ranges(self.shape[1], chunk_rows(self.shape)):
            part = slice(rows.start, rows.stop)
            writer.write_rows(rows.start, rows_first(self.views[:, part]))
            if writer.weighted and self.weights is not None:
                writer.write_weights(rows.start, rows_first(self.weights[:, part]))

    def close(self) -> None:
        """Give the disk space back."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
