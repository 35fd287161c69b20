"""The two things that flow through wedge: a tilt series and a volume. Data only, no algorithms."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from wedge.geometry import TiltGeometry


class ArrayLike3D(Protocol):
    """What is needed of an array: NumPy, a memory map and a Zarr array all have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Counts along the three axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of one value."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Read a part as a NumPy array."""
        ...


@dataclass(frozen=True)
class TiltSeries:
    """Views of a specimen, with the geometry they were taken in.

    Parameters
    ----------
    array
        ``(tilt, y, x)`` intensities, proportional to projected density up to an offset.
    geometry
        The angles and shapes; its detector shape and number of tilts match ``array``.
    name
        Where it came from, for messages.
    simulated
        True where the zero of intensity is known to be zero density.
    provenance
        How it was made.
    weights
        ``(tilt, y, x)`` from 0 to 1: what the residual of each ray is multiplied by; None where all are 1. What was measured on a ray of
        weight 0 is never looked at.
    """

    array: ArrayLike3D
    geometry: TiltGeometry
    name: str = "tilt series"
    simulated: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    weights: ArrayLike3D | None = None


@dataclass(frozen=True)
class Volume:
    """A density.

    Parameters
    ----------
    array
        ``(z, y, x)`` density.
    voxel_size_angstrom
        Edge of a voxel, or None where nobody knows it.
    name
        Where it came from, for messages.
    tilt_angles_deg
        Angles of the views it was made from, where known: they say which frequencies were measured.
    provenance
        How it was made.
    coarser
        Copies of it at half the resolution of the one before, where the file has some: for whoever wants to look, not to measure.
    """

    array: ArrayLike3D
    voxel_size_angstrom: float | None = None
    name: str = "volume"
    tilt_angles_deg: tuple[float, ...] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    coarser: tuple[ArrayLike3D, ...] = ()
