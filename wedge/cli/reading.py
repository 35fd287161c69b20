"""The options by which a command reads a tilt series, the same wherever one is read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from wedge.errors import UsageError
from wedge.reading import Reading

_LONGEST_NUMBER = 9

AnglesOption = Annotated[
    Path | None,
    typer.Option(
        "--angles", help="Tilt angles in degrees, one a line (.tlt, .rawtlt), or an .mdoc; by default found beside the stack by its name."
    ),
]
VoxelSizeOption = Annotated[
    float | None, typer.Option("--voxel-size", metavar="ANGSTROM", help="Edge of a pixel in angstrom, where the header is wrong or silent.")
]
ThicknessOption = Annotated[
    int | None,
    typer.Option(
        "--thickness", min=1, metavar="VOXELS", help="Size of the volume in z; by default what the store says, else the detector width."
    ),
]
TiltRangeOption = Annotated[
    tuple[float, float] | None, typer.Option("--tilt-range", metavar="LO HI", help="Use only views with angles in this range, in degrees.")
]
ViewsOption = Annotated[
    str | None,
    typer.Option(
        "--views", metavar="all|even|odd|LIST", help="Use only these: every second by angle, or places in the stack, from 0: 0,3,10-12."
    ),
]
ExcludeViewsOption = Annotated[
    str | None, typer.Option("--exclude-views", metavar="none|LIST", help="Leave views out by their place in the stack, from 0: 0,3,10-12.")
]
CropXOption = Annotated[
    tuple[int, str] | None,
    typer.Option("--crop-x", metavar="START STOP|end", help="Make only these columns of the volume, in pixels of the file, from 0."),
]
CropYOption = Annotated[
    tuple[int, str] | None,
    typer.Option("--crop-y", metavar="START STOP|end", help="Make only these rows of the volume, in pixels of the file, from 0."),
]
BinOption = Annotated[int | None, typer.Option("--bin", min=1, metavar="K", help="Average squares of K x K pixels first: a quick trial.")]


def _options(
    angles: AnglesOption = None,
    voxel_size: VoxelSizeOption = None,
    thickness: ThicknessOption = None,
    tilt_range: TiltRangeOption = None,
    views: ViewsOption = None,
    exclude_views: ExcludeViewsOption = None,
    crop_x: CropXOption = None,
    crop_y: CropYOption = None,
    bin: BinOption = None,
) -> Reading:
    from wedge.formats.views import parse_views

    left_out = None if exclude_views is None else () if exclude_views == "none" else parse_views(exclude_views)
    crops = _span("--crop-x", crop_x), _span("--crop-y", crop_y)
    return Reading(angles, voxel_size, thickness, tilt_range, views, left_out, *crops, bin)


def _span(option: str, given: tuple[int, str] | None) -> tuple[int, int | None] | None:
    """Return a first pixel and the one after the last, None where that is the end."""
    if given is None:
        return None
    start, stop = given
    if stop == "end":
        return start, None
    if not stop.removeprefix("-").isdecimal() or len(stop) > _LONGEST_NUMBER:
        raise UsageError(f"{option} {start} {stop}: expected a first pixel and the one after the last, or end")
    return start, int(stop)


def reads_tilts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how a tilt series is read.

    The command takes their values as one keyword argument, ``reading``; in the help they stand where it stands in the signature.
    """
    names = inspect.signature(_options).parameters.keys()

    def with_options(**given: Any) -> Any:
        reading = _options(**{name: given.pop(name) for name in names & given.keys()})
        return command(**given, reading=reading)

    parameters = []
    for parameter in _evaluated(command):
        parameters += _evaluated(_options) if parameter.name == "reading" else [parameter]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    with_options.__name__, with_options.__doc__, with_options.__module__ = command.__name__, command.__doc__, command.__module__
    return with_options


def _evaluated(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a function's parameters as keywords, with their annotations as objects."""
    hints = get_type_hints(function, include_extras=True)
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name])
        for each in inspect.signature(function).parameters.values()
    ]
