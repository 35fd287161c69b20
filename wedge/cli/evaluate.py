"""``wedge evaluate``: metrics of volumes against a reference, and their agreement with a tilt series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import DeviceOption, JsonOption, OverwriteOption, ProjectorOption, ProjectorOptOption, emit
from wedge.cli.evaluation_text import refuse_series, text, write_series
from wedge.cli.measuring import (
    HalvesOption,
    IntensityFitOption,
    MaskOption,
    MetricOption,
    Question,
    ReferenceOption,
    TiltsOption,
    UnseenViewsOption,
    measure,
    open_question,
)
from wedge.cli.reading import reads_tilts
from wedge.cli.without_reference import halves_text, refuse_picture, write_picture
from wedge.errors import UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from wedge.evaluate import Evaluation


@reads_tilts
def command(
    volumes: Annotated[list[Path] | None, typer.Argument(metavar="VOLUME", help="Volumes to measure.")] = None,
    reference: ReferenceOption = None,
    tilts: TiltsOption = None,
    halves: HalvesOption = None,
    mask: MaskOption = None,
    unseen_views: UnseenViewsOption = None,
    metric: MetricOption = None,
    intensity_fit: IntensityFitOption = "affine",
    per_slice: Annotated[
        Path | None, typer.Option("--per-slice", metavar="FILE.csv", help="Write every metric's values by y-slice.")
    ] = None,
    curves: Annotated[
        Path | None, typer.Option("--curves", metavar="FILE.json", help="Write curves, as the Fourier shell correlation.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw errors over the tilt angle and correlations.")
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Show all values, bands and resolutions too.")] = False,
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Measure volumes against a reference volume, a tilt series, or both, and two halves against each other.

    With a tilt series, volumes are projected and compared with the views: those that a volume was not made from are the test, and
    ``score``, the error on them, is what to rank volumes by where nobody knows the truth; lower is better.
    """
    volumes = volumes or []
    _refuse(bool(volumes), reference, tilts, halves, mask, metric, picture)
    from wedge.provenance import RunClock

    clock = RunClock()
    question = Question(
        volumes, reference, tilts, halves, mask, unseen_views, metric, intensity_fit, projector, projector_opt, device, reading
    )  # fmt: skip
    refuse_series(per_slice, curves, question.inputs, overwrite)
    refuse_picture(picture, question.inputs, overwrite, (per_slice, curves))
    opened = open_question(question)
    found = measure(opened)
    record = clock.record(sys.argv, opened.config, inputs=question.inputs, device=str(opened.device))
    write_series(per_slice, curves, [*found.evaluations, *([found.halves] if found.halves else [])], record, overwrite)
    if picture is not None:
        write_picture(picture, found.evaluations, found.halves, overwrite)
    tables = [text(found.evaluations, details)] if found.evaluations else []
    tables += [halves_text(found.halves)] if found.halves else []
    emit(_result(found.evaluations, found.halves, reference, tilts, record), as_json=json, text="\n\n".join(tables))


def _refuse(
    has_volumes: bool,
    reference: Path | None,
    tilts: Path | None,
    halves: tuple[Path, Path] | None,
    mask: Path | None,
    metric: list[str] | None,
    picture: Path | None,
) -> None:
    """Refuse what makes no sense together."""
    if not has_volumes and halves is None:
        raise UsageError("nothing to measure: give volumes, or two halves by --halves")
    if has_volumes and reference is None and tilts is None:
        raise UsageError("nothing to compare with: give --reference, --tilts or both")
    if not has_volumes and (reference is not None or tilts is not None):
        raise UsageError("--reference and --tilts are compared with volumes: name some")
    if metric and reference is None:
        raise UsageError("--metric compares with a reference: give --reference too")
    if picture is not None and tilts is None and halves is None:
        raise UsageError("--picture draws what views and halves say: give --tilts or --halves")
    if mask is not None and halves is None:
        raise UsageError("--mask is for two halves: give --halves")


def _result(
    evaluations: list[Evaluation], halves: Evaluation | None, reference: Path | None, tilts: Path | None, record: dict[str, Any]
) -> dict[str, Any]:
    """Return what ``--json`` prints: everything but the series, which have files of their own."""
    plain = [evaluation.to_json() for evaluation in evaluations]
    volumes = [{key: value for key, value in one.items() if key not in ("per_slice", "curves", "reference")} for one in plain]
    more = {}
    if halves is not None:
        found = halves.to_json()
        more["halves"] = {"first": found["volume"], "second": found["reference"], "values": found["values"], "notes": found["notes"]}
    return {"reference": reference, "tilts": tilts, "volumes": volumes, **more, "provenance": record}
