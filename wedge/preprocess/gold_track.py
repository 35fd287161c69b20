"""Beads in space: a bead is one point, whose place in every view follows from it. What looks like a bead in one view only is none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wedge.geometry import TiltGeometry
from wedge.preprocess.gold_find import Candidates

_LEAST_SHARE = 0.4  # of the views that see a bead's place, in which it must be found
_LEAST_APART_DEG = 8.0
_ROUNDS = 3


@dataclass(frozen=True)
class Bead:
    """A bead.

    Parameters
    ----------
    y
        Row.
    x, z
        Place in the slice relative to the tilt axis, in detector pixels.
    places
        ``(tilt, 2)`` row and column in each view: as found, else as follows from the others.
    found
        ``(tilt,)`` bool: whether it was found there.
    height
        What its middle adds to its surroundings in a view: the median over the views.
    """

    y: float
    x: float
    z: float
    places: np.ndarray
    found: np.ndarray
    height: float


@dataclass(frozen=True)
class _Flat:
    """Candidates of all views in one list."""

    view: np.ndarray
    y: np.ndarray
    s: np.ndarray
    height: np.ndarray


def track_beads(candidates: Sequence[Candidates], geometry: TiltGeometry, radius: float) -> list[Bead]:
    """Return the beads that the candidates of all views agree on, the surest first.

    Parameters
    ----------
    candidates
        Of each view.
    geometry
        Of the views.
    radius
        Of a bead in pixels; a third of it, at least 1.5 pixels, is how far alignment may be off.
    """
    tolerance = max(1.5, radius / 3)
    centre = (geometry.detector_shape[1] - 1) / 2 + geometry.axis_offset_pixels
    view = np.concatenate([np.full(len(part.y), tilt) for tilt, part in enumerate(candidates)]).astype(int)
    flat = _Flat(
        view,
        np.concatenate([part.y for part in candidates]),
        np.concatenate([part.x for part in candidates]) - centre,
        np.concatenate([part.height for part in candidates]),
    )
    free = np.ones(len(view), dtype=bool)
    tried = np.zeros(len(view), dtype=bool)
    beads: list[Bead] = []
    while (left := np.flatnonzero(free & ~tried)).size:
        seed = int(left[np.argmax(flat.height[left])])
        tried[seed] = True
        bead = _from_seed(seed, flat, free, geometry, tolerance)
        if bead is None:
            continue
        x, z, y, members = bead
        # All that lies on the way of the bead belongs to it.
        free[_near(flat, x, z, y, geometry, tolerance) & free] = False
        beads.append(_bead(x, z, y, members, flat, geometry, centre))
    return beads


def _near(flat: _Flat, x: float, z: float, y: float, geometry: TiltGeometry, tolerance: float) -> np.ndarray:
    angles = geometry.tilt_angles_rad[flat.view]
    off = flat.s - x * np.cos(angles) - z * np.sin(angles)
    return np.asarray((np.abs(off) <= tolerance) & (np.abs(flat.y - y) <= tolerance))


def _members(flat: _Flat, usable: np.ndarray, x: float, z: float, y: float, geometry: TiltGeometry, tolerance: float) -> np.ndarray:
    """Return the candidates on a bead's way, the nearest one of each view."""
    near = np.flatnonzero(_near(flat, x, z, y, geometry, tolerance) & usable)
    angles = geometry.tilt_angles_rad[flat.view[near]]
    off = np.abs(flat.s[near] - x * np.cos(angles) - z * np.sin(angles)) + np.abs(flat.y[near] - y)
    order = near[np.argsort(off, kind="stable")]
    _, first = np.unique(flat.view[order], return_index=True)
    return np.asarray(order[first])


def _from_seed(
    seed: int, flat: _Flat, free: np.ndarray, geometry: TiltGeometry, tolerance: float
) -> tuple[float, float, float, np.ndarray] | None:
    """Return place and candidates of the bead that a candidate belongs to, or None: every partner in another view proposes a place."""
    angles, own = geometry.tilt_angles_rad, int(flat.view[seed])
    apart = np.abs(angles[flat.view] - angles[own])
    partners = np.flatnonzero(free & (np.abs(flat.y - flat.y[seed]) <= tolerance) & (np.sin(apart) > np.sin(np.deg2rad(_LEAST_APART_DEG))))
    best: np.ndarray = np.zeros(0, dtype=int)
    depth = geometry.volume_shape[0] * geometry.voxel_size_in_pixels
    place = (0.0, 0.0, float(flat.y[seed]))
    for partner in partners:
        rows = np.array([angles[own], angles[flat.view[partner]]])
        x, z = np.linalg.solve(np.stack([np.cos(rows), np.sin(rows)], axis=1), flat.s[np.array([seed, int(partner)])])
        if abs(z) > 2 * depth:
            continue
        members = _members(flat, free, x, z, flat.y[seed], geometry, 1.5 * tolerance)
        if len(members) > len(best):
            best, place = members, (float(x), float(z), float(flat.y[seed]))
    for _ in range(_ROUNDS):
        if len(best) < 3:
            return None
        rows = angles[flat.view[best]]
        x, z = np.linalg.lstsq(np.stack([np.cos(rows), np.sin(rows)], axis=1), flat.s[best], rcond=None)[0]
        place = (float(x), float(z), float(np.median(flat.y[best])))
        best = _members(flat, free, *place, geometry, tolerance)
    width = geometry.detector_shape[1]
    s = place[0] * np.cos(angles) + place[1] * np.sin(angles)
    visible = int((np.abs(s + geometry.axis_offset_pixels) <= width / 2).sum())
    enough = len(best) >= max(3, _LEAST_SHARE * min(visible, geometry.num_tilts))
    return (*place, best) if enough else None


def _bead(x: float, z: float, y: float, members: np.ndarray, flat: _Flat, geometry: TiltGeometry, centre: float) -> Bead:
    angles = geometry.tilt_angles_rad
    places = np.stack([np.full(len(angles), y), x * np.cos(angles) + z * np.sin(angles) + centre], axis=1)
    found = np.zeros(len(angles), dtype=bool)
    places[flat.view[members]] = np.stack([flat.y[members], flat.s[members] + centre], axis=1)
    found[flat.view[members]] = True
    return Bead(y, x, z, places, found, float(np.median(flat.height[members])))
