"""``wedge preprocess``: real views made ready for reconstruction."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wedge.cli.common import JsonOption, OverwriteOption, emit, say
from wedge.cli.reading import reads_tilts
from wedge.errors import UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from wedge.data import TiltSeries


@reads_tilts
def command(
    tilts: Annotated[Path, typer.Argument(help="Tilt series: .zarr, or .mrc/.st/.ali with its angles.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The tilt series to write, .zarr or .mrc.")],
    hot_pixels: Annotated[bool, typer.Option("--hot-pixels", help="Replace dead and hot pixels, and spikes of X-rays.")] = False,
    gold: Annotated[
        Literal["erase", "mask"] | None, typer.Option("--gold", help="Fill gold beads, or fill them and leave their rays out of the fit.")
    ] = None,
    gold_diameter_nm: Annotated[
        float | None, typer.Option("--gold-diameter-nm", metavar="NM", help="Diameter of a bead in nanometres.")
    ] = None,
    gold_diameter_pixels: Annotated[
        float | None, typer.Option("--gold-diameter-pixels", metavar="PIXELS", help="The same in pixels of the series as it is read.")
    ] = None,
    ice_thickness: Annotated[
        bool, typer.Option("--ice-thickness", help="TEM: give back what ice absorbs with tilt, exp(-tau / cos(angle)), tau from the views.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="TEM: take -log(I / I0), proportional to projected density.")] = False,
    beam: Annotated[
        float | None, typer.Option("--beam", metavar="I0", help="I0 of --log; by default the 99.5 % level at least tilt.")
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Change the sign: what is dark becomes bright.")] = False,
    normalize: Annotated[
        Literal["background", "mass", "slab", "deviation"] | None,
        typer.Option(
            "--normalize",
            help="Views to one scale: background 0; then equal mass, whole or (slab) in what all views share; or mean 0, equal deviation.",
        ),
    ] = None,
    dose_weight: Annotated[bool, typer.Option("--dose-weight", help="Attenuate what the dose has destroyed, at 300 kV.")] = False,
    dose: Annotated[
        Path | None, typer.Option("--dose", metavar="FILE", help="Dose before each view, one a line, electrons per square angstrom.")
    ] = None,
    taper: Annotated[int, typer.Option("--taper", min=0, metavar="PIXELS", help="Lead the borders over to each view's mean.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the noise that fills beads.")] = 0,
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make real views ready for reconstruction: only the steps that are named, in the order in which the options stand here.

    Each tells in a line what it found and did. Views are cropped and binned (--bin) before; bad pixels are looked for before binning.
    """
    from wedge import formats
    from wedge.output import refuse_existing, refuse_same
    from wedge.preprocess.steps import Steps, preprocess
    from wedge.provenance import RunClock

    clock = RunClock()
    refuse_same(output, tilts)
    refuse_existing(output, overwrite=overwrite)
    _refuse_without_step(beam=(beam, log, "--log"), dose=(dose, dose_weight, "--dose-weight"))
    series = formats.open_tilts(tilts, **reading.options(), on_note=say)
    diameter = _diameter(gold, gold_diameter_nm, gold_diameter_pixels, series.geometry.pixel_size_angstrom)
    steps = Steps(
        hot_pixels, gold, diameter, ice_thickness, log, beam, invert, normalize, dose_weight, dose, taper, seed
    )  # fmt: skip
    steps.check(series)
    kept: dict[str, Any] = {"weighted": series.weights is not None or gold == "mask", "on_note": say}
    # A shifted background is no longer known to be zero density; nor is one that steps have filled or scaled known not to be.
    simulated = series.simulated and not (log or invert or taper or normalize)
    with formats.create_tilts(output, series.geometry, simulated=simulated, overwrite=overwrite, **kept) as writer:
        found = preprocess(series, writer, steps, unbinned=_unbinned(tilts, reading), say=say)
        inputs = [path for path in (tilts, formats.angles_path(tilts, reading.angles), dose) if path is not None]
        config = reading.options() | {"steps": {name: value for name, value in vars(steps).items() if value}, "found": found}
        record = clock.record(sys.argv, config, seed=seed, inputs=inputs)
        path = writer.commit(record | ({"source": series.provenance} if series.provenance else {}))
    emit({"output": path, "weighted": writer.weighted, **found}, as_json=as_json, text=str(path))


def _unbinned(tilts: Path, reading: Reading) -> tuple[TiltSeries, int] | None:
    """Return the series before it is binned, and by how much it is; None where it is not."""
    from wedge import formats

    factor = reading.bin or 1
    return None if factor == 1 else (formats.open_tilts(tilts, **replace(reading, bin=None, thickness=None).options()), factor)


def _refuse_without_step(**given: tuple[Any, bool, str]) -> None:
    for name, (value, step, needed) in given.items():
        if value is not None and not step:
            raise UsageError(f"--{name} belongs to {needed}: give both or neither")


def _diameter(gold: str | None, nanometres: float | None, pixels: float | None, pixel_size_angstrom: float | None) -> float | None:
    """Return the diameter of a bead in pixels."""
    if nanometres is None and pixels is None:
        return None
    if gold is None:
        raise UsageError("the diameter of gold beads is given, but not what to do with them: give --gold erase or --gold mask")
    if nanometres is None:
        return pixels
    if pixels is not None:
        raise UsageError("--gold-diameter-nm and --gold-diameter-pixels: give one")
    if pixel_size_angstrom is None:
        raise UsageError("--gold-diameter-nm needs the pixel size, and nobody knows it: give --voxel-size, or --gold-diameter-pixels")
    return 10 * nanometres / pixel_size_angstrom
