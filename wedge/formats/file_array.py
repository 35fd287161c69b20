"""The data of a file as an array that stays on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


def full_key(key: Any) -> tuple[Any, Any, Any]:
    """Return an index of three axes as one integer or slice per axis."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    place = parts.index(Ellipsis)
    parts[place : place + 1] = [slice(None)] * (4 - len(parts))
    if len(parts) != 3:
        raise IndexError(f"too many indices for an array of three axes: {key}")
    views, rows, columns = parts
    return views, rows, columns


@dataclass(frozen=True)
class FileArray:
    """Three axes of values in a file, read when they are asked for.

    It reads instead of mapping: a map keeps what was read, and more around it, as memory of the process, and ends the process if the file
    is cut short meanwhile.

    Parameters
    ----------
    path
        The file.
    dtype
        Type of one value, with its byte order.
    stored_shape
        Sections, rows and columns as they lie in the file.
    offset
        Bytes before the first value.
    axes
        Which stored axis is z (or view), y and x. Where they are exchanged, the file is mapped for each read after all.
    z_falls
        True where z falls along its stored axis.
    """

    path: Path
    dtype: np.dtype[Any]
    stored_shape: tuple[int, int, int]
    offset: int
    axes: tuple[int, int, int] = (0, 1, 2)
    z_falls: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Counts along z (or views), y and x."""
        z, y, x = (self.stored_shape[axis] for axis in self.axes)
        return z, y, x

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part; one integer or slice per axis, missing ones are whole."""
        if self.axes != (0, 1, 2) or self.z_falls:
            mapped = np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.stored_shape)
            ordered = mapped.transpose(self.axes)
            return np.array((ordered[::-1] if self.z_falls else ordered)[key])
        sections, rows, columns = full_key(key)
        num_sections, num_rows, _ = self.stored_shape
        wanted_sections, wanted_rows = np.arange(num_sections)[sections], np.arange(num_rows)[rows]
        if not (wanted_sections.size and wanted_rows.size):
            return np.empty(self.stored_shape, self.dtype)[sections, rows, columns]
        first, last = int(wanted_rows.min()), int(wanted_rows.max())
        block = self._read([int(section) for section in np.atleast_1d(wanted_sections)], first, last + 1)
        taken = block[0] if wanted_sections.ndim == 0 else block
        return taken[..., wanted_rows - first, :][..., columns]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype=dtype)

    def _read(self, sections: list[int], row_start: int, row_stop: int) -> np.ndarray:
        _, num_rows, num_columns = self.stored_shape
        block = np.empty((len(sections), row_stop - row_start, num_columns), self.dtype)
        with self.path.open("rb") as file:
            for target, section in zip(block, sections, strict=True):
                file.seek(self.offset + (section * num_rows + row_start) * num_columns * self.dtype.itemsize)
                if file.readinto(target.data.cast("B")) != target.nbytes:
                    raise OSError("the file has become shorter")
        return block
