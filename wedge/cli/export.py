"""``wedge export``: a volume, or a tilt series, in another format."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from wedge.cli.common import (
    AnglesOption,
    ExcludeViewsOption,
    JsonOption,
    OverwriteOption,
    TiltRangeOption,
    VoxelSizeOption,
    emit,
    parse_views,
    progress,
    say,
)


def command(
    source: Annotated[Path, typer.Argument(metavar="VOLUME", help="Volume or tilt series to write anew.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file: .mrc, .rec for volumes, .st for tilt series, or .zarr.")],
    angles: AnglesOption = None,
    voxel_size: VoxelSizeOption = None,
    tilt_range: TiltRangeOption = None,
    exclude_views: ExcludeViewsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a volume or a tilt series in another format, with its voxel size; beside an MRC file goes a JSON file on how it was made."""
    from wedge import convert, formats
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock

    clock = RunClock()
    views = parse_views(exclude_views)
    refuse_same(output, source)
    is_tilts = angles is not None or tilt_range is not None or bool(views) or formats.kind_of(source) == "tilts"
    refuse_existing(output, overwrite=overwrite)
    if is_tilts:
        tilts = formats.open_tilts(
            source, angles=angles, voxel_size_angstrom=voxel_size, tilt_range=tilt_range, exclude_views=views, on_note=say
        )
        size, provenance = tilts.geometry.pixel_size_angstrom, tilts.provenance
        writer = formats.create_tilts(output, tilts.geometry, simulated=tilts.simulated, overwrite=overwrite)
    else:
        volume = formats.open_volume(source, voxel_size_angstrom=voxel_size, on_note=say)
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
        list_used = formats.angles_path(source, angles) if is_tilts else None
        inputs = [source] if list_used is None else [source, list_used]
        config = {"source": str(source), "voxel_size_angstrom": voxel_size, "tilt_range": tilt_range, "exclude_views": views}
        record = clock.record(sys.argv, config, inputs=inputs)
        path = writer.commit(record | ({"source": provenance} if provenance else {}))
    emit({"output": path, "shape": writer.shape, "voxel_size_angstrom": size}, as_json=as_json, text=str(path))
