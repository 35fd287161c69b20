"""The geometry of a tilt series, and the conventions of the whole project.

Conventions
-----------
- The tilt axis lies along y. Every y-row is an independent 2-D parallel-beam problem.
- A view at tilt angle ``theta`` sees the point ``(z, x)`` at the detector position
  ``s = x cos(theta) + z sin(theta) + axis_offset_pixels``; at 0 degrees the beam runs along z.
- Positions are measured in detector pixels from the centre of their array, which is at index ``(n - 1) / 2``.
- Shapes are counts in the order of the axes on disk: detector ``(y, x)``, volume ``(z, y, x)``.
- Sinogram values are density times path length in detector pixels.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wedge.errors import InputError


@dataclass(frozen=True, slots=True)
class TiltGeometry:
    """Where each view of a tilt series was taken from, and which box it is explained by.

    Parameters
    ----------
    tilt_angles_deg
        One angle per view, in the order of the stack, in degrees. Any order; repeats are allowed.
    detector_shape
        ``(y, x)`` pixels of one view.
    volume_shape
        ``(z, y, x)`` voxels of the box that explains the views.
    pixel_size_angstrom
        Edge of a detector pixel, or None where nobody knows it.
    voxel_size_in_pixels
        Edge of a voxel in detector pixels.
    volume_centre_pixels
        ``(z, x)`` of the volume's centre relative to the tilt axis, in detector pixels.
    axis_offset_pixels
        Position of the tilt axis on the detector relative to the detector's centre, in pixels.
    acquisition_order
        For each view its place in the order of acquisition, from 0; None where unknown.
    dose_e_per_square_angstrom
        For each view the dose that the specimen had taken before it, in electrons per square angstrom; None where unknown.

    Raises
    ------
    InputError
        If there is no view, an angle is not finite or beyond +-180 degrees, all angles of two or more views are equal, or a shape is not
        positive.
    """

    tilt_angles_deg: tuple[float, ...]
    detector_shape: tuple[int, int]
    volume_shape: tuple[int, int, int]
    pixel_size_angstrom: float | None = None
    voxel_size_in_pixels: float = 1.0
    volume_centre_pixels: tuple[float, float] = (0.0, 0.0)
    axis_offset_pixels: float = 0.0
    acquisition_order: tuple[int, ...] | None = None
    dose_e_per_square_angstrom: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what no tilt series can be, and store plain Python numbers."""
        angles = tuple(float(a) for a in self.tilt_angles_deg)
        object.__setattr__(self, "tilt_angles_deg", angles)
        object.__setattr__(self, "detector_shape", tuple(int(n) for n in self.detector_shape))
        object.__setattr__(self, "volume_shape", tuple(int(n) for n in self.volume_shape))
        if not angles:
            raise InputError("no tilt angles: a tilt series needs at least one view")
        for index, angle in enumerate(angles):
            if not math.isfinite(angle) or abs(angle) > 180:
                raise InputError(f"tilt angle {index} is {angle}: expected degrees within -180..180; correct the angle list")
        if len(angles) > 2 and len(set(angles)) == 1:
            raise InputError(f"all {len(angles)} tilt angles equal {angles[0]}: expected a range; correct the angle list")
        if len(self.detector_shape) != 2 or len(self.volume_shape) != 3:
            raise InputError(f"detector {self.detector_shape}, volume {self.volume_shape}: expected the shapes (y, x) and (z, y, x)")
        if min(*self.detector_shape, *self.volume_shape) < 1:
            raise InputError(f"empty shape: detector (y, x) {self.detector_shape}, volume (z, y, x) {self.volume_shape}")
        if not self.voxel_size_in_pixels > 0:
            raise InputError(f"voxel size in pixels is {self.voxel_size_in_pixels}: expected a positive number")
        if self.pixel_size_angstrom is not None and not (math.isfinite(self.pixel_size_angstrom) and self.pixel_size_angstrom > 0):
            raise InputError(f"pixel size is {self.pixel_size_angstrom} angstrom: expected a positive number")
        if self.acquisition_order is not None and sorted(self.acquisition_order) != list(range(len(angles))):
            raise InputError("acquisition order is not a permutation of the views")
        self._check_dose()

    def _check_dose(self) -> None:
        if self.dose_e_per_square_angstrom is None:
            return
        dose = tuple(float(each) for each in self.dose_e_per_square_angstrom)
        object.__setattr__(self, "dose_e_per_square_angstrom", dose)
        if len(dose) != self.num_tilts or not all(math.isfinite(each) and each >= 0 for each in dose):
            raise InputError(f"{len(dose)} doses for {self.num_tilts} views: expected one number for each, 0 or more")

    @property
    def num_tilts(self) -> int:
        """Number of views."""
        return len(self.tilt_angles_deg)

    @property
    def tilt_angles_rad(self) -> np.ndarray:
        """Tilt angles as ``(tilt,)`` float64 in radians."""
        return np.deg2rad(np.asarray(self.tilt_angles_deg, dtype=np.float64))

    @property
    def voxel_size_angstrom(self) -> float | None:
        """Edge of a voxel in angstrom, or None where unknown."""
        return None if self.pixel_size_angstrom is None else self.pixel_size_angstrom * self.voxel_size_in_pixels

    def with_volume(
        self,
        shape: tuple[int, int, int],
        voxel_size_in_pixels: float = 1.0,
        centre_pixels: tuple[float, float] = (0.0, 0.0),
    ) -> "TiltGeometry":
        """Return the same views around another box: ``(z, y, x)`` voxels, voxel edge and ``(z, x)`` centre in detector pixels."""
        return replace(self, volume_shape=shape, voxel_size_in_pixels=voxel_size_in_pixels, volume_centre_pixels=centre_pixels)

    def with_views(self, indices: "list[int] | np.ndarray") -> "TiltGeometry":
        """Return the geometry of the views at ``indices``, in that order."""
        kept = [int(i) for i in indices]
        order = None
        if self.acquisition_order is not None:
            places = [self.acquisition_order[i] for i in kept]
            order = tuple(int(rank) for rank in np.argsort(np.argsort(places)))
        angles, dose = tuple(self.tilt_angles_deg[i] for i in kept), self.dose_e_per_square_angstrom
        dose = None if dose is None else tuple(dose[i] for i in kept)
        return replace(self, tilt_angles_deg=angles, acquisition_order=order, dose_e_per_square_angstrom=dose)

    def binned(self, factor: int) -> "TiltGeometry":
        """Return the geometry after averaging blocks of ``factor`` pixels and voxels, cropping a remainder at the far end.

        The volume's extent follows; centres stay where they are in space, so a cropped detector moves the axis by half the remainder.
        """
        if factor < 1:
            raise InputError(f"binning factor is {factor}: expected 1 or more")
        ny, nx = (n // factor for n in self.detector_shape)
        nz, vy, vx = self.volume_shape
        volume = (nz // factor, vy // factor, vx // factor)
        if min(ny, nx, *volume) < 1:
            raise InputError(f"binning by {factor} leaves nothing of detector {self.detector_shape} or volume {self.volume_shape}")
        lost_x = self.detector_shape[1] - nx * factor
        lost_z, lost_vx = (self.volume_shape[axis] - volume[axis] * factor for axis in (0, 2))
        voxel = self.voxel_size_in_pixels
        centre_z, centre_x = self.volume_centre_pixels
        return replace(
            self,
            detector_shape=(ny, nx),
            volume_shape=volume,
            pixel_size_angstrom=None if self.pixel_size_angstrom is None else self.pixel_size_angstrom * factor,
            volume_centre_pixels=((centre_z - lost_z * voxel / 2) / factor, (centre_x - lost_vx * voxel / 2) / factor),
            axis_offset_pixels=(self.axis_offset_pixels + lost_x / 2) / factor,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "TiltGeometry":
        """Build from `to_json`'s data; lists become tuples.

        Raises
        ------
        InputError
            If a field is missing, unknown or of the wrong kind.
        """
        try:
            fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
            return cls(**fields)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"damaged tilt geometry: {error}") from error
