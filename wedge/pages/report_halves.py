"""Two independent halves: their shell correlation by region, and resolutions."""

import math
from collections.abc import Sequence

from wedge.evaluate import Evaluation
from wedge.pages.report_charts import FIXED, HALF_BIT, halves_chart, region_text
from wedge.pages.report_data import Row, Section, Table


def halves_section(halves: Evaluation, labels: Sequence[str], voxel_size_angstrom: float | None) -> Section:
    """Return the section of two halves; the evaluation has one curve, that of shells."""
    ((name, curve),) = halves.curves.items()
    unit = next(key.rpartition("-")[2] for key in halves.values if "-resolution-" in key)
    regions = [region for region in curve.series if not region.startswith(HALF_BIT)]
    means = [halves.values.get(name if region == "whole" else f"{name}.{region}") for region in regions]
    rows = [Row("mean correlation", "", None, _known(means))]
    for threshold in (FIXED[1], HALF_BIT):
        values = [halves.values.get(f"{name}.{region}-resolution-{threshold}-{unit}") for region in regions]
        rows.append(Row(f"resolution at {threshold}", unit, None, _known(values)))
    notes = tuple(halves.notes.values())
    table = Table(f"{labels[0]} with {labels[1]}", tuple(region_text(region) for region in regions), tuple(rows), notes)
    return Section("halves", "Two independent halves", tables=(table,), charts=halves_chart(curve, voxel_size_angstrom))


def _known(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None or not math.isfinite(value) else value for value in values)
