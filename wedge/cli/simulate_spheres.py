"""``wedge simulate-spheres``: a phantom and its tilt series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wedge.cli.common import DeviceOption, JsonOption, OverwriteOption, ProjectorOptOption, emit, progress, resolve_device
from wedge.errors import UsageError


def command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for volume.zarr and tilts.zarr.")],
    shape: Annotated[tuple[int, int, int], typer.Option("--shape", metavar="Z Y X", help="Voxels of the box, 8 or more each.")] = (
        32,
        128,
        128,
    ),
    num_tilts: Annotated[int, typer.Option("--num-tilts", metavar="N", help="Number of views, equally spaced.")] = 60,
    tilt_range: Annotated[
        tuple[float, float], typer.Option("--tilt-range", metavar="LO HI", help="First and last tilt angle in degrees.")
    ] = (-60.0, 60.0),
    noise: Annotated[str, typer.Option("--noise", metavar="none|poisson", help="Noise on the projections.")] = "none",
    eta: Annotated[
        float | None,
        typer.Option(
            "--eta", metavar="0..1", help="Noise level: the relative noise of a pixel of the mean projection. 0 is none, 1 is severe."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of spheres and noise.")] = 0,
    voxel_size: Annotated[float, typer.Option("--voxel-size", metavar="ANGSTROM", help="Edge of a pixel and a voxel.")] = 10.0,
    projector: Annotated[
        str | None,
        typer.Option("--projector", metavar="NAME", help="Project the voxels by this plugin; by default chord lengths in closed form."),
    ] = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Write a phantom of hollow spheres and its tilt series.

    Density is 1 in the shells and 0 elsewhere; the spheres do not overlap, and the truth is as exact as voxels can be.
    """
    if noise == "poisson" and eta is None:
        raise UsageError("--noise poisson needs a level: add --eta, from 0 (none) to 1 (severe)")
    if projector_opt and projector is None:
        raise UsageError("--projector-opt needs --projector")
    from wedge.simulate import simulate_spheres

    resolved, target = None, "cpu"
    if projector is not None:
        from wedge.options import parse_settings
        from wedge.registry import Registry

        resolved = Registry.load().resolve("projector", projector, parse_settings(projector_opt or []))
        target = str(resolve_device(device))
    with progress("simulating", shape[1]) as advance:
        tilts, volume = simulate_spheres(
            output,
            shape=shape,
            num_tilts=num_tilts,
            tilt_range_deg=tilt_range,
            noise=noise,
            eta=eta or 0.0,
            seed=seed,
            projector=resolved,
            device=target,
            pixel_size_angstrom=voxel_size,
            overwrite=overwrite,
            command=sys.argv,
            on_progress=advance,
        )
    emit({"tilts": tilts, "volume": volume}, as_json=json, text=f"{volume}\n{tilts}")
