"""``wedge align``: shifts and rotations of the views, from the series alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

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
    say,
)
from wedge.cli.reading import reads_tilts
from wedge.reading import AS_STORED, Reading


@reads_tilts
def command(
    tilts: Annotated[Path, typer.Argument(help="Tilt series: .zarr, or .mrc/.st/.ali with its angles.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The aligned series to write, .zarr or .mrc.")],
    alignment_out: Annotated[
        Path | None, typer.Option("--alignment-out", metavar="FILE.xf", help="Write the transforms too, in IMOD's convention.")
    ] = None,
    max_shift: Annotated[
        float, typer.Option("--max-shift", min=0.0, metavar="PIXELS", help="Farthest shift of a view to look for, in pixels of the series.")
    ] = 16.0,
    finest: Annotated[
        str, typer.Option("--finest", metavar="auto|K", help="Finest binning to match at; auto leaves views 256 pixels wide at most.")
    ] = "auto",
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Rounds of matching at each binning, at most.")] = 30,
    rotation: Annotated[bool, typer.Option("--rotation/--no-rotation", help="Whether views may turn.")] = True,
    with_density: Annotated[
        bool, typer.Option("--with-density/--matching-only", help="Whether views and density move together at last.")
    ] = True,
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Align the views of a tilt series on one another: shifts along x and y, and rotations.

    A series that is aligned already is written as it is, and the command says so.
    """
    from wedge import formats
    from wedge.align.refine import AlignSettings, align
    from wedge.align.resample import write_moved
    from wedge.defaults import load_defaults
    from wedge.formats.xf import write_xf
    from wedge.options import parse_settings
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock, cost_of
    from wedge.registry import Registry

    clock = RunClock()
    refuse_same(output, tilts)
    refuse_existing(output, overwrite=overwrite)
    if alignment_out is not None:
        _refuse_part(reading)
        refuse_same(alignment_out, tilts)
        refuse_existing(alignment_out, overwrite=overwrite)
    settings = AlignSettings(max_shift, _binning(finest), rounds, rotation, with_density=with_density)
    chosen = Registry.load().resolve("projector", projector or load_defaults()["projector"], parse_settings(projector_opt or []))
    target = resolve_device(device)
    series = formats.open_tilts(tilts, **reading.options(), on_note=say)
    found = align(series, chosen.build, settings, device=target, say=say)
    say(("aligned: " if found.applied else "left as it is: ") + found.reason)
    summary = found.summary()
    config = {"max_shift_pixels": max_shift, "finest": finest, "rounds": rounds, "rotation": rotation}
    config |= {"with_density": with_density, **reading.options()}
    weighted = series.weights is not None
    with formats.create_tilts(
        output, series.geometry, simulated=series.simulated, weighted=weighted, on_note=say, overwrite=overwrite
    ) as writer:
        with progress("resampling", series.geometry.detector_shape[0]) as advance:
            write_moved(series, found.transforms, writer, device=target, on_progress=advance)
        used = [path for path in (tilts, formats.angles_path(tilts, reading.angles)) if path is not None]
        record = clock.record(sys.argv, config, inputs=used, device=str(target), distributions=[chosen.entry.distribution])
        source = {"source": series.provenance} if series.provenance else {}
        if alignment_out is not None:
            write_xf(alignment_out, *found.transforms.scaled(reading.bin or 1).to_arrays())
        applied = {"source": "wedge align"} if found.applied else {}
        writer.commit(record | {"alignment": summary | applied} | source)
    result = {"output": output, "alignment_out": alignment_out, **summary}
    emit({**result, **cost_of(record)}, as_json=json, text=str(output))


def _refuse_part(reading: Reading) -> None:
    """Refuse transforms of a part of the series: a list of them has a line for each raw view and turns about the raw centre."""
    from wedge.errors import UsageError
    from wedge.reading import over

    if over({}, reading.options()).keys() & {"crop_y", "views", "exclude_views", "tilt_range"}:
        raise UsageError("--alignment-out is of all raw views, whole: leave out --crop-y, --views, --exclude-views and --tilt-range")


def _binning(text: str) -> int | None:
    from wedge.errors import UsageError

    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--finest {text!r}: expected auto or a number of pixels, 1 or more")
    return int(text)
