"""A part of a tilt series, coarser or not, as a tilt series: read when it is asked for."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from wedge.data import ArrayLike3D, TiltSeries
from wedge.errors import UsageError
from wedge.formats.file_array import full_key
from wedge.geometry import TiltGeometry


class Window:
    """Rows and columns of a ``(tilt, y, x)`` array, averaged over squares of ``factor`` pixels; a remainder at the far end is left out.

    Parameters
    ----------
    array
        All of it.
    rows, columns
        First and the one after the last.
    factor
        Pixels along a side of a square.
    """

    def __init__(self, array: ArrayLike3D, rows: tuple[int, int], columns: tuple[int, int], factor: int = 1) -> None:
        self._array = array
        self._factor = factor
        self._rows, self._columns = rows, columns

    @property
    def source(self) -> ArrayLike3D:
        """All of it."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """Counts along the three axes."""
        rows, columns = ((stop - start) // self._factor for start, stop in (self._rows, self._columns))
        return (self._array.shape[0], rows, columns)

    @property
    def dtype(self) -> Any:
        """Type of one value: float32 where pixels are averaged."""
        return self._array.dtype if self._factor == 1 else np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part; one integer or slice per axis, missing ones are whole."""
        views, rows, columns = full_key(key)
        wanted = np.arange(self.shape[1])[rows]
        each = np.atleast_1d(wanted)
        if not each.size:
            return np.empty((self._array.shape[0], *self.shape[1:]), self.dtype)[views, rows, columns]
        first, last = int(each.min()), int(each.max()) + 1
        k, top, left = self._factor, self._rows[0], self._columns[0]
        source = (views, slice(top + k * first, top + k * last), slice(left, left + k * self.shape[2]))
        block = np.asarray(self._array[source])
        if k > 1:
            squares = block.reshape(*block.shape[:-2], last - first, k, self.shape[2], k)
            block = squares.mean(axis=(-3, -1), dtype=np.float64).astype(np.float32)
        return block[..., wanted - first, :][..., columns]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype=dtype)


class _Weighed:
    """Values times their weights; 0 where the weight is 0, whatever was measured there."""

    def __init__(self, array: ArrayLike3D, weights: ArrayLike3D) -> None:
        self._array, self._weights = array, weights
        self.shape, self.dtype = array.shape, np.dtype(np.float64)

    def __getitem__(self, key: Any) -> np.ndarray:
        weights = np.asarray(self._weights[key], np.float64)
        return np.where(weights > 0, np.asarray(self._array[key], np.float64), 0.0) * weights


class WeightedWindow:
    """The like of `Window` where pixels have weights: squares are averaged by them."""

    def __init__(self, array: ArrayLike3D, weights: ArrayLike3D, rows: tuple[int, int], columns: tuple[int, int], factor: int) -> None:
        self._weights = Window(weights, rows, columns, factor)
        self._products = Window(_Weighed(array, weights), rows, columns, factor)
        self.source = array
        self.shape, self.dtype = self._weights.shape, np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part; 0 where no pixel of a square counts."""
        weights, products = (np.asarray(part[key], np.float64) for part in (self._weights, self._products))
        return np.divide(products, weights, out=np.zeros_like(products), where=weights > 0).astype(np.float32)


def _seen(tilts: TiltSeries, rows: tuple[int, int], columns: tuple[int, int], factor: int = 1) -> tuple[ArrayLike3D, ArrayLike3D | None]:
    """Return a part of the values and of their weights, coarser or not."""
    if tilts.weights is None:
        return Window(tilts.array, rows, columns, factor), None
    weights = Window(tilts.weights, rows, columns, factor)
    if factor == 1:
        return Window(tilts.array, rows, columns), weights
    return WeightedWindow(tilts.array, tilts.weights, rows, columns, factor), weights


def window(
    tilts: TiltSeries, crop_x: tuple[int, int | None] | None = None, crop_y: tuple[int, int | None] | None = None, factor: int = 1
) -> TiltSeries:
    """Return a series for a part of the specimen, coarser or not.

    Parameters
    ----------
    tilts
        The whole series.
    crop_x, crop_y
        First pixel and the one after the last, None for the end, of the columns and rows of the volume to make. Tilted rays through the
        columns meet the detector beside them too, so all columns of the views are kept; of the rows only these.
    factor
        Then squares of so many pixels along a side are averaged to one.

    Raises
    ------
    UsageError
        If nothing remains.
    """
    geometry = tilts.geometry
    num_rows, num_columns = geometry.detector_shape
    depth, _, width = geometry.volume_shape
    rows, columns = (0, num_rows), (0, num_columns)
    if crop_y is not None:
        rows = _checked("--crop-y", crop_y, num_rows, tilts.name)
        count = rows[1] - rows[0]
        geometry = replace(geometry, detector_shape=(count, num_columns), volume_shape=(depth, count, width))
    if crop_x is not None:
        geometry = _narrower(geometry, _checked("--crop-x", crop_x, num_columns, tilts.name))
    if factor > 1:
        if factor > min(*geometry.detector_shape, *geometry.volume_shape):
            raise UsageError(f"--bin {factor} leaves nothing of {tilts.name}: its views are {num_rows} x {num_columns} (y, x); bin less")
        geometry = geometry.binned(factor)
    if (rows, factor) == ((0, num_rows), 1):
        return replace(tilts, geometry=geometry)
    array, weights = _seen(tilts, rows, columns, factor)
    return replace(tilts, array=array, geometry=geometry, weights=weights)


def trimmed(tilts: TiltSeries) -> TiltSeries:
    """Return the series without the columns of its views that no ray through the volume meets."""
    geometry = tilts.geometry
    num_rows, num_columns = geometry.detector_shape
    first, last = _met_columns(geometry)
    if (first, last) == (0, num_columns):
        return tilts
    offset = geometry.axis_offset_pixels + (num_columns - first - last) / 2
    narrower = replace(geometry, detector_shape=(num_rows, last - first), axis_offset_pixels=offset)
    array, weights = _seen(tilts, (0, num_rows), (first, last))
    return replace(tilts, array=array, geometry=narrower, weights=weights)


def _narrower(geometry: TiltGeometry, columns: tuple[int, int]) -> TiltGeometry:
    """Return the geometry of the volume below some columns of the view at 0 degrees."""
    depth, rows, _ = geometry.volume_shape
    axis = (geometry.detector_shape[1] - 1) / 2 + geometry.axis_offset_pixels
    centre_x = (columns[0] + columns[1] - 1) / 2 - axis
    width = max(1, round((columns[1] - columns[0]) / geometry.voxel_size_in_pixels))
    return geometry.with_volume((depth, rows, width), geometry.voxel_size_in_pixels, (geometry.volume_centre_pixels[0], centre_x))


def _met_columns(geometry: TiltGeometry) -> tuple[int, int]:
    """Return the first column that a ray through the volume meets, and the one after the last."""
    num_columns, voxel = geometry.detector_shape[1], geometry.voxel_size_in_pixels
    centre_z, centre_x = geometry.volume_centre_pixels
    half_z, half_x = geometry.volume_shape[0] * voxel / 2, geometry.volume_shape[2] * voxel / 2
    angles = geometry.tilt_angles_rad
    centres = centre_x * np.cos(angles) + centre_z * np.sin(angles)
    reach = half_x * np.abs(np.cos(angles)) + half_z * np.abs(np.sin(angles))
    edge = num_columns / 2 + geometry.axis_offset_pixels  # of the first column, seen from the axis
    first = math.floor(float((centres - reach).min()) + edge + 1e-6)
    last = math.ceil(float((centres + reach).max()) + edge - 1e-6)
    first = min(max(first, 0), num_columns - 1)
    return first, max(first + 1, min(last, num_columns))


def _checked(option: str, span: tuple[int, int | None], size: int, name: str) -> tuple[int, int]:
    start, stop = span[0], size if span[1] is None else span[1]
    if not 0 <= start < stop <= size:
        raise UsageError(f"{option} {start} {stop}: expected a first pixel and the one after the last within 0 to {size} of {name}")
    return start, stop
