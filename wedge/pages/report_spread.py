"""Is a volume as uncertain as its spread says? Predicted against true errors, streamed by slabs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wedge.data import Volume
from wedge.errors import InputError
from wedge.intensity import IntensityFit, common_shape, correlation_of, refuse_not_finite
from wedge.pages.report_charts import line
from wedge.pages.report_data import Chart, Row, Section, Table
from wedge.slabs import chunk_rows, read_slices, slab_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAUSSIAN_SHARES = math.erf(1 / math.sqrt(2)), math.erf(2 / math.sqrt(2))
"""What lies within one and two standard deviations where errors are Gaussian."""
_BINS = 24
_DECADES = 3.0
_LEAST_SHARE = 1e-3  # of a bin: a mean over fewer voxels says little


@dataclass(frozen=True)
class Calibration:
    """Predicted against true errors.

    Parameters
    ----------
    predicted, true, share
        By bin of the predicted spread: root mean squares of both in the reference's units, and the share of voxels in it.
    rms_predicted, rms_true, correlation
        Over all voxels; the correlation is Pearson's between spread and absolute error.
    within
        Shares of voxels whose error is at most one and two times the spread.
    """

    predicted: tuple[float, ...]
    true: tuple[float, ...]
    share: tuple[float, ...]
    rms_predicted: float
    rms_true: float
    correlation: float
    within: tuple[float, float]


def calibrate_spread(
    volume: Volume,
    spread: Volume,
    reference: Volume,
    fit: IntensityFit,
    *,
    slab_rows: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Compare a spread with the true error of the volume that it belongs to, both after the fit to the reference.

    Raises
    ------
    InputError
        If shapes differ, a value is not finite, or the spread is negative somewhere or 0 everywhere: it is none.

    Notes
    -----
    Two passes; peak memory is a slab of each.
    """
    shape = common_shape([reference, volume, spread])
    ranges = slab_ranges(shape[1], slab_rows or chunk_rows(shape))
    step = on_progress or (lambda rows: None)
    largest = abs(fit.scale) * _largest(spread, ranges, step)
    edges = np.concatenate([[0.0], largest * 10 ** np.linspace(-_DECADES, 0, _BINS)])
    sums = np.zeros((3, _BINS))
    within, moments, count = np.zeros(2), np.zeros(5), 0
    for rows in ranges:
        ours, sigma, theirs = (read_slices(each, rows.start, rows.stop) for each in (volume, spread, reference))
        refuse_not_finite(ours, volume.name, rows)
        refuse_not_finite(theirs, reference.name, rows)
        predicted = abs(fit.scale) * sigma.astype(np.float64).ravel()
        error = np.abs(fit.scale * ours.astype(np.float64) + fit.offset - theirs).ravel()
        place = np.clip(np.searchsorted(edges, predicted, side="left") - 1, 0, _BINS - 1)
        for row, values in enumerate((None, predicted**2, error**2)):
            sums[row] += np.bincount(place, values, _BINS)
        within += [np.count_nonzero(error <= times * predicted) for times in (1, 2)]
        moments += [float(part.sum()) for part in (predicted, error, predicted**2, predicted * error, error**2)]
        count += predicted.size
        step(len(rows))
    return _calibration(sums, within / count, moments, count)


def _largest(spread: Volume, ranges: list[range], step: Callable[[int], None]) -> float:
    largest = 0.0
    for rows in ranges:
        block = read_slices(spread, rows.start, rows.stop)
        refuse_not_finite(block, spread.name, rows)
        if block.min() < 0:
            raise InputError(f"negative values in {spread.name}: it is no spread; name what average --std or reconstruct --std wrote")
        largest = max(largest, float(block.max()))
        step(len(rows))
    if not largest > 0:
        raise InputError(f"the spread is 0 everywhere: {spread.name}; it says nothing of uncertainty")
    return largest


def _calibration(sums: "NDArray[np.float64]", within: "NDArray[np.float64]", moments: "NDArray[np.float64]", count: int) -> Calibration:
    enough = sums[0] >= max(1.0, _LEAST_SHARE * count)
    predicted, true = (np.sqrt(sums[row][enough] / sums[0][enough]) for row in (1, 2))
    correlation = correlation_of(count, [float(each) for each in moments])
    rms = [math.sqrt(float(moments[place]) / count) for place in (2, 4)]
    share = sums[0][enough] / count
    return Calibration(
        tuple(predicted.tolist()),
        tuple(true.tolist()),
        tuple(share.tolist()),
        rms[0],
        rms[1],
        correlation,
        (float(within[0]), float(within[1])),
    )


def spread_section(label: str, found: Calibration | None, notes: tuple[str, ...]) -> Section:
    """Return the section of uncertainty: the calibration where there was a reference."""
    if found is None:
        return Section("uncertainty", "Uncertainty", (*notes, "Whether it is right can be told with --reference alone."))
    values = {
        "predicted error, root mean square": found.rms_predicted,
        "true error, root mean square": found.rms_true,
        "true over predicted error": found.rms_true / found.rms_predicted,
        "correlation of spread and absolute error": found.correlation,
        f"share of voxels within 1 times the spread (Gaussian: {GAUSSIAN_SHARES[0]:.3f})": found.within[0],
        f"share of voxels within 2 times the spread (Gaussian: {GAUSSIAN_SHARES[1]:.3f})": found.within[1],
    }
    table = Table("Predicted spread against true error", (label,), tuple(Row(name, "", None, (value,)) for name, value in values.items()))
    lines = [line("found", found.predicted, found.true, "points"), line("true as predicted", found.predicted, found.predicted, "dashed")]
    chart = Chart("Calibration", "predicted: spread, root mean square of a bin", "true error, root mean square", tuple(lines))
    return Section("uncertainty", "Uncertainty", (*notes, "Both after the volume's intensity fit."), (table,), (chart,))
