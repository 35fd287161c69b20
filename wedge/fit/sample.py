"""Some neighbouring rows of a tilt series, on which units and settings are found before the whole is fitted."""

from dataclasses import replace

import numpy as np

from wedge.data import TiltSeries
from wedge.slabs import read_block, read_sinograms

_CANDIDATES = 16


def busiest_rows(tilts: TiltSeries, num_rows: int) -> range:
    """Return ``num_rows`` successive rows (all, where there are fewer) whose views vary the most, of up to 16 places.

    Settings are to be found where there is something to see.
    """
    total = tilts.geometry.detector_shape[0]
    if num_rows >= total:
        return range(total)
    starts = np.unique(np.linspace(0, total - num_rows, min(_CANDIDATES, total - num_rows + 1)).round().astype(int))
    # The middle row stands for its place: reading all would take as long as the whole series.
    middles = [read_sinograms(tilts, int(start) + num_rows // 2, int(start) + num_rows // 2 + 1) for start in starts]
    start = int(starts[int(np.argmax([float(middle.var()) for middle in middles]))])
    return range(start, start + num_rows)


def rows_of(tilts: TiltSeries, rows: range) -> TiltSeries:
    """Return these rows as a tilt series of their own, in memory."""
    geometry = tilts.geometry
    block = np.ascontiguousarray(read_block(tilts.array, tilts.name, rows.start, rows.stop))
    num_z, _, num_x = geometry.volume_shape
    cut = replace(geometry, detector_shape=(len(rows), geometry.detector_shape[1]), volume_shape=(num_z, len(rows), num_x))
    weights = tilts.weights
    if weights is not None:
        weights = np.ascontiguousarray(read_block(weights, tilts.name, rows.start, rows.stop))
    return replace(tilts, array=block, geometry=cut, weights=weights)
