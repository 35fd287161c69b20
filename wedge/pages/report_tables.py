"""Tables of figures: which values are shown first, in which unit, and which way is better."""

import math
from collections.abc import Mapping, Sequence

from wedge.evaluate import Evaluation, headline_names
from wedge.pages.report_data import Measured, Row, Table

RESOLUTION = ".resolution-"
_LOWER = {"error", "ramp-error", "residual", "score"}
_NEUTRAL = {"rank", "spread", "signal-to-noise", "noise-error", "frc-limit"}


def metric_tables(measured: Sequence[Measured], better: Mapping[str, str | float], units: Mapping[str, str]) -> tuple[Table, ...]:
    """Return the table of main figures, and one of all the others where there are more.

    Parameters
    ----------
    better
        By metric: "higher", "lower", or the value that is right.
    units
        By metric, where it has one.
    """
    evaluations = [each.evaluation for each in measured]
    names = list(dict.fromkeys(name for each in evaluations for name in each.values))
    first = set(headline_names(evaluations))
    columns = tuple(each.label for each in measured)
    rows = {name: row_of(name, evaluations, better, units) for name in names}
    main = [rows[name] for name in names if name in first]
    others = [rows[name] for name in names if name not in first]
    tables = [Table("Metrics", columns, tuple(main), notes_of(measured))] if main else []
    return tuple(tables + ([Table("Further metrics: parts, bands and resolutions", columns, tuple(others), folded=True)] if others else []))


def row_of(name: str, evaluations: Sequence[Evaluation], better: Mapping[str, str | float], units: Mapping[str, str]) -> Row:
    """Return one figure of all volumes."""
    values = tuple(_known(each.values.get(name)) for each in evaluations)
    return Row(name, unit_of(name, units), direction(name, better), values)


def direction(name: str, better: Mapping[str, str | float]) -> str | float | None:
    """Return which way a figure is better; None where none is."""
    last = name.rsplit(".", 1)[-1]
    if RESOLUTION in name:
        return "lower"
    if last in _NEUTRAL:
        return None
    metric = _metric_of(name, better)
    if metric is not None:
        return better[metric]
    return "lower" if last in _LOWER else "higher"


def unit_of(name: str, units: Mapping[str, str]) -> str:
    """Return the unit of a figure, or ""."""
    if RESOLUTION in name:
        return name.rsplit("-", 1)[-1]
    metric = _metric_of(name, units)
    return units[metric] if metric is not None else ""


def _metric_of(name: str, metrics: Mapping[str, object]) -> str | None:
    """Return the metric that a figure is of: its options may hold dots, so the longest beginning counts."""
    found = [metric for metric in metrics if name == metric or name.startswith(metric + ".")]
    return max(found, key=len) if found else None


def notes_of(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return how intensities were matched, and how figures are to be read; what is said of all volumes is said once."""
    said: dict[str, list[str]] = {}
    for each in measured:
        for name, note in each.evaluation.notes.items():
            said.setdefault(f"{name}: {note}" if name else note, []).append(each.label)
    fitted = [fit_text(each) for each in measured]
    return (*fitted, *(note if len(of) == len(measured) else f"{note} ({', '.join(of)})" for note, of in said.items()))


def fit_text(measured: Measured) -> str:
    """Return how a volume's intensities were matched with what it was compared with."""
    evaluation = measured.evaluation
    fit = evaluation.intensity_fit
    if evaluation.data_range is None:
        return (
            f"{measured.label}: compared with the views of {evaluation.reference}"
            if evaluation.reference
            else f"{measured.label}: seen alone"
        )
    how = f"affine intensity fit {fit.scale:.6g} v + {fit.offset:.6g}" if fit.kind == "affine" else "no intensity fit"
    return f"{measured.label}: {how}; data range {evaluation.data_range:.6g} of {evaluation.reference}"


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
