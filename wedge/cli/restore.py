"""``wedge restore``: less noise and no missing wedge, by what two halves of a tomogram teach a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import DeviceOption, JsonOption, MaxMemoryOption, OverwriteOption, emit, progress, resolve_device, say
from wedge.cli.reading import VoxelSizeOption
from wedge.errors import InputError, UsageError

if TYPE_CHECKING:
    import torch

    from wedge.data import Volume
    from wedge.fit.config import RestoreConfig
    from wedge.restore.halves import Pair
    from wedge.restore.memory import Footprint
    from wedge.restore.run import Halves, Restoration


def command(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="One half: a volume from half of the frames, or of the views.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="The other half, with noise of its own.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Volume to write, .zarr or .mrc/.rec.")],
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, metavar="N", help="Steps that it learns in; 600, of clear halves 480, of large ones more."),
    ] = None,
    cube: Annotated[int, typer.Option("--cube", min=16, metavar="VOXELS", help="Edge of what it sees at once: about two particles.")] = 40,
    channels: Annotated[int, typer.Option("--channels", min=1, max=256, metavar="N", help="Features of its finest layer.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all random draws.")] = 0,
    tilt_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--tilt-range", metavar="LO HI", help="Tilt angles in degrees, where the files do not say them."),
    ] = None,
    voxel_size: VoxelSizeOption = None,
    device: DeviceOption = "auto",
    max_memory: MaxMemoryOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Take away noise and fill the missing wedge of a tomogram, learning from its two halves alone.

    Halves are filtered backprojections, as wedge fbp --halves or any other program writes them.
    """
    from wedge import formats
    from wedge.average import check_alike
    from wedge.fit.config import RestoreConfig
    from wedge.formats.space import require_space
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock, cost_of
    from wedge.restore.memory import Footprint
    from wedge.restore.network import half_precision_pays
    from wedge.restore.run import Halves, pair_on, rows_to_learn_from
    from wedge.restore.training import cube_size

    clock = RunClock()
    if first.resolve() == second.resolve():
        raise UsageError(f"both halves are one path: {first}; give two independent halves")
    refuse_same(output, first, second)
    refuse_existing(output, overwrite=overwrite)
    volumes = [formats.open_volume(path, voxel_size_angstrom=voxel_size) for path in (first, second)]
    shape, voxel = check_alike(volumes)
    angles = _angles(volumes, tilt_range)
    target = resolve_device(device)
    asked = {} if steps is None else {"steps": steps, "clear_above": 1.0, "small_voxels": 0}
    config = RestoreConfig.model_validate({"cube": cube, "channels": channels, **asked})
    size = cube_size(cube, shape)
    if size < cube:
        say(f"cubes of {size} voxels: the volume's shortest side holds no larger ones")

    def read(y_start: int, y_stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        one, other = (_read(volume, y_start, y_stop, target) for volume in volumes)
        return one, other

    halves = Halves((shape[1], shape[0], shape[2]), read)
    half = half_precision_pays(target)
    rows = rows_to_learn_from(halves, _voxels_within_memory(halves, Footprint(channels, target, half), max_memory))
    if len(rows) < shape[1]:
        say(f"learning from rows {rows.start} to {rows.stop - 1} of {shape[1]}")
    require_space([output], shape, on_note=say)
    with formats.create_volume(output, shape, voxel_size_angstrom=voxel, tilt_angles_deg=angles, overwrite=overwrite) as writer:
        made, steps = _learned(pair_on(halves, rows, angles), angles, config, seed, half)
        if made.background is not None:
            say(str(made.background))
        for block, density in made.blocks(halves):
            writer.write_rows(block.start, density.cpu())
        settings = _settings(config, made, {"steps": steps, "cube": size, "seed": seed, "precision": "bfloat16" if half else "float32"})
        record = clock.record(sys.argv, settings, inputs=[first, second], device=str(target))
        writer.commit(record)
    emit({"output": output, **settings, **cost_of(record)}, as_json=json, text=str(output))


def _settings(config: RestoreConfig, made: Restoration, more: dict[str, Any]) -> dict[str, Any]:
    """Return what the record says of how density was restored."""
    background = None if made.background is None else made.background.level
    return {**config.model_dump(include={"channels", "batch", "learning_rate"}), **more, "background": background}


def _learned(pair: Pair, angles: tuple[float, ...], config: RestoreConfig, seed: int, half_precision: bool) -> tuple[Restoration, int]:
    """Return what is learned from two halves, and in how many steps."""
    from wedge.restore.run import learn

    steps = sum(config.parts_for(pair.units.common, pair.halves[0].numel()))
    with progress("learning", steps) as advance:
        made = learn(pair, angles, config, seed, half_precision, lambda loss: advance(1, f"loss {float(loss):.4g}"))
    return made, steps


def _voxels_within_memory(halves: Halves, footprint: Footprint, max_memory: str | None) -> int:
    """Return how many voxels are learned from at the most.

    Raises
    ------
    DeviceError
        If there is too little memory.
    """
    from wedge.fit.memory import memory_limit
    from wedge.provenance import resident_bytes
    from wedge.slabs import parse_memory

    limit = memory_limit(footprint.device, parse_memory(max_memory) if max_memory else None)
    free = limit - (resident_bytes() if footprint.device.type == "cpu" else 0)
    if not (found := footprint.voxels_within(halves.shape, free)):
        raise footprint.refusal(halves.shape, limit, free, "make halves of averaged voxels (wedge fbp --bin)")
    return found


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


def _read(volume: Volume, y_start: int, y_stop: int, device: torch.device) -> torch.Tensor:
    """Return rows of a volume as ``(y, z, x)`` float32, nothing in them missing."""
    import torch

    from wedge.intensity import refuse_not_finite
    from wedge.slabs import read_slices

    block = read_slices(volume, y_start, y_stop)
    refuse_not_finite(block, volume.name, range(y_start, y_stop))
    return torch.from_numpy(block).to(device)
