"""``wedge evaluate``: metrics of volumes against a reference, and their agreement with a tilt series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wedge.cli.common import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    ProjectorOption,
    ProjectorOptOption,
    emit,
    progress,
    resolve_device,
)
from wedge.cli.comparison import Comparison
from wedge.cli.reading import reads_tilts
from wedge.cli.report import refuse_series, text, write_series
from wedge.cli.without_reference import (
    halves_evaluation,
    halves_text,
    named_views,
    refuse_picture,
    refuse_unknown,
    with_ranks,
    with_spread,
    write_picture,
)
from wedge.errors import UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from wedge.evaluate import Evaluation
    from wedge.registry import Resolved

IntensityFitOption = Annotated[
    Literal["affine", "none"], typer.Option("--intensity-fit", help="Match scale and offset by least squares before comparing, or do not.")
]


@reads_tilts
def command(
    volumes: Annotated[list[Path] | None, typer.Argument(metavar="VOLUME", help="Volumes to measure.")] = None,
    reference: Annotated[Path | None, typer.Option("--reference", metavar="REF", help="Volume to compare with.")] = None,
    tilts: Annotated[
        Path | None, typer.Option("--tilts", metavar="TILTS", help="Tilt series that the projected volumes are compared with.")
    ] = None,
    halves: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--halves", metavar="EVEN ODD", help="Two independent halves: how far they agree, and in which directions."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="FILE", help="With --halves: their agreement within a mask too, less what the mask itself makes."),
    ] = None,
    unseen_views: Annotated[
        str | None,
        typer.Option("--unseen-views", metavar="LIST|none", help="Views that volumes were not made from; default: what they say."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME[:KEY=VALUE,...]", help="Metrics, for example vif:variant=study; by default all."),
    ] = None,
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
    from wedge import formats
    from wedge.intensity import common_shape
    from wedge.provenance import RunClock

    clock = RunClock()
    unseen = named_views(unseen_views, tilts)
    inputs = [*volumes, *(halves or ()), *(path for path in (reference, tilts, mask) if path is not None)]
    refuse_series(per_slice, curves, inputs, overwrite)
    refuse_picture(picture, inputs, overwrite, (per_slice, curves))
    metrics = _metrics(metric) if reference is not None else []
    where = resolve_device(device)
    size = reading.voxel_size_angstrom
    opened = [formats.open_volume(path, voxel_size_angstrom=size) for path in volumes]
    truth = None if reference is None else formats.open_volume(reference, voxel_size_angstrom=size)
    series = None if tilts is None else formats.open_tilts(tilts, **reading.options())
    refuse_unknown(unseen, series)
    if truth is not None:
        common_shape([truth, *opened])  # before the first long computation
    resolved = _projector(projector, projector_opt) if series is not None else None
    built = [(name, metric.build()) for name, metric in metrics]
    work = Comparison(truth, series, built, resolved, intensity_fit, where, unseen)
    pair = [formats.open_volume(path, voxel_size_angstrom=size) for path in halves or ()]
    with progress("evaluating", work.passes * sum(volume.array.shape[1] for volume in opened)) as advance:
        evaluations = with_ranks(with_spread([work.evaluate(volume, advance) for volume in opened], opened))
    of_halves = halves_evaluation(pair[0], pair[1], None if mask is None else formats.open_volume(mask)) if pair else None
    config = {
        "metrics": [name for name, _ in metrics],
        "intensity_fit": intensity_fit,
        "unseen_views": unseen,
        **({"mask": str(mask)} if mask else {}),
    }
    record = clock.record(sys.argv, config, inputs=inputs, device=str(where))
    write_series(per_slice, curves, [*evaluations, *([of_halves] if of_halves else [])], record, overwrite)
    if picture is not None:
        write_picture(picture, evaluations, of_halves, overwrite)
    tables = [text(evaluations, details)] if evaluations else []
    tables += [halves_text(of_halves)] if of_halves else []
    emit(_result(evaluations, of_halves, reference, tilts, record), as_json=json, text="\n\n".join(tables))


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


def _metrics(choices: list[str] | None) -> list[tuple[str, Resolved]]:
    """Resolve ``name:key=value`` choices; what was typed names the result."""
    from wedge.defaults import load_defaults
    from wedge.options import parse_choice
    from wedge.registry import Registry

    chosen = choices or load_defaults()["metrics"]
    twice = {choice for choice in chosen if chosen.count(choice) > 1}
    if twice:
        raise UsageError(f"--metric {sorted(twice)[0]} is given twice: once will do")
    registry = Registry.load()
    return [(choice, registry.resolve("metric", *parse_choice(choice))) for choice in chosen]


def _projector(name: str | None, options: list[str] | None) -> Resolved:
    from wedge.defaults import load_defaults
    from wedge.options import parse_settings
    from wedge.registry import Registry

    return Registry.load().resolve("projector", name or load_defaults()["projector"], parse_settings(options or []))


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
