"""``wedge report``: volumes side by side, with all that is known of their quality, in one file for the browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import DeviceOption, JsonOption, OverwriteOption, ProjectorOption, ProjectorOptOption, emit, progress, say
from wedge.cli.measuring import (
    Answer,
    HalvesOption,
    IntensityFitOption,
    MaskOption,
    MetricOption,
    Opened,
    Question,
    ReferenceOption,
    TiltsOption,
    UnseenViewsOption,
    measure,
    open_question,
)
from wedge.cli.reading import reads_tilts
from wedge.errors import OutputExistsError, UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from wedge.data import Volume
    from wedge.pages.report_build import Subject
    from wedge.pages.report_views import ViewPictures

_SUFFIXES = (".html", ".htm")


@reads_tilts
def command(
    volumes: Annotated[list[Path], typer.Argument(metavar="VOLUME", help="Volumes to show side by side, at most six with the reference.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="REPORT", help="File to write, .html.")],
    reference: ReferenceOption = None,
    tilts: TiltsOption = None,
    halves: HalvesOption = None,
    mask: MaskOption = None,
    std: Annotated[
        Path | None,
        typer.Option("--std", metavar="SPREAD", help="Spread of one of the volumes, written by average or reconstruct."),
    ] = None,
    std_of: Annotated[
        Path | None,
        typer.Option("--std-of", metavar="VOLUME", help="The volume that the spread is of; by default as records say."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the report.")] = "Reconstructions side by side",
    unseen_views: UnseenViewsOption = None,
    metric: MetricOption = None,
    intensity_fit: IntensityFitOption = "affine",
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Write one file, to be opened from disk, that shows volumes side by side: slices, differences, spectra, 3-D, metrics and curves.

    Everything is as ``evaluate`` finds it with the same options. A reference is the first volume shown, and not measured against itself.
    """
    from wedge.output import writing
    from wedge.pages.report_page import report_page
    from wedge.provenance import RunClock

    clock = RunClock()
    if metric and reference is None:
        raise UsageError("--metric compares with a reference: give --reference too")
    if mask is not None and halves is None:
        raise UsageError("--mask is for two halves: give --halves")
    inputs = [*volumes, *(halves or ()), *(path for path in (reference, tilts, std, mask) if path is not None)]
    _refuse_output(output, inputs, overwrite)
    measured = [path for path in volumes if reference is None or path.resolve() != reference.resolve()]
    _refuse_twice(measured, reference)
    question = Question(
        measured, reference, tilts, halves, mask, unseen_views, metric, intensity_fit, projector, projector_opt, device, reading
    )  # fmt: skip
    place = _place_of(std_of, std, [*([reference] if reference else []), *measured])
    with _claimed(output, overwrite) as partial:
        opened = open_question(question)
        subject = _subject(opened, std, place)
        record = clock.record(sys.argv, opened.config, inputs=inputs, device=str(opened.device))
        page, pictures = report_page(subject, title, _about(record, clock.seconds))
        with writing(output):
            partial.write_text(page, encoding="utf-8")
    if pictures.longest_side < pictures.full_side:
        say(f"pictures are binned from {pictures.full_side} to {pictures.longest_side} voxels a side; metrics are of all voxels")
    size = output.stat().st_size
    result = {"output": output, "bytes": size, "volumes": len(subject.volumes), "longest_side": pictures.longest_side, "provenance": record}
    emit(result, as_json=json, text=str(output))


def _refuse_output(output: Path, inputs: list[Path], overwrite: bool) -> None:
    from wedge.output import refuse_existing, refuse_same

    if output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"-o {output}: expected a name that ends in .html")
    refuse_same(output, *inputs)
    refuse_existing(output, overwrite=overwrite)
    if output.is_dir():
        raise OutputExistsError(f"output is a folder and is not replaced by a file: {output}; choose another name")


def _refuse_twice(measured: list[Path], reference: Path | None) -> None:
    from wedge.pages.report_data import MOST_VOLUMES

    resolved = [path.resolve() for path in measured]
    for path in measured:
        if resolved.count(path.resolve()) > 1:
            raise UsageError(f"a volume is named twice: {path}; once will do")
    if not measured:
        raise UsageError(f"nothing to compare with the reference {reference}: name another volume, or leave --reference out")
    count = len(measured) + (reference is not None)
    if count > MOST_VOLUMES:
        raise UsageError(f"{count} volumes, the reference included: a report shows at most {MOST_VOLUMES} side by side; leave some out")


def _place_of(std_of: Path | None, std: Path | None, shown: list[Path]) -> int | None:
    """Return which of the volumes shown ``--std-of`` names; None where it was not given."""
    if std_of is None:
        return None
    if std is None:
        raise UsageError("--std-of says whose spread --std is: give --std too")
    places = [place for place, path in enumerate(shown) if path.resolve() == std_of.resolve()]
    if not places:
        raise UsageError(f"--std-of {std_of} is none of the volumes: {', '.join(map(str, shown))}")
    return places[0]


def _subject(opened: Opened, std: Path | None, place: int | None) -> Subject:
    """Measure, and return what the report is about."""
    from wedge import formats
    from wedge.intensity import common_shape
    from wedge.pages.report_build import Subject, refuse_unfit

    shown = [*([opened.truth] if opened.truth else []), *opened.volumes]
    refuse_unfit(shown)
    spread = None if std is None else formats.open_volume(std, voxel_size_angstrom=opened.question.reading.voxel_size_angstrom)
    if spread is not None:
        common_shape([shown[0], spread])
        place = _owner(spread, shown, opened.truth is not None) if place is None else place
    views = _view_pictures(opened)
    found = measure(opened, views)
    subject = Subject(
        shown, opened.truth is not None, found.evaluations, opened.better, opened.units, found.halves, opened.halves, spread, place,
        None, opened.series, views, opened.question.intensity_fit,
    )  # fmt: skip
    return _calibrated(subject, found, opened)


def _owner(spread: Volume, shown: list[Volume], has_reference: bool) -> int:
    """Return the place of the volume that was made in the same run as the spread, or of the only one there is."""
    candidates = range(int(has_reference), len(shown))
    run = [(volume.provenance.get("command"), volume.provenance.get("started")) for volume in (*shown, spread)]
    same = [place for place in candidates if run[place] == run[-1] and run[-1][1] is not None]
    if len(same) == 1:
        return same[0]
    if len(candidates) == 1:
        return candidates[0]
    raise UsageError(f"which volume is {spread.name} the spread of? Their records do not tell: name it by --std-of VOLUME")


def _view_pictures(opened: Opened) -> ViewPictures | None:
    from wedge.formats.views import places_in_stack
    from wedge.pages.report_views import ViewPictures, choose_views

    if opened.series is None:
        return None
    chosen = choose_views(opened.volumes, opened.series, places_in_stack(opened.series.array), opened.question.unseen)
    return ViewPictures(opened.series, chosen)


def _calibrated(subject: Subject, found: Answer, opened: Opened) -> Subject:
    """Add how the spread compares with true errors, where there is a reference."""
    from dataclasses import replace

    from wedge.pages.report_spread import calibrate_spread

    if subject.spread is None or subject.spread_of in (None, 0) or opened.truth is None:
        return subject
    place = subject.spread_of or 0
    volume, fit = subject.volumes[place], found.evaluations[place - 1].intensity_fit
    with progress("calibrating the spread", 2 * volume.array.shape[1]) as advance:
        calibration = calibrate_spread(volume, subject.spread, opened.truth, fit, on_progress=advance)
    return replace(subject, calibration=calibration)


def _about(record: dict[str, Any], seconds: float) -> dict[str, str]:
    """Return how the report was made, in words."""
    from wedge.pages.report_made import command_of, time_text

    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    told = {"command": command_of(record["command"]), "made": record["started"], "time": time_text(seconds), "versions": versions}
    return told | {f"input {place}": f"{each['path']}, BLAKE2b {each['blake2b']}" for place, each in enumerate(record["inputs"], start=1)}


@contextmanager
def _claimed(path: Path, overwrite: bool) -> Iterator[Path]:
    """Claim the output before the work; what was written is put in its place, whole or not at all."""
    from wedge.output import PendingOutput

    output = PendingOutput(path, overwrite=overwrite)
    try:
        yield output.partial
        output.replace()
    except BaseException:
        output.discard()
        raise
