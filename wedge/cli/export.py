"""``wedge export``: a volume, or a tilt series, in another format."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import (
    JsonOption,
    OverwriteOption,
    emit,
    progress,
    say,
)
from wedge.cli.reading import reads_tilts
from wedge.reading import AS_STORED, Reading


@reads_tilts
def command(
    source: Annotated[Path, typer.Argument(metavar="VOLUME", help="Volume or tilt series to write anew.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file: .mrc, .rec for volumes, .st for tilt series, or .zarr.")],
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
    refuse_existing(output, overwrite=overwrite)
    if is_tilts:
        tilts = formats.open_tilts(source, **reading.options(), on_note=say)
        size, provenance = tilts.geometry.pixel_size_angstrom, tilts.provenance
        kept: dict[str, Any] = {"simulated": tilts.simulated, "weighted": tilts.weights is not None, "on_note": say}
        writer = formats.create_tilts(output, tilts.geometry, overwrite=overwrite, **kept)
    else:
        volume = formats.open_volume(source, voxel_size_angstrom=reading.voxel_size_angstrom, on_note=say)
        size, provenance = volume.voxel_size_angstrom, volume.provenance
        z, y, x = volume.array.shape
        options = {"voxel_size_angstrom": size, "tilt_angles_deg": volume.tilt_angles_deg, "overwrite": overwrite}
        writer = formats.create_volume(output, (z, y, x), **options)
    with writer:
        with progress("export", writer.shape[1]) as advance:
            if is_tilts:
                convert.copy_tilts(tilts, writer, on_progress=advance)
            else:
                convert.copy_volume(volume, writer, on_progress=advance)
        list_used = formats.angles_path(source, reading.angles) if is_tilts else None
        inputs = [source] if list_used is None else [source, list_used]
        config = {"source": str(source), **reading.options()}
        record = clock.record(sys.argv, config, inputs=inputs)
        path = writer.commit(record | ({"source": provenance} if provenance else {}))
    emit({"output": path, "shape": writer.shape, "voxel_size_angstrom": size}, as_json=as_json, text=str(path))
