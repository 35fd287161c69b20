"""Which geometry fits a series: every candidate's best axis, its held-out error, and how sharp its reconstruction is.

For each candidate the offset of the tilt axis is looked for on a lattice of large pixels, then its turn, then both again on smaller pixels,
at the lowest held-out error (`wedge.align.predict`). Sharpness is ``<v^4> / <v^2>^2`` of a quick reconstruction without its mean: density
that is smeared out is nearer to a normal distribution. It is shown beside the error and decides nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from wedge.align.candidates import Candidate, candidates
from wedge.align.levels import BuildProjector, Level, box_of, make_level, read_views
from wedge.align.match import Match, clearly_better
from wedge.align.predict import predict_views, reconstruct
from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.fit.margin import widened

_COARSE_WIDTH, _FINE_WIDTH = 48, 96
_LONGEST_WALK = 6
_STEPS = (1.0, 0.5)  # fine pixels, and degrees
_HOPELESS = 1.5  # times the error of the best on large pixels
_WIDEST_TURN_DEG, _TURN_STEP_DEG = 6.0, 1.5


@dataclass(frozen=True)
class Fit:
    """How well one candidate fits.

    Parameters
    ----------
    candidate
        What was assumed.
    axis_offset_pixels
        Where the axis lies, in given pixels from the middle of the (corrected) views.
    axis_turn_deg
        Its direction, from y towards -x; views turned by minus this have it along y.
    error
        Share of the held-out views that stays unexplained, as `wedge.align.match.Agreement.unexplained`.
    sharpness
        Of a quick reconstruction.
    """

    candidate: Candidate
    axis_offset_pixels: float
    axis_turn_deg: float
    error: float
    sharpness: float


@dataclass(frozen=True)
class Check:
    """What was found.

    Parameters
    ----------
    given
        The series as its geometry says.
    fits
        The best axis of each candidate.
    chosen
        The simplest that nothing else clearly beats; ``given`` where that is so.
    density
        ``(y, z, x)`` quick reconstruction of the chosen one.
    binning
        Given pixels along a voxel of that.
    pixel_size_angstrom
        Edge of a given pixel, or None where nobody knows it.
    """

    given: Fit
    fits: list[Fit]
    chosen: Fit
    density: torch.Tensor
    binning: int
    pixel_size_angstrom: float | None = None


def check_geometry(
    tilts: TiltSeries,
    build_projector: BuildProjector,
    *,
    max_offset_pixels: float | None = None,
    device: torch.device | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Check:
    """Find the geometry that explains a series best.

    Parameters
    ----------
    tilts
        ``(tilt, y, x)``.
    build_projector
        From a geometry and a device.
    max_offset_pixels
        Farthest place of the axis from where the geometry has it; None: an eighth of the width.
    device
        Where to compute.
    say
        Told how it goes.

    Raises
    ------
    InputError
        If a value is not finite or the views are constant.
    """
    device = device or torch.device("cpu")
    views = read_views(tilts, device)
    fits: list[Fit] = []
    trials: list[_Trial] = []
    best_error = float("inf")
    try:
        for candidate in candidates(tilts.geometry):
            changed = replace(tilts, geometry=candidate.geometry(tilts.geometry))
            trial = _Trial(candidate, candidate.views(views), changed, build_projector, device, max_offset_pixels)
            trials.append(trial)
            if not fits:
                given = trial.fit(0.0, 0.0)
            error = trial.look()
            best_error = min(best_error, error)
            if error > _HOPELESS * best_error:
                fits.append(trial.hopeless())
            else:
                fits.append(trial.straight())
                fits += [trial.turned()] if candidate.turns else []
            say(f"{candidate.name}: axis at {fits[-1].axis_offset_pixels:.2f} pixels, unexplained {fits[-1].error:.4g}")
        chosen = _choose(given, fits)
        best = next(trial for trial in trials if trial.candidate is chosen.candidate)
        return Check(given, fits, chosen, best.density(chosen), best.fine.binning, tilts.geometry.pixel_size_angstrom)
    finally:
        for trial in trials:
            trial.close()


def _choose(given: Fit, fits: list[Fit]) -> Fit:
    """Return what was given unless something is clearly better; then the first, the simplest, that the best is not clearly better than."""
    best = min(fits, key=lambda each: each.error)
    if not clearly_better(best.error, given.error, few_freedoms=True):
        return given
    return next(each for each in fits if not clearly_better(best.error, each.error, few_freedoms=True))


class _Trial:
    """One candidate at two pixel sizes."""

    def __init__(
        self,
        candidate: Candidate,
        views: torch.Tensor,
        tilts: TiltSeries,
        build: BuildProjector,
        device: torch.device,
        max_offset_pixels: float | None,
    ) -> None:
        self.candidate = candidate
        width = tilts.geometry.detector_shape[1]
        reach = width / 8 if max_offset_pixels is None else max_offset_pixels
        # About another axis the specimen lies elsewhere, in part beside the detector.
        geometry = widened(box_of(tilts, views), math.ceil(reach) + width // 8)
        self.coarse = make_level(views, geometry, _binning(width, _COARSE_WIDTH))
        self.fine = make_level(views, geometry, _binning(width, _FINE_WIDTH))
        self._given_offset = tilts.geometry.axis_offset_pixels
        self._place = 0.0
        self._reach = reach
        self._projectors = {level.binning: build(level.geometry, device) for level in (self.coarse, self.fine)}

    def close(self) -> None:
        for projector in self._projectors.values():
            projector.close()

    def look(self) -> float:
        """Return the lowest error over the places of an untilted axis, on large pixels."""
        unit = float(self.coarse.binning)
        reach = max(1, round(self._reach / unit))
        self._place = _lowest(lambda c: self._error(self.coarse, c, 0.0), unit * np.arange(-reach, reach + 1))
        return self._error(self.coarse, self._place, 0.0)

    def straight(self) -> Fit:
        """Find the place of an axis along y."""
        offset = self._place
        for step in _STEPS:
            offset = self._best_offset(offset, 0.0, step)
        return self.fit(offset, 0.0)

    def turned(self) -> Fit:
        """Find the place and the direction of the axis."""
        offset = self._place
        turns = np.arange(-_WIDEST_TURN_DEG, _WIDEST_TURN_DEG + 0.1, _TURN_STEP_DEG)
        turn = _lowest(lambda t: self._error(self.coarse, offset, t), turns)
        for step in _STEPS:
            turn = self._best_turn(offset, turn, step)
            offset = self._best_offset(offset, turn, step)
        return self.fit(offset, turn)

    def hopeless(self) -> Fit:
        """Return the best of large pixels: there is no need to look closer."""
        return self.fit(self._place, 0.0)

    def _best_offset(self, offset: float, turn: float, step: float) -> float:
        return _downhill(lambda c: self._error(self.fine, c, turn), offset, step * self.fine.binning)

    def _best_turn(self, offset: float, turn: float, step: float) -> float:
        return _downhill(lambda t: self._error(self.fine, offset, t), turn, step)

    def fit(self, offset: float, turn: float) -> Fit:
        """Return how well an axis fits, relative to the one that the geometry has."""
        density = self._density(self.fine, offset, turn)
        centred = density - density.mean()
        sharpness = float(centred.pow(4).mean() / centred.square().mean().square().clamp_min(1e-30))
        return Fit(self.candidate, self._given_offset + offset, turn, self._error(self.fine, offset, turn), sharpness)

    def density(self, fit: Fit) -> torch.Tensor:
        """Return a quick reconstruction."""
        return self._density(self.fine, fit.axis_offset_pixels - self._given_offset, fit.axis_turn_deg)

    def _density(self, level: Level, offset: float, turn: float) -> torch.Tensor:
        moved = self._moved(level, offset, turn)
        return reconstruct(moved, self._projectors[level.binning], torch.ones(moved.shape[1], device=moved.device), 4)

    def _error(self, level: Level, offset: float, turn: float) -> float:
        moved = self._moved(level, offset, turn)
        projector: Projector = self._projectors[level.binning]
        return Match(moved, predict_views(moved, projector, level.geometry, num_groups=4, iterations=4)).agreement.unexplained

    def _moved(self, level: Level, offset: float, turn: float) -> torch.Tensor:
        ones = np.ones(level.views.shape[1])
        moves = ViewTransforms(-offset / level.binning * ones, 0 * ones, -turn * ones)
        # All but what a translation of the specimen would do as well: less is led on from beyond the edge.
        return warp_views(level.views, moves.gauge_fixed(level.geometry.tilt_angles_deg))


def _binning(width: int, widest: int) -> int:
    binning = 1
    while width / binning > widest:
        binning *= 2
    return binning


def _lowest(error_of: Callable[[float], float], places: np.ndarray) -> float:
    """Return the best of some places."""
    return float(places[int(np.argmin([error_of(float(place)) for place in places]))])


def _downhill(error_of: Callable[[float], float], start: float, step: float) -> float:
    """Walk downhill until the error rises again, and return the lowest point of the parabola through the last three places."""
    places = [start - step, start, start + step]
    errors = [error_of(place) for place in places]
    for _ in range(_LONGEST_WALK):
        if errors[1] <= min(errors[0], errors[2]):
            break
        if errors[0] < errors[2]:
            places, errors = [places[0] - step, *places[:2]], [error_of(places[0] - step), *errors[:2]]
        else:
            places, errors = [*places[1:], places[2] + step], [*errors[1:], error_of(places[2] + step)]
    bend = errors[0] - 2 * errors[1] + errors[2]
    return places[1] + (float(np.clip(0.5 * (errors[0] - errors[2]) / bend, -1, 1)) * step if bend > 0 else 0.0)
