"""Copying tilt series and volumes from one format to another, a slab at a time."""

from collections.abc import Callable

from wedge.data import TiltSeries, Volume
from wedge.output import Writer
from wedge.slabs import chunk_rows, read_measured, read_slices, read_weights, slab_ranges


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
