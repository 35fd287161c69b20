"""``wedge export``: a volume, or a tilt series, in another format."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import (
    JsonOption,
    OverwriteOption,
    emit,
    progress,
    say,
)
from wedge.cli.reading import reads_tilts
from wedge.errors import UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    from wedge.data import TiltSeries, Volume
    from wedge.formats.mrc_values import Values
    from wedge.output import Writer

_AXES = ("zyx", "imod")


@reads_tilts
def command(
    source: Annotated[Path, typer.Argument(metavar="VOLUME", help="Volume or tilt series to write anew.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file: .mrc, .rec for volumes, .st for tilt series, or .zarr.")],
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode", metavar="float32|float16|int8", help="How an MRC file holds its values; int8 with a scale that its record tells."
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option("--axes", metavar="zyx|imod", help="Order of an MRC volume: (z, y, x), or as IMOD's tilt writes it, for trimvol -rx."),
    ] = None,
    from_axes: Annotated[
        str | None, typer.Option("--from-axes", metavar="zyx|imod", help="Order of the MRC volume that is read, where no record tells it.")
    ] = None,
    ome_zarr: Annotated[
        str | None, typer.Option("--ome-zarr", metavar="0.5|0.4", help="Version of a .zarr volume, for programs that read no 0.5.")
    ] = None,
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a volume or a tilt series in another format, with its voxel size; beside an MRC file goes a JSON file on how it was made."""
    from wedge import convert, formats
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock

    clock = RunClock()
    refuse_same(output, source)
    is_tilts = reading.needs_tilts or formats.kind_of(source) == "tilts"
    target = _target(output, is_tilts, mode, axes, from_axes, ome_zarr)
    refuse_existing(output, overwrite=overwrite)
    tilts = formats.open_tilts(source, **reading.options(), on_note=say) if is_tilts else None
    volume = None if is_tilts else _open_volume(source, reading, from_axes)
    with _begin(output, tilts, volume, target, overwrite) as writer:
        with progress("export", writer.shape[1]) as advance:
            if tilts is not None:
                convert.copy_tilts(tilts, writer, on_progress=advance)
            elif volume is not None:
                convert.copy_volume(volume, writer, on_progress=advance)
        list_used = formats.angles_path(source, reading.angles) if is_tilts else None
        inputs = [source] if list_used is None else [source, list_used]
        config = {"source": str(source), **reading.options(), **target.to_json()}
        record = clock.record(sys.argv, config, inputs=inputs)
        provenance = (tilts or volume).provenance  # type: ignore[union-attr]
        path = writer.commit(record | ({"source": provenance} if provenance else {}))
    size = volume.voxel_size_angstrom if volume is not None else tilts.geometry.pixel_size_angstrom if tilts is not None else None
    result = {"output": path, "shape": writer.shape, "voxel_size_angstrom": size} | _told_of_bytes(path, target)
    emit(result, as_json=as_json, text=str(path))


@dataclass(frozen=True)
class _Target:
    """What was asked of the output beyond its suffix; None where nothing was."""

    mode: str | None
    axes: str | None
    ome_zarr: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what was asked."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _target(output: Path, is_tilts: bool, mode: str | None, axes: str | None, from_axes: str | None, ome_zarr: str | None) -> _Target:
    """Check what was asked against the format and the kind.

    Raises
    ------
    UsageError
        If a word is unknown or is not for this format or kind.
    """
    from wedge.formats.mrc import SUFFIXES
    from wedge.formats.mrc_values import MODES
    from wedge.ome_zarr import VERSIONS

    is_mrc = output.suffix.lower() in SUFFIXES
    asked = [("--mode", mode, MODES), ("--axes", axes, _AXES), ("--from-axes", from_axes, _AXES), ("--ome-zarr", ome_zarr, VERSIONS)]
    for option, value, known in asked:
        if value is not None and value not in known:
            raise UsageError(f"{option} {value!r}: expected {' or '.join(known)}")
    for option, value, for_mrc in (("--mode", mode, True), ("--axes", axes, True), ("--ome-zarr", ome_zarr, False)):
        if value is not None and for_mrc != is_mrc:
            raise UsageError(f"{option} is for {'MRC files' if for_mrc else '.zarr volumes'}, not for {output}; leave it out")
    for option, value in (("--axes", axes), ("--from-axes", from_axes), ("--ome-zarr", ome_zarr)):
        if value is not None and is_tilts:
            raise UsageError(f"{option} is for volumes, and this is a tilt series; leave it out")
    return _Target(mode, axes, ome_zarr)


def _open_volume(source: Path, reading: Reading, from_axes: str | None) -> Volume:
    from wedge import formats

    return formats.open_volume(source, voxel_size_angstrom=reading.voxel_size_angstrom, imod_axes=from_axes == "imod", on_note=say)


def _begin(output: Path, tilts: TiltSeries | None, volume: Volume | None, target: _Target, overwrite: bool) -> Writer:
    """Begin the output, once its disk has room."""
    from wedge import formats
    from wedge.formats.space import require_space

    options: dict[str, Any] = {"overwrite": overwrite}
    data: Any = tilts or volume
    z, y, x = data.array.shape
    values = _values(data, target)
    if target.mode is not None:
        options["values"] = values
    require_space([output], (z, y, x), is_volume=tilts is None, copied=True, bytes_per_value=values.dtype.itemsize, on_note=say)
    if tilts is not None:
        options |= {"weighted": tilts.weights is not None, "on_note": say}
        return formats.create_tilts(output, tilts.geometry, simulated=tilts.simulated, **options)
    if target.axes == "imod":
        options["imod_axes"] = True
    if target.ome_zarr is not None:
        options["ome_zarr"] = target.ome_zarr
    return formats.create_volume(
        output, (z, y, x), voxel_size_angstrom=data.voxel_size_angstrom, tilt_angles_deg=data.tilt_angles_deg, **options
    )


def _values(data: TiltSeries | Volume, target: _Target) -> Values:
    """Return how densities are to be stored; for bytes that asks for a look at them."""
    from wedge.convert import robust_range
    from wedge.formats.mrc_values import Values, bytes_between

    if target.mode == "int8":
        return bytes_between(*robust_range(data))
    return Values("float16" if target.mode == "float16" else "float32")


def _told_of_bytes(path: Path, target: _Target) -> dict[str, Any]:
    """Return what the record says that bytes mean, and say how many values were beyond them."""
    from wedge.formats.mrc import read_mrc

    if target.mode != "int8":
        return {}
    told = read_mrc(path).record["values"]
    say(f"density = value * {told['scale']:.6g} + {told['offset']:.6g}; {told['num_beyond']} values beyond the range took its ends")
    return {"values": told}
