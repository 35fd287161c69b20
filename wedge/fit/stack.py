"""Many estimates of one specimen put together, frequency by frequency, as views say that none of them has seen.

Every setting of a fit is right about something: strong smoothing about coarse detail, weak about fine. Their sum with a weight for each at
each frequency, found by least squares on held-out views, is better than any of them: the noise of those views is independent of every
estimate, so that it adds to the error the same for all weights. Weights may be negative; they vary smoothly with frequency, and what views
cannot decide stays at the best single estimate, or at one from elsewhere if that does better. How far a weight may go is counted in what it
adds: an estimate that is weak at a frequency, as strong smoothing makes it, may be multiplied by much.

Weights that few views ask for are partly of those views' noise, and of how a projector sees voxels. So a sum leans towards the estimates
that are best by themselves beyond the coarsest detail, what a network has learned, a little further than views ask for.

References
----------
D. H. Wolpert, Neural Networks 5 (1992) 241, doi:10.1016/S0893-6080(05)80023-1; L. Breiman, Machine Learning 24 (1996) 49,
doi:10.1007/BF00117832
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wedge.fit.emptied import Emptying
from wedge.fourier import friedel_weight

KNOT_SPACING = 1 / 32
"""Cycles per pixel between knots of the weights; a filter that is as smooth reaches ``REACH`` voxels."""
REACH = 32
_BINS_PER_KNOT = 4
_TOP = 0.75  # cycles per pixel: beyond the corners of a view's spectrum
_NOISE_FROM = 0.4  # cycles per pixel: beyond it there is next to nothing but noise
_FOLDS = 4
_SPREADS = (0.3, 1.0, 3.0)
_SMOOTHNESSES = (0.1, 0.3)
_ROUNDING = 1e-10  # power that single precision leaves, relative to that of the views
_WEAKEST, _STRONGEST = 1e-3, 1e3  # power of an estimate relative to the best one's, as far as it is told apart
_LEANING = 0.25
_LEANS_FROM = 0.05  # cycles per pixel; what is coarser views tell better than any network, and leaning begins at 0
_FINE = (0.2, 0.3)  # cycles per pixel from which on detail begins to be fine, and is


def knots() -> np.ndarray:
    """Return the frequencies of the weights' knots in cycles per pixel, ``(knot,)``; one lies below 0 and one beyond the top."""
    return np.arange(-1, round(_TOP / KNOT_SPACING) + 2) * KNOT_SPACING


def spline_basis(frequency: np.ndarray) -> np.ndarray:
    """Return cubic B-splines ``(frequency, knot)`` at frequencies in cycles per pixel; they sum to 1 within the band."""
    distance = np.abs(np.clip(frequency, 0, _TOP)[:, None] - knots()) / KNOT_SPACING
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


@dataclass(frozen=True)
class Stack:
    """Weights of estimates.

    Parameters
    ----------
    weights
        ``(estimate, knot)``, see `knots`.
    base
        The best single estimate.
    error, base_error
        Mean squared error per ray on held-out views, of all folds in turn, of the sum and of the best single estimate; both hold the noise.
    believed, rest, rest_of
        What is left of the finished sum and what is added of one estimate, ``(knot,)``, and which, see `wedge.fit.stack_believed`; None
        where all of the sum stays.
    emptying
        How the sum is emptied; None where that is not known.
    """

    weights: np.ndarray
    base: int
    error: float
    base_error: float
    believed: np.ndarray | None = None
    rest: np.ndarray | None = None
    rest_of: int | None = None
    emptying: Emptying | None = None

    def leaning_towards(self, coarse: int, fine: int) -> "Stack":
        """Return a stack whose sum is nearer to two of the estimates, of coarse and of fine detail, by a quarter of its distance.

        But for the coarsest.
        """
        share = _LEANING * np.clip(knots() / _LEANS_FROM, 0, 1)
        is_fine = np.clip((knots() - _FINE[0]) / (_FINE[1] - _FINE[0]), 0, 1)
        towards = np.zeros_like(self.weights)
        towards[coarse] = 1 - is_fine
        towards[fine] += is_fine
        return replace(self, weights=(1 - share) * self.weights + share * towards)


class RingEquations:
    """Normal equations of the weights, kept for each view and ring of frequencies.

    Parameters
    ----------
    predictions
        Views as each estimate predicts them, ``(y, tilt, x)``.
    measured
        What was measured, ``(y, tilt, x)``.
    """

    def __init__(self, predictions: Sequence[np.ndarray], measured: np.ndarray) -> None:
        rows, num_views, width = measured.shape
        frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(width))
        spacing = KNOT_SPACING / _BINS_PER_KNOT
        bins = (frequency / spacing).astype(int).ravel()
        order = np.argsort(bins, kind="stable")
        self._starts = np.searchsorted(bins[order], np.arange(bins.max() + 2))
        self._basis = spline_basis((np.arange(bins.max() + 1) + 0.5) * spacing)
        # Half the spectrum: what stands for its mirror image as well counts twice.
        doubled = np.broadcast_to(friedel_weight(width).numpy(), frequency.shape)
        root = np.sqrt(doubled).ravel()[order, None].astype(np.float32)
        stacked = np.stack([*predictions, measured], axis=-1).astype(np.float32)
        spectra = np.fft.fft(np.fft.rfft(stacked, axis=2, norm="ortho"), axis=0, norm="ortho")
        count = len(predictions) + 1
        self._grams = np.zeros((num_views, len(self._basis), count, count))
        for view in range(num_views):
            values = spectra[:, view].reshape(-1, count)[order] * root
            for place, (start, stop) in enumerate(itertools.pairwise(self._starts)):
                ring = values[start:stop]
                self._grams[view, place] = (ring.conj().T @ ring).real
        self._rays = float(rows * width)
        outer = (np.arange(len(self._basis)) + 0.5) * spacing > min(_NOISE_FROM, 0.8 * frequency.max())
        points = np.add.reduceat(doubled.ravel()[order], np.minimum(self._starts[:-1], len(order) - 1)) * (np.diff(self._starts) > 0)
        power = self._grams[:, :, -1, -1].mean(axis=0)[outer & (points > 0)] / points[outer & (points > 0)]
        mean = float(self._grams[:, :, -1, -1].sum()) / (self._rays * num_views)
        # Where views have no fine detail at all, rounding is their noise: nothing is as sure as 0 would make it.
        self._noise = max(float(np.median(power)), _ROUNDING * mean, 1e-30)

    @property
    def num_views(self) -> int:
        """Views that judge."""
        return len(self._grams)

    def errors(self) -> np.ndarray:
        """Return the mean squared error per ray of each estimate, ``(estimate,)``."""
        gram = self._grams.sum(axis=(0, 1))
        squared = np.diag(gram)[:-1] - 2 * gram[:-1, -1] + gram[-1, -1]
        return squared / (self._rays * self.num_views)

    def solve(self, views: Sequence[int], trusted: int, spread: float, smoothness: float) -> np.ndarray:
        """Return the weights ``(estimate, knot)`` that some views ask for.

        Parameters
        ----------
        trusted
            The estimate whose weight is 1 where nothing speaks against it.
        spread
            How far weights may be expected from there, for estimates as strong as that one.
        smoothness
            How much they may be expected to change from knot to knot.
        """
        strengths = self._strengths(trusted)
        gram = self._grams[list(views)].sum(axis=0) / self._noise
        count = gram.shape[1] - 1
        num_knots = self._basis.shape[1]
        expected = np.zeros((num_knots, count))
        expected[:, trusted] = 1.0
        matrix = np.einsum("bk,bl,bij->kilj", self._basis, self._basis, gram[:, :-1, :-1], optimize=True)
        right = np.einsum("bk,bi->ki", self._basis, gram[:, :-1, -1]) + strengths * expected / spread**2
        matrix = matrix.reshape(num_knots * count, num_knots * count)
        matrix[np.diag_indices_from(matrix)] += strengths.ravel() / spread**2
        for estimate in range(count):
            # Between two knots counts the geometric mean of the strengths there.
            between = (strengths[1:, estimate] * strengths[:-1, estimate]) ** 0.25
            steps = np.diff(np.eye(num_knots), axis=0) * between[:, None] / smoothness
            matrix[estimate::count, estimate::count] += steps.T @ steps
        return np.linalg.solve(matrix, right.ravel()).reshape(num_knots, count).T

    def _strengths(self, trusted: int) -> np.ndarray:
        """Return the power of the estimates around each knot relative to that of ``trusted``, ``(knot, estimate)``."""
        power = np.diagonal(self._grams.sum(axis=0), axis1=1, axis2=2)[:, :-1]
        near = self._basis.T @ power
        near = np.maximum(near, 1e-12 * max(float(near.max()), 1e-30))
        return np.clip(near / near[:, [trusted]], _WEAKEST, _STRONGEST)

    def leaning(self, stack: Stack, coarse: int, fine: int) -> Stack:
        """Return a stack that leans, see `Stack.leaning_towards`, with the error that its sum has then."""
        leaning, views = stack.leaning_towards(coarse, fine), range(self.num_views)
        more = self.error(views, leaning.weights) - self.error(views, stack.weights)
        return replace(leaning, error=stack.error + more)

    def error(self, views: Sequence[int], weights: np.ndarray) -> float:
        """Return the mean squared error per ray of the weighted sum on some views."""
        gram = self._grams[list(views)].sum(axis=0)
        full = np.concatenate([self._basis @ weights.T, -np.ones((len(self._basis), 1))], axis=1)
        return float(np.einsum("bi,bij,bj->", full, gram, full)) / (self._rays * len(views))

    def cross_validated(self, trusted: int, spread: float, smoothness: float) -> float:
        """Return the error on views that took no part in the weights."""
        total = 0.0
        folds = min(_FOLDS, self.num_views)
        for fold in range(folds):
            judging = list(range(fold, self.num_views, folds))
            others = [view for view in range(self.num_views) if view not in judging]
            total += self.error(judging, self.solve(others, trusted, spread, smoothness)) * len(judging)
        return total / self.num_views

    def best(self, single: int | None = None) -> Stack:
        """Return the weights whose spread and smoothness do best on views that took no part; the single best where none does better.

        That is one of the first ``single`` estimates, where they are given. Where views decide nothing, it is trusted or one of the others,
        whichever does better.
        """
        errors = self.errors()
        base = int(np.argmin(errors[:single]))
        trusted = [base, *range(len(errors) if single is None else single, len(errors))]
        options = list(itertools.product(trusted, _SPREADS, _SMOOTHNESSES))
        found = [self.cross_validated(*option) for option in options] if self.num_views > 1 else [np.inf]
        best = int(np.argmin(found))
        if not found[best] < errors[base]:
            weights = np.zeros((len(errors), self._basis.shape[1]))
            weights[base] = 1.0
            return Stack(weights, base, float(errors[base]), float(errors[base]))
        return Stack(self.solve(range(self.num_views), *options[best]), base, found[best], float(errors[base]))
