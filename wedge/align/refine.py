"""Projection matching, coarse to fine: views against what the other views predict, again and again.

At each pixel size: warp the views by the transforms so far, predict each from the others (`wedge.align.predict`), find how far each must
move (`wedge.align.match`), move. A round counts only if the held-out error falls; if it rises, half the step is tried from the best so far.
At last views and density move together (`wedge.align.with_density`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from wedge.align.acceleration import Acceleration
from wedge.align.coarse import coarse_alignment
from wedge.align.found import Alignment
from wedge.align.levels import BuildProjector, Level, binnings, box_of, make_level, read_views
from wedge.align.match import Agreement, Match, clearly_better
from wedge.align.predict import predict_views
from wedge.align.slow_modes import improve, slow_modes
from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.align.with_density import Refined, refine_with_density
from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.fit.normalization import find_offset, sample_rows

Say = Callable[[str], None]

_WIDEST_FINEST = 256
_LONGEST_STEP_PIXELS = 1.5
_ENOUGH_PIXELS = 0.01
_SMALL_GAIN = 1e-3
_ROTATION_ROWS = 24
_MODES_WIDTH = 80  # finer levels cost more, and know no more of what changes slowly
_JUMPS = 8


@dataclass(frozen=True)
class AlignSettings:
    """How views are matched.

    Parameters
    ----------
    max_shift_pixels
        Farthest shift that is looked for, in given pixels.
    finest
        Given pixels along a pixel of the finest level; None: the smallest power of two that leaves 256 pixels of width.
    rounds
        At most, at each pixel size.
    rotation
        Whether views may turn.
    coarse
        Whether neighbours are correlated first, as a starting point to be tried beside the given one.
    least_move_pixels
        What moves less, in root mean square over views, is left as it is.
    with_density
        Whether views and density move together at last, see `wedge.align.with_density`.
    """

    max_shift_pixels: float = 16.0
    finest: int | None = None
    rounds: int = 30
    rotation: bool = True
    coarse: bool = True
    least_move_pixels: float = 0.1
    with_density: bool = True


def align(
    tilts: TiltSeries,
    build_projector: BuildProjector,
    settings: AlignSettings | None = None,
    *,
    device: torch.device | None = None,
    say: Say = lambda message: None,
) -> Alignment:
    """Find how far each view must be shifted and turned to agree with the others.

    Parameters
    ----------
    tilts
        ``(tilt, y, x)``; all of it is held in memory, some four times over.
    build_projector
        From a geometry and a device.
    settings
        See `AlignSettings`.
    device
        Where to compute.
    say
        Told how it goes.

    Raises
    ------
    InputError
        If a value is not finite or the views are constant.
    """
    settings, device = settings or AlignSettings(), device or torch.device("cpu")
    views = read_views(tilts, device)
    geometry = box_of(tilts, views)
    finest = settings.finest or _finest(geometry.detector_shape[1])
    current, levels = ViewTransforms.identity(geometry.num_tilts), []
    steps = binnings(geometry, finest)
    coarse_levels = steps[:3]
    for index, binning in enumerate(steps):
        search = _Search(make_level(views, geometry, binning), build_projector, device)
        try:
            if index == 0:
                guesses = [_guess(make_level(views, geometry, each), settings) for each in coarse_levels] if settings.coarse else []
                current = search.begin(settings, guesses)
            current, told = search.refine(current, settings)
        finally:
            search.close()
        levels.append(told)
        say(f"binned by {binning}: {told['rounds']} rounds, held-out error {told['error_first']:.4g} -> {told['error_last']:.4g}")
    last = _Search(make_level(views, geometry, finest), build_projector, device)
    try:
        found = last.verdict(current, settings, levels)
        if not settings.with_density:
            return found
        offset = find_offset(sample_rows(tilts), tilts, "auto", "auto")[0]
        rotation, least = settings.rotation, settings.least_move_pixels
        refined = refine_with_density(
            views, geometry, offset, found.transforms, build_projector, matched_binning=finest, rotation=rotation,
            least_move_pixels=least, say=say,
        )  # fmt: skip
        return last.together(found, refined)
    finally:
        last.close()


def _guess(level: Level, settings: AlignSettings) -> ViewTransforms:
    """Return what the correlation of neighbours says, in given pixels."""
    reach = max(1, round(2 * settings.max_shift_pixels / level.binning))
    return coarse_alignment(level, reach).scaled(level.binning)


def _finest(width: int) -> int:
    binning = 1
    while width / binning > _WIDEST_FINEST:
        binning *= 2
    return binning


class _Search:
    """Matching at one pixel size; transforms outside are in given pixels, inside in those of the level."""

    def __init__(self, level: Level, build_projector: BuildProjector, device: torch.device) -> None:
        self.level = level
        self._projector: Projector = build_projector(level.geometry, device)
        self._angles = level.geometry.tilt_angles_deg

    def close(self) -> None:
        self._projector.close()

    def match(self, transforms: ViewTransforms) -> Match:
        """Return the moved views beside their predictions."""
        moved = warp_views(self.level.views, transforms)
        return Match(moved, predict_views(moved, self._projector, self.level.geometry))

    def begin(self, settings: AlignSettings, guesses: list[ViewTransforms]) -> ViewTransforms:
        """Return the best start, in given pixels: nothing moved, or one of the guesses."""
        start = ViewTransforms.identity(len(self._angles))
        starts = [start, *(guess.scaled(1 / self.level.binning) for guess in guesses)]
        reach = max(1, round(settings.max_shift_pixels / self.level.binning))
        found = [self._large_moves(each, reach) for each in starts]
        start = min(found, key=self._error)
        return start.scaled(self.level.binning)

    def _large_moves(self, start: ViewTransforms, reach: int) -> ViewTransforms:
        """Let views that landed on the wrong place jump to where their prediction is."""
        match = self.match(start)
        for _ in range(_JUMPS):
            tried = start.then(match.large_move(reach)).gauge_fixed(self._angles)
            there = self.match(tried)
            if there.agreement.error >= match.agreement.error:
                break
            start, match = tried, there
        return start

    def refine(self, given: ViewTransforms, settings: AlignSettings) -> tuple[ViewTransforms, dict[str, Any]]:
        """Return better transforms in given pixels, and how they were found."""
        rotation = settings.rotation and self.level.views.shape[0] >= _ROTATION_ROWS
        modes = slow_modes(self._angles, rotation=rotation) if self.level.views.shape[2] <= _MODES_WIDTH else []
        acceleration = Acceleration(max(self.level.views.shape[0], self.level.views.shape[2]) / 4)
        best = given.scaled(1 / self.level.binning)
        match = self.match(best)
        first = match.agreement.error
        best, error = improve(best, first, modes, self._error)
        match = self.match(best)
        move, damping, rounds, small = self._move(match, rotation), 1.0, 0, 0
        tried = acceleration.propose(best, move)
        while rounds < settings.rounds and small < 3:
            rounds += 1
            tried = tried.gauge_fixed(self._angles)
            there = self.match(tried)
            if there.agreement.error < error:
                small = small + 1 if error - there.agreement.error < _SMALL_GAIN * error else 0
                error, best, damping = there.agreement.error, tried, 1.0
                move = self._move(there, rotation)
                if move.rms_shift() < _ENOUGH_PIXELS:
                    break
                tried = acceleration.propose(best, move)
            else:
                acceleration.forget()
                tried = best.then(move, damping)
                damping /= 2
                small += damping < 0.5
        told = {"binning": self.level.binning, "rounds": rounds, "error_first": round(first, 5), "error_last": round(error, 5)}
        return best.scaled(self.level.binning), told

    def _error(self, transforms: ViewTransforms) -> float:
        return self.match(transforms).agreement.error

    def _move(self, match: Match, rotation: bool) -> ViewTransforms:
        found = match.small_move(rotation=rotation)
        length = np.maximum(np.hypot(found.dx_pixels, found.dy_pixels), 1e-12)
        shorter = np.minimum(1, _LONGEST_STEP_PIXELS / length)
        turn = np.clip(found.rotation_deg, -1.0, 1.0)
        move = ViewTransforms(found.dx_pixels * shorter, found.dy_pixels * shorter, turn)
        return move.gauge_fixed(self._angles).without_lean(self._angles)

    def verdict(self, found: ViewTransforms, settings: AlignSettings, levels: list[dict[str, Any]]) -> Alignment:
        """Compare the series as given and as aligned, and decide."""
        before = self.match(ViewTransforms.identity(len(self._angles))).agreement
        match = self.match(found.scaled(1 / self.level.binning))
        after = match.agreement
        halves = [match.small_move(rotation=False, half=half).gauge_fixed(self._angles) for half in (0, 1)]
        apart = halves[0].then(halves[1], -1.0)
        precision = apart.rms_shift() / 2 * self.level.binning
        applied, reason = _decide(found, before, after, precision, settings, self.level)
        kept = found if applied else ViewTransforms.identity(len(self._angles))
        return Alignment(kept, applied, before.error, after.error, precision, reason, found, levels)

    def together(self, before: Alignment, refined: Refined) -> Alignment:
        """Return an alignment after views and density have moved together, unless the held-out error clearly speaks against that."""
        error = self._error(refined.transforms.scaled(1 / self.level.binning))
        before = replace(before, before_density=before.transforms)
        told, reason = refined.told, f"{before.reason}; {refined.reason}"
        if refined.applied and clearly_better(before.error_after if before.applied else before.error_before, error):
            return replace(
                before, with_density=told | {"applied": False}, reason=f"{reason}, where the held-out error is {error:.4g}: left"
            )
        told = told | {"applied": refined.applied}
        if not refined.applied:
            return replace(before, with_density=told, reason=reason)
        found = refined.transforms
        return replace(before, transforms=found, found=found, applied=True, error_after=error, reason=reason, with_density=told)


def _decide(
    found: ViewTransforms, before: Agreement, after: Agreement, precision: float, settings: AlignSettings, level: Level
) -> tuple[bool, str]:
    """Return whether the alignment is to be applied, and why."""
    turned = np.deg2rad(found.rms_rotation()) * max(level.views.shape[0], level.views.shape[2]) * level.binning / 4
    moved = float(np.hypot(found.rms_shift(), turned))
    errors = f"held-out error {before.error:.4g} as given, {after.error:.4g} aligned"
    if not clearly_better(after.error, before.error):
        return False, f"{errors}: no gain, or too small a one to tell from chance"
    if moved < max(settings.least_move_pixels, 2 * precision):
        return False, f"{errors}; views would move by {moved:.2g} pixels rms, known to about {precision:.2g}: too little for a resampling"
    return True, f"{errors}; views move by {moved:.3g} pixels rms, known to about {precision:.2g}"
