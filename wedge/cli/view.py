"""``wedge view``: volumes in a program for looking at volumes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wedge.cli.common import JsonOption, emit, progress, say
from wedge.cli.reading import VoxelSizeOption
from wedge.errors import PluginError, UsageError

if TYPE_CHECKING:
    from wedge.viewers.programs import Viewer
    from wedge.viewers.shown import Shown


def command(
    volumes: Annotated[list[Path], typer.Argument(metavar="VOLUME...", help="Volumes: .zarr, OME-Zarr or .mrc/.rec.")],
    program: Annotated[
        str | None,
        typer.Option("--with", metavar="napari|neuroglancer|chimerax|3dmod", help="Which program; by default the first that is installed."),
    ] = None,
    show_command: Annotated[bool, typer.Option("--print", help="Print the command that would show them, and start nothing.")] = False,
    contrast: Annotated[
        tuple[float, float] | None,
        typer.Option("--contrast", metavar="LOW HIGH", help="Densities shown as black and white; by default of each volume its own."),
    ] = None,
    voxel_size: VoxelSizeOption = None,
    from_axes: Annotated[
        str | None, typer.Option("--from-axes", metavar="zyx|imod", help="Order of the MRC volumes, where no record tells it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show volumes in napari, neuroglancer, ChimeraX or 3dmod, with their scale, their hand and a fitting contrast."""
    from wedge import formats
    from wedge.viewers.shown import shown

    if contrast is not None and not -float("inf") < contrast[0] < contrast[1] < float("inf"):
        raise UsageError(f"--contrast {contrast[0]:g} {contrast[1]:g}: expected the lower density first")
    if from_axes not in (None, "zyx", "imod"):
        raise UsageError(f"--from-axes {from_axes!r}: expected zyx or imod")
    viewer, start = _chosen(program, needed=not show_command)
    imod = from_axes == "imod"
    opened = [formats.open_volume(path, voxel_size_angstrom=voxel_size, imod_axes=imod, on_note=say) for path in volumes]
    looked_at = [shown(path, volume, contrast) for path, volume in zip(volumes, opened, strict=True)]
    line = viewer.command(start, looked_at, _copied)
    emit({"viewer": viewer.name, "command": line, "started": not show_command}, as_json=json, text=shlex.join(line))
    if not show_command:
        _run(viewer.name, line)


def _chosen(name: str | None, *, needed: bool) -> tuple[Viewer, list[str]]:
    """Return the program and the beginning of its command; a command to be printed alone may name one that is not installed here.

    Raises
    ------
    UsageError
        If nobody knows the program.
    PluginError
        If it is not installed, or none is.
    """
    from wedge.viewers.programs import VIEWERS

    known = {viewer.name: viewer for viewer in VIEWERS}
    if name is not None and name not in known:
        raise UsageError(f"unknown program {name!r}: expected {', '.join(known)}")
    for viewer in VIEWERS if name is None else (known[name],):
        if start := viewer.find():
            return viewer, start
    if name is not None and not needed:
        say(f"{name} is not installed here: {known[name].install}")
        return known[name], ["python" if name == "neuroglancer" else name]
    others = "wedge watch and wedge report show volumes in any browser"
    if name is not None:
        raise PluginError(f"{name} is not installed, neither on PATH nor as a package of this Python: {known[name].install}; {others}")
    ways = "; ".join(f"{viewer.name} ({viewer.install})" for viewer in VIEWERS)
    raise PluginError(f"no program to show volumes is installed: {ways}; {others}, wedge picture draws them")


def _copied(each: Shown) -> Path:
    """Copy a volume to MRC for a program that needs it, telling how far it is."""
    from wedge.viewers.shown import mrc_copy

    with progress("copy", each.volume.array.shape[1]) as advance:
        return mrc_copy(each, say, advance)


def _run(name: str, line: list[str]) -> None:
    """Run a viewer until it is closed; what it prints goes to stderr.

    Raises
    ------
    PluginError
        If it cannot be started, or says that it failed.
    """
    try:
        done = subprocess.run(line, check=False, stdout=sys.stderr.fileno())
    except OSError as error:
        raise PluginError(
            f"{name} cannot be started: {line[0]}: {error.strerror}; check its installation, or take another by --with"
        ) from error
    if done.returncode > 0:
        raise PluginError(f"{name} ended with exit code {done.returncode}; its own messages stand above; --with takes another")
    if done.returncode < 0:
        raise PluginError(f"{name} was ended by signal {-done.returncode}")
