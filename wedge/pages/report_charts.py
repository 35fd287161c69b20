"""Charts of a report: correlations over frequency, errors over the tilt angle, quality over y."""

import math
from collections.abc import Iterable, Mapping, Sequence

from wedge.contracts import Curve
from wedge.halves_fsc import FIXED_THRESHOLD
from wedge.pages.report_data import Chart, Line, Measured
from wedge.pages.report_tables import unit_of
from wedge.view_scores import RINGS, VIEWS

HALF_BIT = "half-bit"
FIXED, AGAINST_TRUTH = (FIXED_THRESHOLD, "0.143"), (0.5, "0.5")
_FREQUENCY = "cycles per voxel"
_CORRELATION_RANGE = (-0.2, 1.02)


def is_correlation(curve: Curve) -> bool:
    """Say whether a curve is a correlation of Fourier shells or rings with a threshold."""
    return curve.x_label == _FREQUENCY and HALF_BIT in curve.series


def line(name: str, x: Sequence[float], y: Iterable[float | None], style: str = "line", colour: int | None = None) -> Line:
    """Return a line of a chart; what is no number is a gap."""
    values = tuple(None if value is None or not math.isfinite(value) else float(value) for value in y)
    return Line(name, tuple(float(each) for each in x), values, style, colour)


def frequency_label(voxel_size_angstrom: float | None) -> str:
    """Return what the axis of frequency says."""
    return _FREQUENCY if voxel_size_angstrom is None else f"{_FREQUENCY} (0.5 is {2 * voxel_size_angstrom:.4g} angstrom)"


def correlation_charts(measured: Sequence[Measured], voxel_size_angstrom: float | None) -> tuple[Chart, ...]:
    """Return a chart for each correlation and region, whole, measured cone and missing wedge: a line for each volume, and thresholds."""
    charts = []
    for name in _curve_names(measured):
        having = [(each.label, each.evaluation.curves[name]) for each in measured if name in each.evaluation.curves]
        having = [(label, curve) for label, curve in having if is_correlation(curve)]
        regions = dict.fromkeys(region for _, curve in having for region in curve.series if not region.startswith(HALF_BIT))
        for region in regions:
            lines = [line(label, curve.x, curve.series[region]) for label, curve in having if region in curve.series]
            threshold = having[0][1].series.get(HALF_BIT if region == "whole" else f"{HALF_BIT}-{region}")
            lines += [line(HALF_BIT, having[0][1].x, threshold, "dashed")] if threshold else []
            charts.append(correlation_chart(f"{name.upper()}, {region_text(region)}", lines, voxel_size_angstrom))
    return tuple(charts)


def region_text(region: str) -> str:
    """Return a region of Fourier space in words."""
    return {"whole": "whole", "cone": "measured cone", "wedge": "missing wedge"}.get(region, f"along {region}")


def correlation_chart(
    title: str, lines: Sequence[Line], voxel_size_angstrom: float | None, marks: tuple[tuple[float, str], ...] = (FIXED, AGAINST_TRUTH)
) -> Chart:
    """Return a chart of correlations over frequency, with its thresholds."""
    return Chart(title, frequency_label(voxel_size_angstrom), "correlation", tuple(lines), (0.0, 0.5), _CORRELATION_RANGE, marks)


def slice_charts(measured: Sequence[Measured], units: Mapping[str, str]) -> tuple[Chart, ...]:
    """Return each metric's value over the y-slices, a line for each volume."""
    charts = []
    for name in dict.fromkeys(name for each in measured for name in each.evaluation.per_slice):
        lines = [
            line(each.label, range(len(each.evaluation.per_slice[name])), each.evaluation.per_slice[name])
            for each in measured
            if name in each.evaluation.per_slice
        ]
        unit = unit_of(name, units)
        charts.append(Chart(name, "y (row of the volume)", f"{name} ({unit})" if unit else name, tuple(lines)))
    return tuple(charts)


def view_charts(measured: Sequence[Measured]) -> tuple[Chart, ...]:
    """Return errors over the tilt angle and ring correlations over frequency, and any other curve over angles."""
    charts = []
    by_view = [(each.label, each.evaluation.curves[VIEWS]) for each in measured if VIEWS in each.evaluation.curves]
    if by_view:
        lines = []
        for colour, (label, curve) in enumerate(by_view):
            lines.append(line(f"{label}, unseen views", curve.x, _where(curve, unseen=True), "points", colour))
            lines.append(line(f"{label}, seen views", curve.x, _where(curve, unseen=False), colour=colour))
        lines.append(line("noise alone", by_view[0][1].x, by_view[0][1].series["noise"], "dashed", len(by_view)))
        label = by_view[0][1].x_label
        charts.append(Chart("Error of each view", label, "relative error", tuple(each for each in lines if any(_numbers(each)))))
    by_ring = [(each.label, each.evaluation.curves[RINGS]) for each in measured if RINGS in each.evaluation.curves]
    if by_ring:
        known = [(label, "unseen" if "unseen" in curve.series else "seen", curve) for label, curve in by_ring]
        lines = [line(f"{label}, {which} views", curve.x, curve.series[which]) for label, which, curve in known]
        lines.append(line("limit by noise", by_ring[0][1].x, by_ring[0][1].series["limit"], "dashed"))
        charts.append(
            Chart("Ring correlation with views", by_ring[0][1].x_label, "correlation", tuple(lines), (0.0, 0.5), _CORRELATION_RANGE)
        )
    return (*charts, *_other_charts(measured))


def _other_charts(measured: Sequence[Measured]) -> list[Chart]:
    """Return the curves that nobody here knows: one chart for each of their series."""
    charts = []
    for name in _curve_names(measured):
        having = [(each.label, each.evaluation.curves[name]) for each in measured if name in each.evaluation.curves]
        if name in (VIEWS, RINGS) or is_correlation(having[0][1]):
            continue
        for series in having[0][1].series:
            lines = [line(label, curve.x, curve.series[series]) for label, curve in having if series in curve.series]
            charts.append(Chart(f"{name}: {series}", having[0][1].x_label, series, tuple(lines)))
    return charts


def _curve_names(measured: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(name for each in measured for name in each.evaluation.curves))


def _where(curve: Curve, *, unseen: bool) -> list[float | None]:
    flags = curve.series["unseen"]
    return [value if (flag > 0) == unseen else None for value, flag in zip(curve.series["error"], flags, strict=True)]


def _numbers(each: Line) -> list[bool]:
    return [value is not None for value in each.y]
