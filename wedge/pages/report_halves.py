"""Two independent halves: their shell correlation by region, within a mask where there is one, and resolutions."""

import math
from collections.abc import Sequence

from wedge.contracts import Curve
from wedge.evaluate import Evaluation
from wedge.pages.report_charts import FIXED, HALF_BIT, correlation_chart, line, region_text
from wedge.pages.report_data import Chart, Row, Section, Table

_AXES = ("z", "y", "x")
_MASKED = ("masked", "random", "corrected")
_BY_MASK = {"masked": "within the mask", "random": "made by the mask", "corrected": "within the mask, corrected"}


def halves_section(halves: Evaluation, labels: Sequence[str], voxel_size_angstrom: float | None) -> Section:
    """Return the section of two halves; the evaluation has one curve, that of shells."""
    ((name, curve),) = halves.curves.items()
    unit = next(key.rpartition("-")[2] for key in halves.values if "-resolution-" in key)
    kept = [series for series in curve.series if not series.startswith(HALF_BIT) and not _detail(series)]
    rows = [Row("mean correlation", "", None, _known([halves.values.get(_mean_key(name, series)) for series in kept]))]
    for threshold in (FIXED[1], HALF_BIT):
        keys = [f"{name}.{_region(series)}-resolution-{threshold}-{unit}" for series in kept]
        rows.append(Row(f"resolution at {threshold}", unit, None, _known([halves.values.get(key) for key in keys])))
    notes = tuple(halves.notes.values())
    table = Table(f"{labels[0]} with {labels[1]}", tuple(map(series_text, kept)), tuple(rows), notes)
    return Section("halves", "Two independent halves", tables=(table,), charts=_charts(curve, voxel_size_angstrom))


def _detail(series: str) -> bool:
    """Say whether it is a direction of what only leads to the corrected curve."""
    kind, _, region = series.partition("-")
    return bool(region) and kind in ("masked", "random")


def _region(series: str) -> str:
    return f"{series}-whole" if series in _MASKED else series


def _mean_key(name: str, series: str) -> str:
    kind, _, region = series.partition("-") if series.partition("-")[0] in _MASKED else ("", "", series)
    return ".".join([name, *([kind] if kind else []), *([region] if region not in ("", "whole") else [])])


def series_text(series: str) -> str:
    """Return what a curve is of, in words."""
    kind, _, region = series.partition("-")
    if kind not in _MASKED:
        return region_text(series)
    return f"{_BY_MASK[kind]}, {region_text(region)}" if region else _BY_MASK[kind]


def _charts(curve: Curve, voxel_size_angstrom: float | None) -> tuple[Chart, ...]:
    """Return charts of whole, cone and wedge, of the axes, and of what a mask makes of them, each curve with its threshold."""
    regions = [series for series in curve.series if not series.startswith(HALF_BIT)]
    masked = [series for series in regions if series.partition("-")[0] in _MASKED and not _detail(series) and series[-2:-1] != "-"]
    groups = {
        "Shell correlation of the halves": [each for each in regions if each not in _AXES and each.partition("-")[0] not in _MASKED],
        "Shell correlation of the halves by direction": [each for each in regions if each in _AXES],
        "Shell correlation of the halves within the mask": masked,
    }
    charts = []
    for title, group in groups.items():
        lines = []
        for colour, series in enumerate(group):
            threshold, words = HALF_BIT if series == "whole" else f"{HALF_BIT}-{series}", series_text(series)
            lines.append(line(words, curve.x, curve.series[series], colour=colour))
            if threshold in curve.series:
                lines.append(line(f"{HALF_BIT}, {words}", curve.x, curve.series[threshold], "dashed", colour))
        if group:
            charts.append(correlation_chart(title, lines, voxel_size_angstrom, (FIXED,)))
    return tuple(charts)


def _known(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None or not math.isfinite(value) else value for value in values)
