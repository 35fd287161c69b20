"""Refinement of an alignment together with the density: shifts that neighbouring views share, and what noise hid from the matching.

Rounds on one pixel size, then on half of it: measure where the density is, let views and density move together (`wedge.align.joint`), then
go along the few slow modes by Newton's method. What counts in the end is by how much the views move, against how far that is known and
against a tenth of a pixel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wedge.align.joint import JointLevel
from wedge.align.levels import BuildProjector, Level, make_level
from wedge.align.slow_modes import slow_modes
from wedge.align.transforms import Floats, ViewTransforms
from wedge.geometry import TiltGeometry

Say = Callable[[str], None]

_WIDEST, _MOST_VOXELS = 96, 2**18  # of the finest level: each round solves for the density some three hundred times
_LEAST_WIDTH = 24
_ROTATION_ROWS = 24
_ROUNDS = 8
_ENOUGH_PIXELS = 0.03
_LONGEST_STEP_PIXELS = 1.5
_HALVINGS = 3
_HIGHER = 1.25  # what rounding makes of a misfit, where views have little noise, is less
_SIGNIFICANT, _SIGNIFICANT_SLOW = 2.0, 3.0
_COARSER = 2  # on pixels twice as large shifts along x became better, those along y a little worse


@dataclass(frozen=True)
class Refined:
    """What the refinement found; transforms in given pixels, gauge fixed.

    Parameters
    ----------
    transforms
        From the series as given; those it began with where ``applied`` is false.
    applied
        Whether they moved by more than chance.
    reason
        Why, in words.
    told
        Plain data for the record.
    """

    transforms: ViewTransforms
    applied: bool
    reason: str
    told: dict[str, Any]


def refine_with_density(
    views: torch.Tensor,
    geometry: TiltGeometry,
    offset: float,
    start: ViewTransforms,
    build_projector: BuildProjector,
    *,
    matched_binning: float = 1,
    rotation: bool = True,
    least_move_pixels: float = 0.1,
    say: Say = lambda message: None,
) -> Refined:
    """Move views and density together, from an alignment on.

    Parameters
    ----------
    views
        ``(y, tilt, x)`` float32, as given.
    geometry
        Of these views and a box that holds all that the rays meet.
    offset
        Intensity of a ray that meets nothing.
    start
        The alignment so far, in given pixels.
    build_projector
        From a geometry and a device.
    matched_binning
        Of the pixels that the alignment was found on. Where those here are more than twice as large, only what changes slowly is taken.
    rotation
        Whether views may turn.
    least_move_pixels
        What moves less, in root mean square over views, is left as it is; in pixels of the finest level, which are never smaller than those
        given.
    say
        Told how it goes.
    """
    current, levels = start, []
    for binning in _binnings(geometry):
        level = make_level(views, geometry, binning, offset)
        search = _Rounds(level, build_projector, views.device, rotation)
        try:
            current, told = search.run(current)
            levels.append(told)
            say(f"with the density, binned by {binning}: {told['rounds']} rounds, moved by {told['moved_pixels']:.3g} pixels rms")
            if binning == _binnings(geometry)[-1]:
                return search.verdict(start, current, matched_binning, least_move_pixels, levels)
        finally:
            search.close()
    raise AssertionError("there is always a finest level")


def _binnings(geometry: TiltGeometry) -> list[int]:
    """Return the pixel sizes, the coarser first: the finest leaves 96 pixels of width and 64 cubed voxels at most."""
    finest = 1
    while geometry.detector_shape[1] / finest > _WIDEST or math.prod(geometry.volume_shape) / finest**3 > _MOST_VOXELS:
        finest *= 2
    rows, columns = (size // (2 * finest) for size in geometry.detector_shape)
    return [2 * finest, finest] if min(columns, 3 * rows) >= _LEAST_WIDTH else [finest]


class _Rounds:
    """Refinement at one pixel size; transforms outside are in given pixels, inside in those of the level."""

    def __init__(self, level: Level, build_projector: BuildProjector, device: torch.device, rotation: bool) -> None:
        self._binning, self._angles = level.binning, level.geometry.tilt_angles_deg
        self._rotation = rotation and level.views.shape[0] >= _ROTATION_ROWS
        self._num_rows = level.views.shape[0]
        self._arm = max(level.views.shape[0], level.views.shape[2]) / 4
        self._projector = build_projector(level.geometry, device)
        self._joint = JointLevel(level.views, level.geometry, self._projector)
        self._modes = [mode for mode in slow_modes(self._angles, rotation=False) if mode.dx_pixels.any()]
        self._spread = np.zeros(len(self._modes))

    def close(self) -> None:
        self._projector.close()

    def run(self, given: ViewTransforms) -> tuple[ViewTransforms, dict[str, Any]]:
        """Return better transforms in given pixels, and how they were found."""
        start = current = given.scaled(1 / self._binning)
        rounds = 0
        while rounds < _ROUNDS:
            rounds += 1
            before = current
            self._joint.look(current)
            current, misfit = self._lower(current, self._step(current), self._joint.misfit(current))
            if self._modes:
                along, self._spread = self._joint.slow_step(current, self._modes)
                current, _ = self._lower(current, _all_shorter(self._sum(along)), misfit)
            if self._length(current.then(before, -1.0)) < _ENOUGH_PIXELS:
                break
        moved = self._length(current.then(start, -1.0)) * self._binning
        told = {"binning": self._binning, "rounds": rounds, "moved_pixels": round(moved, 4)}
        return current.scaled(self._binning), told

    def _step(self, current: ViewTransforms, half: int | None = None) -> ViewTransforms:
        found = self._joint.step(current, rotation=self._rotation, half=half)
        return _shorter(found.gauge_fixed(self._angles).without_lean(self._angles))

    def _lower(self, current: ViewTransforms, step: ViewTransforms, misfit: float) -> tuple[ViewTransforms, float]:
        """Return where a step leads, or half of it or a quarter, unless the misfit is clearly higher there; and the misfit."""
        share = 1.0
        for _ in range(_HALVINGS):
            tried = current.then(step, share).gauge_fixed(self._angles)
            there = self._joint.misfit(tried)
            if there < _HIGHER * misfit:
                return tried, there
            share /= 2
        return current, misfit

    def _sum(self, amplitudes: Floats) -> ViewTransforms:
        dx = np.asarray(sum(each * mode.dx_pixels for each, mode in zip(amplitudes, self._modes, strict=True)))
        return ViewTransforms(dx, np.zeros_like(dx), np.zeros_like(dx))

    def _slow_part(self, moves: ViewTransforms) -> ViewTransforms:
        if not self._modes:
            return ViewTransforms.identity(len(self._angles))
        modes = np.stack([mode.dx_pixels for mode in self._modes], axis=1)
        return self._sum(np.asarray(np.linalg.lstsq(modes, moves.dx_pixels, rcond=None)[0], dtype=np.float64))

    def _length(self, moves: ViewTransforms) -> float:
        """Return the root mean square over views of what a move is worth at some distance from the middle, in pixels of the level."""
        fixed = moves.gauge_fixed(self._angles).without_lean(self._angles)
        return float(np.hypot(fixed.rms_shift(), np.deg2rad(fixed.rms_rotation()) * self._arm))

    def verdict(
        self, start: ViewTransforms, found: ViewTransforms, matched_binning: float, least_move_pixels: float, levels: list[dict[str, Any]]
    ) -> Refined:
        """Compare what was found with what is known, and decide."""
        at = found.scaled(1 / self._binning)
        moves = at.then(start.scaled(1 / self._binning), -1.0).gauge_fixed(self._angles)
        slow = self._slow_part(moves)
        speaks_against = self._joint.misfit(at) > _HIGHER * self._joint.misfit(start.scaled(1 / self._binning))
        halves = [self._step(at, half) for half in (0, 1)]
        apart = halves[0].then(halves[1], -1.0)
        apart = apart.then(self._slow_part(apart), -1.0)
        # A mode of one step is half a pixel.
        slow_known = float(np.sqrt(np.sum(np.square(0.5 * self._spread))))
        known = float(np.hypot(self._length(apart) / 2, slow_known))
        moved, moved_slowly = self._length(moves), self._length(slow)
        told = {
            "moved_pixels": round(moved * self._binning, 4),
            "moved_slowly_pixels": round(moved_slowly * self._binning, 4),
            "precision_pixels": round(known * self._binning, 4),
            "precision_of_slow_pixels": round(slow_known * self._binning, 4),
            "levels": levels,
        }
        words = f"with the density they move by {moved * self._binning:.2g} pixels rms more, known to {known * self._binning:.2g}"
        if speaks_against:
            return Refined(start, False, words + ", where views agree less with the density: left", told)
        if self._num_rows < 2:
            return Refined(start, False, words + ", which one row cannot tell: left", told)
        if self._binning > _COARSER * matched_binning:
            # Place by place the matching, on finer pixels, knows better; what views share it knows less.
            kept = start.then(slow.scaled(self._binning)).gauge_fixed(self._angles)
            applied = moved_slowly >= max(least_move_pixels, _SIGNIFICANT_SLOW * slow_known)
            return Refined(kept if applied else start, applied, words + "; only what changes slowly counts", told)
        if start.moves or moved >= max(least_move_pixels, _SIGNIFICANT * known):
            # What is resampled anyway goes where it most probably belongs.
            return Refined(found.gauge_fixed(self._angles), True, words, told)
        if moved_slowly >= max(least_move_pixels, _SIGNIFICANT_SLOW * slow_known):
            kept = start.then(slow.scaled(self._binning)).gauge_fixed(self._angles)
            return Refined(kept, True, words + "; of that only what changes slowly is taken", told)
        return Refined(start, False, words + ": too little", told)


def _all_shorter(step: ViewTransforms) -> ViewTransforms:
    """Return a step of the same shape whose longest move is 3 pixels at most."""
    longest = float(np.abs(step.dx_pixels).max())
    return step.scaled(min(1.0, 2 * _LONGEST_STEP_PIXELS / max(longest, 1e-12)))


def _shorter(step: ViewTransforms) -> ViewTransforms:
    """Return a step of at most 1.5 pixels and one degree a view."""
    length = np.maximum(np.hypot(step.dx_pixels, step.dy_pixels), 1e-12)
    share = np.minimum(1.0, _LONGEST_STEP_PIXELS / length)
    return ViewTransforms(step.dx_pixels * share, step.dy_pixels * share, np.clip(step.rotation_deg, -1.0, 1.0))
