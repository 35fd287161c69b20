"""What may be said about how a tilt series is read, in one place: the command line, records and `open_tilts` share it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reading:
    """How a tilt series is read.

    Parameters
    ----------
    angles
        List of tilt angles; by default what the file says or what lies beside it.
    voxel_size_angstrom
        Edge of a detector pixel, before binning; decides over what the file says.
    thickness
        The volume's size in z, in voxels of the binned series.
    tilt_range
        Lowest and highest angle of the views to use, in degrees.
    views
        The views to use: ``"all"``; ``"even"`` or ``"odd"`` in the order of their angles; or places in the stack as ``0,3,10-12``.
    exclude_views
        Places in the stack of views to leave out; None: not said.
    crop_x, crop_y
        First pixel and the one after the last of what to reconstruct, before binning; None as the second is the end.
    bin
        Pixels along each side that are averaged to one; None: not said.
    """

    angles: Path | None = None
    voxel_size_angstrom: float | None = None
    thickness: int | None = None
    tilt_range: tuple[float, float] | None = None
    views: str | None = None
    exclude_views: tuple[int, ...] | None = None
    crop_x: tuple[int, int | None] | None = None
    crop_y: tuple[int, int | None] | None = None
    bin: int | None = None

    def options(self) -> dict[str, Any]:
        """Return what was said, as keyword arguments of `wedge.formats.open_tilts`."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}

    @property
    def needs_tilts(self) -> bool:
        """Whether something was said that makes sense of a tilt series only."""
        return bool(self.options().keys() - {"voxel_size_angstrom"})


AS_STORED = Reading()
"""Nothing was said: all views, as they lie in the file."""

_WHOLE: dict[str, Any] = {
    "tilt_range": [-180.0, 180.0],
    "views": "all",
    "exclude_views": [],
    "crop_x": [0, None],
    "crop_y": [0, None],
    "bin": 1,
}


def over(recorded: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return recorded options with those that are said in their place; what is said to be whole is as if nobody had said anything.

    Parameters
    ----------
    recorded, said
        As `Reading.options` gives them, the recorded ones also as they come from JSON.
    """

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return {key: value for key, value in (recorded | said).items() if key not in _WHOLE or plain(value) != _WHOLE[key]}
