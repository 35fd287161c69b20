"""``wedge restore``: less noise and no missing wedge, by what two halves of a tomogram teach a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wedge.cli.common import DeviceOption, JsonOption, OverwriteOption, emit, progress, resolve_device, say
from wedge.cli.reading import VoxelSizeOption
from wedge.errors import InputError, UsageError

if TYPE_CHECKING:
    import torch

    from wedge.data import Volume


def command(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="One half: a volume from half of the frames, or of the views.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="The other half, with noise of its own.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Volume to write, .zarr or .mrc/.rec.")],
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Steps that the network learns in.")] = 600,
    cube: Annotated[int, typer.Option("--cube", min=16, metavar="VOXELS", help="Edge of what it sees at once: about two particles.")] = 40,
    channels: Annotated[int, typer.Option("--channels", min=1, max=256, metavar="N", help="Features of its finest layer.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all random draws.")] = 0,
    tilt_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--tilt-range", metavar="LO HI", help="Tilt angles in degrees, where the files do not say them."),
    ] = None,
    voxel_size: VoxelSizeOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Take away noise and fill the missing wedge of a tomogram, learning from its two halves alone.

    Halves are filtered backprojections, as wedge fbp --halves or any other program writes them.
    """
    from dataclasses import asdict

    from wedge import formats
    from wedge.average import check_alike
    from wedge.formats.space import require_space
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock
    from wedge.restore.run import require_memory, restored, write
    from wedge.restore.training import RestoreConfig, cube_size

    clock = RunClock()
    if first.resolve() == second.resolve():
        raise UsageError(f"both halves are one path: {first}; give two independent halves")
    refuse_same(output, first, second)
    refuse_existing(output, overwrite=overwrite)
    halves = [formats.open_volume(path, voxel_size_angstrom=voxel_size) for path in (first, second)]
    shape, voxel = check_alike(halves)
    angles = _angles(halves, tilt_range)
    target = resolve_device(device)
    config = RestoreConfig(steps=steps, cube=cube, channels=channels, seed=seed)
    size = cube_size(config, shape)
    if size < cube:
        say(f"cubes of {size} voxels: the volume's shortest side holds no larger ones")
    require_memory(shape, channels, target)
    require_space([output], shape, on_note=say)
    with formats.create_volume(output, shape, voxel_size_angstrom=voxel, tilt_angles_deg=angles, overwrite=overwrite) as writer:
        blocks = [_read(volume, target) for volume in halves]
        with progress("learning", steps) as advance:
            found = restored(blocks[0], blocks[1], angles, config, lambda loss: advance(1, f"loss {loss:.4g}"))
        write(found, writer)
        settings = asdict(config) | {"cube": size}
        record = clock.record(sys.argv, settings, inputs=[first, second], device=str(target))
        writer.commit(record)
    cost = {key: record[key] for key in ("seconds", "peak_memory_bytes")}
    emit({"output": output, **settings, **cost}, as_json=json, text=str(output))


def _angles(halves: list[Volume], tilt_range: tuple[float, float] | None) -> tuple[float, ...]:
    """Return the tilt angles of both halves: all that either was made from."""
    if tilt_range is not None:
        if not -90 <= tilt_range[0] < tilt_range[1] <= 90:
            raise UsageError(f"--tilt-range {tilt_range[0]:g} {tilt_range[1]:g}: expected two angles from -90 to 90, the lower one first")
        return tilt_range
    for volume in halves:
        if volume.tilt_angles_deg is None:
            raise InputError(f"{volume.name} does not say from which tilt angles it was made: give --tilt-range LO HI")
    return tuple(sorted({angle for volume in halves for angle in volume.tilt_angles_deg or ()}))


def _read(volume: Volume, device: torch.device) -> torch.Tensor:
    """Return a volume as ``(y, z, x)`` float32, nothing in it missing."""
    import torch

    from wedge.intensity import refuse_not_finite
    from wedge.slabs import read_slices

    rows = volume.array.shape[1]
    block = read_slices(volume, 0, rows)
    refuse_not_finite(block, volume.name, range(rows))
    return torch.from_numpy(block).to(device)
