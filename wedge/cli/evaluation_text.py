"""What ``wedge evaluate`` prints for people, and the files it writes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wedge.cli.table import table

if TYPE_CHECKING:
    from wedge.evaluate import Evaluation


def text(evaluations: list[Evaluation], details: bool) -> str:
    """Return the table, rows are volumes, and below it what must be known to read it."""
    from wedge.evaluate import headline_names

    names = list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.values))
    if details:
        listed = table(["", *(e.volume for e in evaluations)], [[name, *(e.values.get(name) for e in evaluations)] for name in names])
    else:
        short = headline_names(evaluations)
        listed = table(["volume", *short], [[e.volume, *(e.values.get(name) for name in short)] for e in evaluations])
    notes: dict[str, list[str]] = {}
    for evaluation in evaluations:
        for name, note in evaluation.notes.items():
            notes.setdefault(f"{name}: {note}" if name else note, []).append(evaluation.volume)
    lines = [note if len(of) == len(evaluations) else f"{note} ({', '.join(of)})" for note, of in notes.items()]
    return "\n".join([listed, "", *(_fitted(evaluation) for evaluation in evaluations), *lines])


def _fitted(evaluation: Evaluation) -> str:
    if evaluation.data_range is None:
        return f"{evaluation.volume}: compared with the views of {evaluation.reference}"
    fit = evaluation.intensity_fit
    how = f"affine intensity fit {fit.scale:.6g} v + {fit.offset:.6g}" if fit.kind == "affine" else "no intensity fit"
    return f"{evaluation.volume}: {how}; data range {evaluation.data_range:.6g} of {evaluation.reference}"


def refuse_series(per_slice: Path | None, curves: Path | None, inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse before the work what `write_series` must not write: over an input, over a store, or both into one file.

    Raises
    ------
    UsageError
        If both are one file.
    OutputExistsError
        If a file exists and is not to be replaced, is an input, or is a folder.
    """
    from wedge.errors import OutputExistsError, UsageError
    from wedge.output import refuse_existing, refuse_same

    if per_slice is not None and curves is not None and per_slice.resolve() == curves.resolve():
        raise UsageError(f"--per-slice and --curves are one file: {curves}; choose another name for one")
    for path in (path for path in (per_slice, curves) if path is not None):
        refuse_same(path, *inputs)
        refuse_existing(path, overwrite=overwrite)
        if path.is_dir():
            raise OutputExistsError(f"output is a folder and is not replaced by a file: {path}; choose another name")


def write_series(
    per_slice: Path | None, curves: Path | None, evaluations: list[Evaluation], record: dict[str, Any], overwrite: bool
) -> None:
    """Write the values by y-slice as CSV and the curves as JSON, where paths are given."""
    if per_slice is not None:
        names = list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.per_slice))
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["volume", "y", *names])
        for evaluation in evaluations:
            for y in range(max((len(series) for series in evaluation.per_slice.values()), default=0)):
                writer.writerow([evaluation.volume, y, *(_cell(evaluation.per_slice.get(name), y) for name in names)])
        _write(per_slice, lines.getvalue(), overwrite)
    if curves is not None:
        plain = [{key: one[key] for key in ("volume", "reference", "curves")} for one in (e.to_json() for e in evaluations)]
        _write(curves, json.dumps({"volumes": plain, "provenance": record}, indent=1), overwrite)


def _cell(series: list[float] | None, y: int) -> str:
    """Return a value as text; an empty cell where there is none."""
    return "" if series is None or series[y] != series[y] else f"{series[y]:.9g}"


def _write(path: Path, content: str, overwrite: bool) -> None:
    from wedge.output import PendingOutput, writing

    output = PendingOutput(path, overwrite=overwrite)
    try:
        with writing(path):
            output.partial.write_text(content, encoding="utf-8")
        output.replace()
    except BaseException:
        output.discard()
        raise
