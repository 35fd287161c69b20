"""Copying tilt series and volumes from one format to another, a slab at a time."""

from collections.abc import Callable

import numpy as np

from wedge.data import TiltSeries, Volume
from wedge.output import Writer
from wedge.slabs import chunk_rows, read_measured, read_slices, read_weights, slab_ranges

_SAMPLED_VALUES = 4_000_000
_OUTLIERS = 1e-4


def copy_tilts(tilts: TiltSeries, writer: Writer, *, on_progress: Callable[[int], object] | None = None) -> None:
    """Copy all rows of a tilt series as float32, and their weights if the writer takes some.

    ``on_progress`` is told the number of rows just copied.
    """
    _, num_rows, _ = shape = writer.shape
    for rows in slab_ranges(num_rows, chunk_rows(shape)):
        writer.write_rows(rows.start, read_measured(tilts, rows.start, rows.stop))
        weights = read_weights(tilts, rows.start, rows.stop) if writer.weighted else None
        if weights is not None:
            writer.write_weights(rows.start, weights)
        if on_progress is not None:
            on_progress(len(rows))


def copy_volume(volume: Volume, writer: Writer, *, on_progress: Callable[[int], object] | None = None) -> None:
    """Copy all rows of a volume as float32; ``on_progress`` is told the number of rows just copied."""
    _, num_rows, _ = shape = writer.shape
    for rows in slab_ranges(num_rows, chunk_rows(shape)):
        writer.write_rows(rows.start, read_slices(volume, rows.start, rows.stop))
        if on_progress is not None:
            on_progress(len(rows))


def robust_range(data: TiltSeries | Volume) -> tuple[float, float]:
    """Return the densities that all but a ten-thousandth of the values lie between, at either end: a gold bead doesn't stretch it.

    Notes
    -----
    Of a large array some 4 million values are looked at, the same each time; of a small one all.
    """
    z, num_rows, x = data.array.shape
    slabs = slab_ranges(num_rows, chunk_rows((z, num_rows, x)))
    share = min(1.0, _SAMPLED_VALUES / (z * num_rows * x))
    draws, seen = np.random.default_rng(0), []
    for rows in slabs:
        read = read_slices(data, rows.start, rows.stop) if isinstance(data, Volume) else read_measured(data, rows.start, rows.stop)
        values = read.ravel()
        seen.append(values if share == 1.0 else values[draws.integers(0, values.size, max(1, int(values.size * share)))])
    values = np.concatenate(seen)
    # Outwards to values that are there: below ten thousand of them, the least and the largest.
    low, high = np.quantile(values, _OUTLIERS, method="lower"), np.quantile(values, 1 - _OUTLIERS, method="higher")
    return float(low), float(high)
