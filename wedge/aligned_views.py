"""The views of a stack on their tilt axis: computed view by view, read row by row."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wedge.alignment import Alignment
from wedge.data import ArrayLike3D
from wedge.formats.file_array import full_key
from wedge.output import writing
from wedge.resample import ViewResampler


class AlignedViews:
    """``(tilt, y, x)`` float32 views that an alignment brings onto the tilt axis; they can be read within `computed`.

    An aligned row takes its values from many rows of the raw view, so views cannot be made row by row at a bearable cost. They are made
    one by one and kept in a file without a name, which goes with the process however that ends; one view is in memory at a time.

    Parameters
    ----------
    raw
        ``(tilt, y, x)`` raw views.
    alignment
        Of these views.
    output_shape
        ``(y, x)`` of an aligned view.
    binning
        Raw pixels along the edge of an aligned pixel.
    """

    def __init__(self, raw: ArrayLike3D, alignment: Alignment, output_shape: tuple[int, int], binning: int) -> None:
        if alignment.num_views != raw.shape[0]:
            raise ValueError(f"an alignment of {alignment.num_views} views for {raw.shape[0]} views")
        self._raw = raw
        self._alignment = alignment
        self._resample = ViewResampler((raw.shape[1], raw.shape[2]), output_shape, binning)
        self._file: BinaryIO | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Counts along the three axes."""
        return (self._raw.shape[0], *self._resample.output_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one value."""
        return np.dtype(np.float32)

    @contextlib.contextmanager
    def computed(self, folder: Path, on_view: Callable[[], object] | None = None) -> Iterator[None]:
        """Compute all views, and keep them in ``folder`` until the end of the block.

        Parameters
        ----------
        folder
            With room for the aligned series.
        on_view
            Called after every view.

        Raises
        ------
        InputError
            If the disk is full.
        """
        with contextlib.ExitStack() as stack:
            with writing(folder):
                file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            if hasattr(os, "posix_fallocate"):
                # A disk that is too small is told before the work, not after it.
                with writing(folder):
                    os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(self.shape)))
            for view in range(self.shape[0]):
                aligned = self._resample(np.asarray(self._raw[view]), self._alignment.matrices[view], self._alignment.shifts_pixels[view])
                with writing(folder):
                    file.write(aligned.tobytes())
                if on_view is not None:
                    on_view()
            with writing(folder):
                file.flush()
            self._file = file
            try:
                yield
            finally:
                self._file = None

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part; one integer or slice per axis, missing ones are whole."""
        if self._file is None:
            raise ValueError("aligned views are read outside of computed()")
        num_views, num_rows, num_columns = self.shape
        views, rows, columns = full_key(key)
        wanted_views, wanted_rows = np.arange(num_views)[views], np.arange(num_rows)[rows]
        if not (wanted_views.size and wanted_rows.size):
            return np.empty(self.shape, self.dtype)[views, rows, columns]
        first, last = int(wanted_rows.min()), int(wanted_rows.max()) + 1
        each = np.atleast_1d(wanted_views)
        block = np.empty((len(each), last - first, num_columns), np.float32)
        for target, view in zip(block, each, strict=True):
            self._file.seek(4 * (int(view) * num_rows + first) * num_columns)
            if self._file.readinto(target.data.cast("B")) != target.nbytes:  # type: ignore[attr-defined]
                raise OSError("the file has become shorter")
        taken = block[0] if wanted_views.ndim == 0 else block
        return taken[..., wanted_rows - first, :][..., columns]
