"""``wedge reconstruct``: the fit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import (
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    OverwriteOption,
    ProjectorOption,
    ProjectorOptOption,
    device_names,
    emit,
)
from wedge.cli.fit_run import FitRun
from wedge.cli.forecast_text import show_forecast
from wedge.cli.half_runs import HalvesOption, refuse_halves, repeated_half, run_with_halves
from wedge.cli.reading import reads_tilts
from wedge.cli.watch import PortOption
from wedge.cli.watching import WatchOption, served
from wedge.errors import UsageError
from wedge.provenance import cost_of
from wedge.reading import AS_STORED, Reading


@reads_tilts
def command(
    tilts: Annotated[Path, typer.Argument(help="Tilt series: .zarr, or .mrc/.st/.ali with its angles.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Volume to write, .zarr or .mrc/.rec.")],
    std: Annotated[
        Path | None,
        typer.Option("--std", metavar="STD", help="Write the spread between a stack's fits too: how far to trust each voxel."),
    ] = None,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME", help="Network plugin.")] = None,
    network_opt: Annotated[list[str] | None, typer.Option("--network-opt", metavar="KEY=VALUE", help="Option of the network.")] = None,
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    regularizer: Annotated[
        list[str] | None, typer.Option("--regularizer", metavar="NAME:KEY=VALUE,...", help="Regularizers in place of the default; or none.")
    ] = None,
    observer: Annotated[
        list[str] | None, typer.Option("--observer", metavar="NAME:KEY=VALUE,...", help="Observers, as tensorboard.")
    ] = None,
    watch: WatchOption = False,
    port: PortOption = None,
    preset: Annotated[str | None, typer.Option("--preset", metavar="NAME", help="Settings by name, as study.")] = None,
    quality: Annotated[str | None, typer.Option("--quality", metavar="NAME", help="Short form of --preset: fast, default, high.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings: a TOML file, or an earlier output to repeat.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of all random draws.")] = None,
    passes: Annotated[float | None, typer.Option("--passes", help="How often each row is seen.")] = None,
    batch_rows: Annotated[str | None, typer.Option("--batch-rows", metavar="auto|ROWS", help="y-rows of one optimizer step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", metavar="l2|l1|huber", help="Loss of the residual.")] = None,
    weighting: Annotated[
        str | None, typer.Option("--weighting", metavar="plain|ramp", help="Weight of the residual's frequencies.")
    ] = None,
    rolloff: Annotated[
        float | None, typer.Option("--rolloff", metavar="PER_PIXEL", help="Ramp roll-off frequency, for noisy data.")
    ] = None,
    offset: Annotated[str | None, typer.Option("--offset", metavar="auto|none|VALUE", help="Intensity of an empty ray.")] = None,
    positivity: Annotated[str | None, typer.Option("--positivity", metavar="auto|on|off", help="Whether density is positive.")] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="auto|network|stack|adaptive|restore", help="Kind of field; auto: by sign of density and noise."),
    ] = None,
    tune: Annotated[
        str | None, typer.Option("--tune", metavar="NAME,...|none", help="Settings that held-out views choose; what you give is kept.")
    ] = None,
    blur: Annotated[
        float | None, typer.Option("--blur", metavar="VOXELS", help="Standard deviation of the finest detail; default: chosen.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", metavar="FACTOR", help="Of the adaptive field's prior: more is smoother; default: chosen.")
    ] = None,
    margin: Annotated[
        str | None, typer.Option("--margin", metavar="auto|VOXELS", help="How far the field goes on beyond the volume in x.")
    ] = None,
    perturbation: Annotated[
        float | None, typer.Option("--perturbation", metavar="SHARE", help="Of the measured noise, added anew by each seed.")
    ] = None,
    half: Annotated[
        Path | None, typer.Option("--half", help="An independent second half of the same views: noise is then measured, not assumed.")
    ] = None,
    refine_alignment: Annotated[
        bool | None,
        typer.Option("--refine-alignment/--as-aligned", help="Shift and turn the views, together with a density."),
    ] = None,
    hold_out: Annotated[
        float | None, typer.Option("--hold-out", metavar="FRACTION", help="Tilts kept out, to report the error on.")
    ] = None,
    hold_out_views: Annotated[
        str | None,
        typer.Option("--hold-out-views", metavar="extremes|LIST", help="Keep out the outermost views too, or these places in the stack."),
    ] = None,
    halves: HalvesOption = None,
    precision: Annotated[str | None, typer.Option("--precision", metavar="auto|float32|bfloat16", help="Of the network's layers.")] = None,
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None, typer.Option("--devices", metavar="all|LIST", help="Several devices at one fit, as cuda:0,cuda:1; or cpu,cpu.")
    ] = None,
    max_memory: MaxMemoryOption = None,
    reading: Reading = AS_STORED,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUTPUT.run.")] = False,
    stop_now: Annotated[bool, typer.Option("--stop-now", help="With --resume: write the checkpoint's result as it is.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option("--checkpoint-seconds", min=0.0, help="Time between checkpoints.")] = 60.0,
    overwrite: OverwriteOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell the time and the memory that it will take, and end.")] = False,
    json: JsonOption = False,
) -> None:
    """Reconstruct a tilt series by fitting a coordinate network to it.

    Ctrl-C or SIGTERM leaves a checkpoint in OUTPUT.run: continue with --resume, or take its result with --resume --stop-now.
    """
    if stop_now and not resume:
        raise UsageError("--stop-now needs --resume: it writes the result of a checkpoint")
    options = _option_layer(
        network=network, network_opt=network_opt, projector=projector, projector_opt=projector_opt, regularizer=regularizer,
        scalars={
            "seed": seed, "passes": passes, "learning_rate": learning_rate, "offset": _offset(offset),
            "batch_rows": _count("--batch-rows", batch_rows, "rows"),
            "positivity": positivity, "hold_out": hold_out, "hold_out_views": _held_out(hold_out_views), "precision": precision,
            "method": method, "tune": _tune(tune), "blur_voxels": blur,
            "margin": _count("--margin", margin, "voxels"), "perturbation": perturbation, "refine_alignment": refine_alignment,
            **({"adaptive": {"strength": strength}, "restore": {"strength": strength}} if strength is not None else {}),
        },
        data_term={"loss": loss, "weighting": weighting, "rolloff": rolloff},
    )  # fmt: skip
    used = device_names(device, devices)
    run = FitRun(
        tilts, output, half, std, reading.options(), used, max_memory, tuple(observer or ()),
        resume, stop_now, checkpoint_seconds, overwrite,
    )  # fmt: skip
    name = _preset_name(preset, quality)
    if (again := repeated_half(run, options, config, name)) is not None:
        if halves is not None:
            raise UsageError("--halves is of a whole, and this is the fit of a half: leave it out")
        run = again
    if dry_run and (devices or watch):
        raise UsageError(f"--dry-run tells of one device, and fits nothing: leave {'--devices' if devices else '--watch'} out")
    if dry_run:
        show_forecast(run.forecast(options, config, name), as_json=json)
        return
    with served(watch, port, output) as page:
        run = replace(run, page=page)
        if halves is None:
            _refuse(run)
            summary, provenance = run.execute(options, config, name)
        else:
            refuse_halves(run, halves)
            summary, provenance = run_with_halves(run, halves, options, config, name, refuse=_refuse)
    text = "\n".join(str(path) for path in (output, std, *(halves or ())) if path is not None)
    emit(
        {
            "output": str(output),
            "std": std and str(std),
            **({"halves": [str(path) for path in halves]} if halves else {}),
            "fit": summary,
            **cost_of(provenance),
        },
        as_json=json,
        text=text,
    )


def _refuse(run: FitRun) -> None:
    """Refuse outputs that are inputs, or that are there."""
    from wedge.output import refuse_existing, refuse_same

    if run.std is not None and run.output.resolve() == run.std.resolve():
        raise UsageError(f"volume and spread are one path: {run.output}; choose another name for one")
    for path in (run.output, run.std):
        if path is not None:
            refuse_same(path, run.tilts, *([run.half] if run.half else []))
            refuse_existing(path, overwrite=run.overwrite and not run.resume)


def _preset_name(preset: str | None, quality: str | None) -> str | None:
    if preset and quality and preset != quality:
        raise UsageError(f"--preset {preset} and --quality {quality} contradict each other: give one")
    return preset or quality


def _offset(text: str | None) -> str | float | None:
    if text is None or text in ("auto", "none"):
        return text
    try:
        value = float(text)
    except ValueError as error:
        raise UsageError(f"--offset {text!r}: expected auto, none or a number") from error
    if not math.isfinite(value):
        raise UsageError(f"--offset {text!r}: expected auto, none or a finite number")
    return value


def _count(option: str, text: str | None, unit: str) -> str | int | None:
    if text is None or text == "auto":
        return text
    if not text.isdigit():
        raise UsageError(f"{option} {text!r}: expected auto or a number of {unit}")
    return int(text)


def _held_out(text: str | None) -> str | tuple[int, ...] | None:
    from wedge.formats.views import parse_views

    return text if text is None or text == "extremes" else parse_views(text)


def _tune(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [] if text == "none" else [name.strip() for name in text.split(",")]


def _option_layer(
    *,
    network: str | None,
    network_opt: list[str] | None,
    projector: str | None,
    projector_opt: list[str] | None,
    regularizer: list[str] | None,
    scalars: dict[str, Any],
    data_term: dict[str, Any],
) -> dict[str, Any]:
    """Return what was given on the command line as the strongest layer of settings."""
    from wedge.options import parse_choice, parse_settings

    layer: dict[str, Any] = {key: value for key, value in scalars.items() if value is not None}
    for key, name, texts in (("network", network, network_opt), ("projector", projector, projector_opt)):
        if name or texts:
            layer[key] = ({"name": name} if name else {}) | {"options": parse_settings(texts or [])}
    if given := {key: value for key, value in data_term.items() if value is not None}:
        layer["data_term"] = given
    if regularizer:
        from wedge.fit.settings import regularizer_choice

        choices = [] if regularizer == ["none"] else [parse_choice(text) for text in regularizer]
        layer["regularizers"] = [regularizer_choice(name, settings) for name, settings in choices]
    return layer
