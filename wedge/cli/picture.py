"""``wedge picture``: orthoslices and power spectra of volumes as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wedge.cli.common import JsonOption, OverwriteOption, emit, say
from wedge.cli.reading import VoxelSizeOption
from wedge.errors import UsageError

if TYPE_CHECKING:
    from wedge.data import Volume

_SPECTRUM_VALUES = 2**27  # half a gigabyte of voxels says what the others do
_MOST_PIXELS = 2**15


def command(
    volumes: Annotated[list[Path], typer.Argument(metavar="VOLUME...", help="Volumes, each a column: .zarr, OME-Zarr or .mrc/.rec.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.png", help="Picture to write.")],
    at: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--at", metavar="Z Y X", help="Voxel that the planes go through, from 0; by default the middle."),
    ] = None,
    planes: Annotated[
        str, typer.Option("--planes", metavar="LIST", help="Which planes, top to bottom: yx along the beam, zx, zy; or none.")
    ] = "yx,zx,zy",
    contrast: Annotated[
        tuple[float, float] | None,
        typer.Option("--contrast", metavar="LOW HIGH", help="Densities shown as black and white; by default of each volume its own."),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Show high density as dark.")] = False,
    spectrum: Annotated[bool, typer.Option("--spectrum/--no-spectrum", help="Draw the power spectrum and the missing wedge.")] = True,
    title: Annotated[
        list[str] | None, typer.Option("--title", metavar="TEXT", help="Above a column, by default its file name; one for each volume.")
    ] = None,
    pixels: Annotated[int, typer.Option("--pixels", min=100, metavar="N", help="Width of a column.")] = 480,
    voxel_size: VoxelSizeOption = None,
    from_axes: Annotated[
        str | None, typer.Option("--from-axes", metavar="zyx|imod", help="Order of the MRC volumes, where no record tells it.")
    ] = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Draw orthoslices and the power spectrum of volumes, a column for each, with a scale bar where the voxel size is known."""
    from wedge import formats
    from wedge.cli.without_reference import refuse_picture
    from wedge.output import PendingOutput
    from wedge.picture import Look, comparison_picture

    if output.suffix.lower() != ".png":
        raise UsageError(f"output {output}: expected a name that ends in .png")
    if from_axes not in (None, "zyx", "imod"):
        raise UsageError(f"--from-axes {from_axes!r}: expected zyx or imod")
    if pixels * len(volumes) > _MOST_PIXELS:
        raise UsageError(f"--pixels {pixels} for {len(volumes)} volumes: more than {_MOST_PIXELS} pixels in all; give fewer")
    names = _planes(planes)
    if not names and not spectrum:
        raise UsageError("neither planes nor a spectrum: nothing to draw; leave --planes none or --no-spectrum out")
    if contrast is not None and not -float("inf") < contrast[0] < contrast[1] < float("inf"):
        raise UsageError(f"--contrast {contrast[0]:g} {contrast[1]:g}: expected the lower density first; --invert turns it over")
    titles = _titles(volumes, title or [])
    refuse_picture(output, volumes, overwrite, ())
    imod = from_axes == "imod"
    opened = [formats.open_volume(path, voxel_size_angstrom=voxel_size, imod_axes=imod, on_note=say) for path in volumes]
    _check_place(at, opened)
    look = Look(names, at, contrast, spectrum, invert, pixels, _SPECTRUM_VALUES)
    pending = PendingOutput(output, overwrite=overwrite)
    try:
        comparison_picture(list(zip(titles, opened, strict=True)), pending.partial, look)
        pending.replace()
    except BaseException:
        pending.discard()
        raise
    emit({"output": output, "volumes": volumes, "at": at, "planes": names, "spectrum": spectrum}, as_json=json, text=str(output))


def _planes(text: str) -> tuple[str, ...]:
    from wedge.picture import PLANES

    names = tuple(name.strip() for name in text.split(",") if name.strip()) if text.strip() != "none" else ()
    unknown = [name for name in names if name not in PLANES]
    if unknown or len(set(names)) < len(names) or not (names or text.strip() == "none"):
        raise UsageError(f"--planes {text!r}: expected some of {','.join(PLANES)}, once each, or none")
    return names


def _titles(volumes: Sequence[Path], given: Sequence[str]) -> list[str]:
    """Return the titles, of files their names, with as many folders before them as tell them apart."""
    if given and len(given) != len(volumes):
        raise UsageError(f"{len(given)} times --title for {len(volumes)} volumes: give one for each, or none")
    if given:
        return list(given)
    for parts in range(1, 4):
        names = [str(Path(*path.absolute().parts[-parts:])) for path in volumes]
        if len(set(names)) == len(set(volumes)):
            break
    return names


def _check_place(at: tuple[int, int, int] | None, volumes: Sequence[Volume]) -> None:
    for volume in volumes:
        shape = volume.array.shape
        if at is not None and not all(0 <= place < count for place, count in zip(at, shape, strict=True)):
            z, y, x = at
            raise UsageError(f"--at {z} {y} {x} lies outside {volume.name}, which has {' x '.join(map(str, shape))} voxels, counted from 0")
