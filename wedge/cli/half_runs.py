"""Two more reconstructions of a series, of half of what is known each: for the correlation between them, and for denoisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import say
from wedge.errors import InputError, OutputExistsError, UsageError

if TYPE_CHECKING:
    from wedge.cli.fit_run import FitRun
    from wedge.data import TiltSeries

HalvesOption = Annotated[
    tuple[Path, Path] | None,
    typer.Option("--halves", metavar="EVEN ODD", help="Write volumes of every other view too, made alike; with --half, of either stack."),
]


def refuse_halves(run: FitRun, halves: tuple[Path, Path]) -> None:
    """Refuse what cannot be, before any work.

    Raises
    ------
    UsageError
        If two outputs are one path, or a stopped fit is to be written as it is.
    OutputExistsError
        If a half is an input, or is there and neither to be replaced nor gone on from.
    """
    if run.stop_now:
        raise UsageError("--stop-now writes an unfinished fit, and halves of it are not comparable: leave --halves out")
    refuse_same_paths((run.output, *([run.std] if run.std else []), *halves))
    refuse_outputs(halves, [run.tilts, *([run.half] if run.half else [])], overwrite=run.overwrite or run.resume)


def refuse_same_paths(paths: tuple[Path, ...]) -> None:
    """Refuse outputs that are one path."""
    resolved = [path.resolve() for path in paths]
    for place, path in enumerate(resolved):
        if path in resolved[:place]:
            raise UsageError(f"two outputs are one path: {paths[place]}; choose another name for one")


def refuse_outputs(outputs: tuple[Path, ...], inputs: list[Path], *, overwrite: bool) -> None:
    """Refuse outputs that are inputs, or that are there."""
    from wedge.output import refuse_existing, refuse_same

    for path in outputs:
        refuse_same(path, *inputs)
        refuse_existing(path, overwrite=overwrite)


def run_with_halves(
    run: FitRun,
    halves: tuple[Path, Path],
    options: dict[str, Any],
    config_file: Path | None,
    preset: str | None,
    refuse: Callable[[FitRun], None],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit all views and then either half with the same units, settings and choices; return summary and record of the whole.

    With ``run.resume`` what is finished stays, and the first that is not goes on.

    Raises
    ------
    OutputExistsError
        If all is there already, or, where nothing is resumed, any of it.
    """
    if run.half is None and not run.resume:
        _refuse_few_views(run)
    there = [path for path in (run.output, *halves) if run.resume and path.exists()]
    if len(there) == 3:
        raise OutputExistsError(f"all three outputs exist: {', '.join(map(str, there))}; there is nothing to resume")
    if run.output in there:
        from wedge.formats import open_volume

        run.refuse_changes(options, config_file, preset)
        record = open_volume(run.output).provenance
        summary = record["fit"]
    else:
        refuse(run)
        summary, record = run.execute(options, config_file, preset)
    for place, output in enumerate(halves):
        if output not in there:
            say(f"{('first', 'second')[place]} half: {output}")
            half_run(run, place, output).execute({}, None, None)
    return summary, record


def _refuse_few_views(run: FitRun) -> None:
    """Refuse to halve what is too little for two fits, before the first."""
    from wedge import formats
    from wedge.fit.hold_out import LEAST_VIEWS

    count = formats.open_tilts(run.tilts, **run.inputs).geometry.num_tilts
    if count // 2 < LEAST_VIEWS:
        raise UsageError(f"--halves of {count} views: either needs {LEAST_VIEWS} or more")


def half_run(run: FitRun, place: int, output: Path) -> FitRun:
    """Return the run of one half of what a finished run has fitted.

    Its seed is one of its own for the second half: what a seed draws must not be what halves have in common.
    """
    from wedge import formats
    from wedge.align.before_fit import FitAlignment
    from wedge.fit.checkpoint import CHECKPOINT_NAME
    from wedge.fit.half_record import HalfRecord
    from wedge.fit.hold_out import views_to_hold_out, without_held_out
    from wedge.fit.run_dir import read_settled, stored_inputs
    from wedge.fit.settings import validate
    from wedge.formats.views import every_other, places_in_stack

    settled, inputs = read_settled(run.run_dir), stored_inputs(run.run_dir)
    whole = validate(settled.settled)
    alignment = FitAlignment.read(run.run_dir).record() if whole.refine_alignment else None
    half_of = HalfRecord(str(run.output), settled.normalization, settled.chosen, alignment)
    series = formats.open_tilts(run.tilts, **inputs)
    fitted, _ = without_held_out(series, views_to_hold_out(series, whole.hold_out, whole.hold_out_views))
    chosen = range(fitted.geometry.num_tilts) if run.half else every_other(fitted.geometry.tilt_angles_deg, 1 if place else 0)
    places = [places_in_stack(fitted.array)[index] for index in chosen]
    only = {key: value for key, value in inputs.items() if key not in ("tilt_range", "exclude_views")}
    config = whole.model_copy(update={"hold_out": 0.0, "hold_out_views": (), "seed": whole.seed + place, "tune": ()})
    made = replace(
        run, output=output, half=None, std=None, inputs=only | {"views": ",".join(map(str, places))}, observers=(),
        settled=half_of.settled(config), half_of=half_of,
    )  # fmt: skip
    made = replace(made, tilts=run.half) if run.half and place else made
    return replace(made, resume=run.resume and (made.run_dir / CHECKPOINT_NAME).exists())


def repeated_half(run: FitRun, options: dict[str, Any], config_file: Path | None, preset: str | None) -> FitRun | None:
    """Return the run that makes one half again as the record of it says, or goes on with one; None where it is of no half.

    Raises
    ------
    UsageError
        If other views or a second stack are asked for: the half has the units of the whole, which are of these data.
    InputError
        If the tilt series is not the one that the half was made of.
    """
    from wedge.fit.half_record import HalfRecord
    from wedge.fit.settings import read_record
    from wedge.provenance import input_hash

    if run.resume:
        known = HalfRecord.of_run(run.run_dir)
        return None if known is None else replace(run, half_of=known)
    record = read_record(config_file) if config_file is not None else {}
    if config_file is None or not (whole := record.get("half_of")):
        return None
    if run.inputs or run.half is not None:
        raise UsageError(f"{config_file} is a half of {whole}, in units of these data: leave --half and options of reading out")
    half_of = HalfRecord.from_json(record.get("half"), config_file)
    if (made_of := next(iter(record.get("inputs") or ()), None)) and made_of.get("blake2b") != input_hash(run.tilts):
        raise InputError(f"{config_file} is a half of {whole}, in units of {made_of['path']}, and {run.tilts} holds other data: give that")
    config, inputs = run.settings(options, config_file, preset)
    say(f"{config_file} is a half of {whole}: this half alone is made again")
    return replace(run, inputs=inputs, settled=half_of.settled(config), half_of=half_of)


def half_series(series: TiltSeries, place: int) -> TiltSeries:
    """Return every other view of a series in the order of angles, from the first or the second on."""
    from wedge.formats.views import every_other, views_of

    if series.geometry.num_tilts < 2:
        raise UsageError(f"--halves of a single view: {series.name} cannot be halved")
    return views_of(series, every_other(series.geometry.tilt_angles_deg, 1 if place else 0))
