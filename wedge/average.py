"""The mean of volumes, and their spread, streamed by slabs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wedge.data import Volume
from wedge.errors import InputError, UsageError
from wedge.intensity import common_shape, refuse_not_finite
from wedge.output import Writer
from wedge.slabs import chunk_rows, read_slices, slab_ranges

SPREAD_DDOF = 1
"""The spread is the sample standard deviation: squared deviations are divided by the number of volumes less one."""


@dataclass(frozen=True)
class AverageSummary:
    """What was averaged.

    Parameters
    ----------
    num_volumes
        How many.
    rms_spread
        Root mean square over all voxels of the sample standard deviation, in density units; None for one volume.
    rms_mean
        Standard deviation of the mean volume over all voxels, which the spread is to be compared with.
    """

    num_volumes: int
    rms_spread: float | None
    rms_mean: float


def average(
    volumes: Sequence[Volume],
    mean_writer: Writer,
    std_writer: Writer | None = None,
    *,
    slab_rows: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> AverageSummary:
    """Write the mean of any number of volumes and, if wanted, their sample standard deviation; committing is the caller's.

    Parameters
    ----------
    volumes
        ``(z, y, x)`` each, of one shape and voxel size.
    mean_writer, std_writer
        Where the rows go, ``(y, z, x)`` float32.
    slab_rows
        Rows at once; by default those of a chunk.
    on_progress
        Called with the rows done; there are ``y`` of them.

    Raises
    ------
    InputError
        If shapes or voxel sizes differ, or a value is not finite.
    UsageError
        If the spread of a single volume is asked for.

    Notes
    -----
    Sums are float64 and updated volume by volume (Welford), so memory is four slabs however many volumes there are, and volumes that agree
    up to rounding have no spread.
    """
    shape, _ = check_alike(volumes)
    if std_writer is not None and len(volumes) < 2:
        raise UsageError("the spread of one volume is not defined: give two or more, or leave --std out")
    squares = total = total_squares = 0.0
    for rows in slab_ranges(shape[1], slab_rows or chunk_rows(shape)):
        mean = np.zeros((len(rows), shape[0], shape[2]))
        deviations = np.zeros_like(mean)
        for count, volume in enumerate(volumes, start=1):
            block = read_slices(volume, rows.start, rows.stop)
            refuse_not_finite(block, volume.name, rows)
            difference = block - mean
            mean += difference / count
            deviations += difference * (block - mean)
        mean_writer.write_rows(rows.start, mean.astype(np.float32))
        total, total_squares = total + float(mean.sum()), total_squares + float(np.square(mean).sum())
        if len(volumes) > SPREAD_DDOF:
            deviations /= len(volumes) - SPREAD_DDOF
            squares += float(deviations.sum())
            if std_writer is not None:
                std_writer.write_rows(rows.start, np.sqrt(deviations).astype(np.float32))
        if on_progress is not None:
            on_progress(len(rows))
    voxels = math.prod(shape)
    spread = math.sqrt(squares / voxels) if len(volumes) > SPREAD_DDOF else None
    return AverageSummary(len(volumes), spread, math.sqrt(max(0.0, total_squares / voxels - (total / voxels) ** 2)))


def check_alike(volumes: Sequence[Volume]) -> tuple[tuple[int, int, int], float | None]:
    """Return the shape ``(z, y, x)`` and the voxel size in angstrom that all volumes share; those of unknown size fit any.

    Raises
    ------
    InputError
        If there is no volume, or two differ; the message names both.
    """
    if not volumes:
        raise InputError("no volumes to average: name one or more")
    shape = common_shape(volumes)
    known = [volume for volume in volumes if volume.voxel_size_angstrom is not None]
    for other in known[1:]:
        sizes = known[0].voxel_size_angstrom, other.voxel_size_angstrom
        if not math.isclose(*sizes, rel_tol=1e-3):  # type: ignore[arg-type]
            raise InputError(
                f"voxel sizes differ: {known[0].name} has {sizes[0]:g} A, {other.name} has {sizes[1]:g} A; average volumes of one sampling"
            )
    return shape, known[0].voxel_size_angstrom if known else None
