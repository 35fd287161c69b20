"""The resolution of each region at each threshold, in angstrom where the voxel size is known."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wedge.contracts import Curve
from wedge.evaluate import Evaluation
from wedge.fourier import first_crossing
from wedge.pages.report_charts import AGAINST_TRUTH, FIXED, HALF_BIT, is_correlation, region_text
from wedge.pages.report_data import Measured, Row, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTE = (
    "Inverse of the frequency where the correlation first falls below the threshold, searched from one period over the shortest side; "
    "two voxels where it never does, a dash where it is below from the start. Thresholds: 0.143 between independent halves, 0.5 against a "
    "truth, half-bit of the whole after the number of frequencies. A correlation does not see amplitudes: read that of the missing wedge "
    "beside the energy that is there."
)


def resolution_of(
    curve: Curve, region: str, threshold: str, shape: tuple[int, int, int], voxel_size_angstrom: float | None
) -> float | None:
    """Return the resolution of a region of a correlation curve in angstrom, or in voxels where nobody knows the voxel size.

    Parameters
    ----------
    threshold
        A number, or "half-bit", the curve's own.
    shape
        ``(z, y, x)`` of the volume: the search begins at one period over its shortest side.
    """
    names = [f"{HALF_BIT}-{region}", *([HALF_BIT] if region == "whole" else [])]
    limit = next((curve.series[name] for name in names if name in curve.series), None) if threshold == HALF_BIT else float(threshold)
    if limit is None:
        return None
    excess: NDArray[np.float64] = np.asarray(curve.series[region], dtype=float) - np.asarray(limit, dtype=float)
    frequency = first_crossing(curve.x, excess.tolist(), 1 / min(shape))
    return (voxel_size_angstrom or 1.0) / frequency if frequency else None


def resolution_table(measured: Sequence[Measured], shape: tuple[int, int, int], voxel_size_angstrom: float | None) -> tuple[Table, ...]:
    """Return the resolutions of all volumes' correlations, or nothing where there are none.

    What a metric itself states of its whole curve is taken from it: rings of slices begin at other sides than shells.
    """
    unit = "voxels" if voxel_size_angstrom is None else "angstrom"
    names = dict.fromkeys(name for each in measured for name, curve in each.evaluation.curves.items() if is_correlation(curve))
    rows = []
    for name in names:
        having = [each.evaluation.curves.get(name) for each in measured]
        for region in dict.fromkeys(r for curve in having if curve for r in curve.series if not r.startswith(HALF_BIT)):
            for threshold in (FIXED[1], AGAINST_TRUTH[1], *([HALF_BIT] if region == "whole" else [])):
                values = tuple(
                    _stated(each.evaluation, name, region, threshold, unit, shape, voxel_size_angstrom, name in each.evaluation.curves)
                    for each in measured
                )
                rows.append(Row(f"{name}, {region_text(region)}, at {threshold}", unit, "lower", values))
    if not rows:
        return ()
    return (Table("Resolution", tuple(each.label for each in measured), tuple(rows), (_NOTE,)),)


def _stated(
    evaluation: Evaluation,
    name: str,
    region: str,
    threshold: str,
    unit: str,
    shape: tuple[int, int, int],
    size: float | None,
    has_curve: bool,
) -> float | None:
    if not has_curve or region not in evaluation.curves[name].series:
        return None
    if region == "whole" and any(key.startswith(f"{name}.resolution-") for key in evaluation.values):
        return evaluation.values.get(f"{name}.resolution-{threshold}-{unit}")
    return resolution_of(evaluation.curves[name], region, threshold, shape, size)
