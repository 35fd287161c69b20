"""Mistakes in the geometry of a series, and which of them its views can show.

A view sees ``s = x cos(theta) + z sin(theta) + c``. Three mistakes only change the specimen: the sign of all angles, ``z -> -z``; all views
mirrored in x, ``(x, z) -> (-x, -z)`` and ``c -> -c``, a half turn about the axis; all views mirrored in y, ``y -> -y``. Each explains the
views exactly as well, whatever the angles, so only a reference volume tells them apart; the first and the last change the hand of the
specimen. What is left can be seen: the place and the direction of the axis, views of one side mirrored, angles in another order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from wedge.geometry import TiltGeometry

Views = torch.Tensor


@dataclass(frozen=True)
class Candidate:
    """One way in which the views might have to be read.

    Parameters
    ----------
    name
        Short, for the table.
    advice
        What to do if it is right.
    views
        Corrects ``(y, tilt, x)`` views.
    geometry
        The geometry of the corrected views.
    turns
        Whether a turn of the axis by some degrees is looked for too.
    """

    name: str
    advice: str
    views: Callable[[Views], Views] = lambda views: views
    geometry: Callable[[TiltGeometry], TiltGeometry] = lambda geometry: geometry
    turns: bool = False


def candidates(geometry: TiltGeometry) -> list[Candidate]:
    """Return the mistakes that the views of a series can show, the simplest first; the first is none."""
    angles = np.asarray(geometry.tilt_angles_deg)
    found = [
        Candidate("axis along y", "", turns=True),
        Candidate("axis along x", "turn the views by 90 degrees", _quarter_turn, _turned_geometry, turns=True),
    ]
    if (angles < 0).any() and (angles > 0).any():
        side = torch.from_numpy(angles < 0)
        advice = "mirror the views of negative angles in {}, or those of the others: the data cannot tell which"
        found.append(Candidate("one side mirrored in x", advice.format("x"), lambda views: _mirrored(views, side, 2)))
        found.append(Candidate("one side mirrored in y", advice.format("y"), lambda views: _mirrored(views, side, 0)))
    if not (np.diff(angles) >= 0).all() and not (np.diff(angles) <= 0).all():
        ordered = tuple(sorted(geometry.tilt_angles_deg))
        found.append(
            Candidate("views in order of angle", "sort the list of angles", geometry=lambda each: replace(each, tilt_angles_deg=ordered))
        )
    return found


@dataclass(frozen=True)
class Hand:
    """One of the readings that the views alone cannot tell apart.

    Parameters
    ----------
    angle_sign, mirror_x, mirror_y
        Whether to change the sign of all angles, or to mirror all views.
    """

    angle_sign: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def name(self) -> str:
        """In words."""
        parts = [("other sign of angles", self.angle_sign), ("views mirrored in x", self.mirror_x), ("views mirrored in y", self.mirror_y)]
        return ", ".join(word for word, is_so in parts if is_so) or "as it is"

    @property
    def volume_flips(self) -> tuple[int, ...]:
        """Axes of a ``(y, z, x)`` density that this turns round."""
        flips = [(0, self.mirror_y), (1, self.angle_sign != self.mirror_x), (2, self.mirror_x)]
        return tuple(axis for axis, is_so in flips if is_so)

    def views(self, views: Views) -> Views:
        """Return ``(y, tilt, x)`` views mirrored so."""
        dims = [dim for dim, is_so in ((0, self.mirror_y), (2, self.mirror_x)) if is_so]
        return views.flip(dims) if dims else views

    def geometry(self, geometry: TiltGeometry) -> TiltGeometry:
        """Return the geometry of the views mirrored so, with angles of this sign."""
        angles = tuple(-angle for angle in geometry.tilt_angles_deg) if self.angle_sign else geometry.tilt_angles_deg
        offset = -geometry.axis_offset_pixels if self.mirror_x else geometry.axis_offset_pixels
        z, x = geometry.volume_centre_pixels
        centre = (-z if self.angle_sign != self.mirror_x else z, -x if self.mirror_x else x)
        return replace(geometry, tilt_angles_deg=angles, axis_offset_pixels=offset, volume_centre_pixels=centre)


def hands() -> list[Hand]:
    """Return all readings that the views alone cannot tell apart, those that change least first."""
    return sorted(
        (Hand(*each) for each in product((False, True), repeat=3)), key=lambda hand: hand.angle_sign + hand.mirror_x + hand.mirror_y
    )


def _quarter_turn(views: Views) -> Views:
    return torch.rot90(views, 1, dims=(0, 2)).contiguous()


def _turned_geometry(geometry: TiltGeometry) -> TiltGeometry:
    rows, columns = geometry.detector_shape
    depth = geometry.volume_shape[0]
    size = geometry.voxel_size_in_pixels
    volume = (depth, columns, max(1, round(rows / size)))
    centre = (geometry.volume_centre_pixels[0], 0.0)  # in x the box was placed about the other axis
    return replace(geometry, detector_shape=(columns, rows), volume_shape=volume, axis_offset_pixels=0.0, volume_centre_pixels=centre)


def _mirrored(views: Views, side: torch.Tensor, dim: int) -> Views:
    changed = views.clone()
    changed[:, side] = views[:, side].flip(dim)
    return changed
