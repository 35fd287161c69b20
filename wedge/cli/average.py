"""``wedge average``: the mean of volumes, and their spread."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from wedge.cli.common import JsonOption, OverwriteOption, emit, progress, say
from wedge.cli.reading import VoxelSizeOption
from wedge.errors import UsageError


def command(
    volumes: Annotated[list[Path], typer.Argument(metavar="VOLUME", help="Volumes of one shape and voxel size.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MEAN", help="Mean volume to write, .zarr or .mrc/.rec.")],
    std: Annotated[
        Path | None, typer.Option("--std", metavar="STD", help="Write the spread too: the sample standard deviation of each voxel.")
    ] = None,
    voxel_size: VoxelSizeOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Average volumes, such as reconstructions from different seeds, and tell their spread."""
    from wedge import formats
    from wedge.average import SPREAD_DDOF, average, check_alike
    from wedge.formats.space import require_space
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock, cost_of

    clock = RunClock()
    outputs = [path for path in (output, std) if path is not None]
    if len({path.resolve() for path in volumes}) < len(volumes):
        raise UsageError("a volume is named twice: its weight would double, and the spread be wrong; name each once")
    if std is not None and output.resolve() == std.resolve():
        raise UsageError(f"mean and spread are one path: {output}; choose another name for one")
    if std is not None and len(volumes) < 2:
        raise UsageError("the spread of one volume is not defined: give two or more, or leave --std out")
    for path in outputs:
        refuse_same(path, *volumes)
        refuse_existing(path, overwrite=overwrite)
    opened = [formats.open_volume(path, voxel_size_angstrom=voxel_size) for path in volumes]
    shape, voxel = check_alike(opened)
    require_space(outputs, shape, on_note=say)
    angles = {volume.tilt_angles_deg for volume in opened}
    angles_of_all = angles.pop() if len(angles) == 1 else None
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                formats.create_volume(path, shape, voxel_size_angstrom=voxel, tilt_angles_deg=angles_of_all, overwrite=overwrite)
            )
            for path in outputs
        ]
        with progress("averaging", shape[1]) as advance:
            summary = average(opened, *writers, on_progress=advance)
        record = clock.record(sys.argv, {"volumes": len(volumes), "ddof": SPREAD_DDOF}, inputs=volumes)
        for writer in reversed(writers):
            writer.commit(record)
    if summary.rms_spread is not None:
        say(f"spread of {summary.num_volumes} volumes: {summary.rms_spread:.4g} (rms); the mean's own deviation {summary.rms_mean:.4g}")
    result = {
        "output": output,
        "std": std,
        "volumes": summary.num_volumes,
        "ddof": SPREAD_DDOF,
        "rms_spread": summary.rms_spread,
        "rms_mean": summary.rms_mean,
        **cost_of(record),
    }
    emit(result, as_json=json, text="\n".join(str(path) for path in outputs))
