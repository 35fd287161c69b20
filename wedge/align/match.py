"""How far a view must move to lie on its prediction.

Measured ``M`` and predicted ``P``: ``M = a P + n`` at every frequency, where ``a`` is the regression of all views on their predictions,
ring by ring, and ``s^2`` the power of ``n``. A move makes ``M - aP = (dx d/dx + dy d/dy + phi (x d/dy - y d/dx) + c) aP``, solved by least
squares with weight ``1 / s^2``: the most probable move under noise of any colour. Large moves are found first, at the highest correlation
under the same weight.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from wedge.align.transforms import ViewTransforms
from wedge.fourier import friedel_weight

_TAPER = 0.12  # of a side of the view: the edges see what the next view does not


@dataclass(frozen=True)
class Agreement:
    """How well predictions agree with the views.

    Parameters
    ----------
    error
        Power of the difference over that of the views, within the taper; 1 where the predictions tell nothing.
    per_view
        The same for each view, ``(tilt,)``, relative to the mean power of a view.
    unexplained
        The share of power that is not predicted, ring by ring, as the geometric mean over frequencies: ``exp`` of the mean log-likelihood
        under noise of unknown colour. Detail counts as much as what is strong, so it is sharper than the error; 1 where nothing is told.
    """

    error: float
    per_view: np.ndarray
    unexplained: float


def clearly_better(error: float, than: float, *, few_freedoms: bool = False) -> bool:
    """Return whether one held-out error is below another by more than chance.

    Parameters
    ----------
    error, than
        Of the two.
    few_freedoms
        Whether the first has one or two freedoms more, not some for every view. Of those, some gain even where there is noise alone: the
        gain must be worth more of what the predictions explain, or, where they explain nearly all, of the error itself.
    """
    gain = than - error
    least_gain, least_fall = (0.003, 0.07) if few_freedoms else (0.015, 0.25)
    return gain > 0 and (gain > least_gain * max(1 - error, 0.0) or gain > least_fall * than)


class Match:
    """Views beside their predictions, ``(y, tilt, x)`` both."""

    def __init__(self, views: torch.Tensor, predicted: torch.Tensor) -> None:
        self._window = taper(views)
        self._predicted = predicted
        self._rings, self._num_rings = _rings(views)
        self._measured = self._spectrum(views)
        spectrum = self._spectrum(predicted)
        own = self._ring_sums(spectrum.abs().square())
        cross = self._ring_sums((self._measured * spectrum.conj()).real)
        self._regression = (cross / own.clamp_min(1e-30)).clamp_min(0)[self._rings][:, None, :]
        self._explained = spectrum * self._regression
        difference = (self._measured - self._explained).abs().square()
        noise = self._ring_sums(difference) / self._ring_sums(torch.ones_like(difference))
        self._weight = (1 / noise.clamp_min(1e-6 * noise.max() + 1e-30))[self._rings][:, None, :]
        double = friedel_weight(views.shape[2], views.device).float()
        powers = [(double * part).sum(dim=(0, 2)).double().cpu().numpy() for part in (difference, self._measured.abs().square())]
        counts = self._ring_sums(torch.ones_like(difference))
        shares = noise * counts / self._ring_sums(self._measured.abs().square()).clamp_min(1e-30)
        unexplained = float(torch.exp((counts * shares.clamp(1e-6, 1).log()).sum() / counts.sum()))
        self.agreement = Agreement(float(powers[0].sum() / powers[1].sum()), powers[0] / powers[1].mean(), unexplained)

    def large_move(self, reach_pixels: int) -> ViewTransforms:
        """Return the shift of each view, up to ``reach_pixels`` along either axis, where it correlates best, to a fraction of a pixel."""
        num_y, num_tilts, num_x = self._predicted.shape
        product = self._measured.conj() * self._explained * self._weight
        surface = torch.fft.irfftn(product, s=(num_y, num_x), dim=(0, 2))
        found = np.array([summit(surface[:, view], reach_pixels) for view in range(num_tilts)])
        return ViewTransforms(found[:, 1], found[:, 0], np.zeros(num_tilts))

    def small_move(self, *, rotation: bool, half: int | None = None) -> ViewTransforms:
        """Return the move of each view by weighted least squares.

        Parameters
        ----------
        rotation
            Whether views may turn.
        half
            0 or 1: by the upper or the lower half of the rows alone, to see how well two estimates agree.
        """
        spectrum = torch.fft.rfftn(self._predicted, dim=(0, 2)) * self._regression
        fy, fx = _frequencies(self._predicted)
        slopes = [torch.fft.irfftn(spectrum * (2j * math.pi * f), s=self._shape, dim=(0, 2)) for f in (fx, fy)]
        y, x = (torch.arange(n, device=spectrum.device) - (n - 1) / 2 for n in self._shape)
        basis = [*slopes, torch.fft.irfftn(spectrum, s=self._shape, dim=(0, 2))]
        if rotation:
            basis.append(x * slopes[1] - y[:, None, None] * slopes[0])
        gate = _half_gate(self._shape[0], half, spectrum.device)
        root = self._weight.sqrt() * friedel_weight(self._shape[1], self._predicted.device).float().sqrt()
        columns = [self._spectrum(part * gate) * root for part in basis]
        rest = self._measured - self._explained
        if half is not None:
            rest = self._spectrum(torch.fft.irfftn(rest, s=self._shape, dim=(0, 2)) * gate, windowed=True)
        solved = _solve(columns, rest * root)
        turns = np.rad2deg(solved[:, 3]) if rotation else np.zeros(len(solved))
        return ViewTransforms(solved[:, 0], solved[:, 1], turns)

    @property
    def _shape(self) -> tuple[int, int]:
        return self._predicted.shape[0], self._predicted.shape[2]

    def _spectrum(self, views: torch.Tensor, *, windowed: bool = False) -> torch.Tensor:
        return torch.fft.rfftn(views if windowed else views * self._window, dim=(0, 2))

    def _ring_sums(self, values: torch.Tensor) -> torch.Tensor:
        over_views = values.sum(dim=1)
        sums = torch.zeros(self._num_rings, device=values.device)
        return sums.index_add(0, self._rings.ravel(), over_views.ravel())


def summit(surface: torch.Tensor, reach: int) -> tuple[float, float]:
    """Return the ``(y, x)`` place of the highest value of a periodic surface within ``reach`` of its origin, to a fraction of a pixel."""
    reach_y, reach_x = (min(reach, (n - 1) // 2) for n in surface.shape)
    around = torch.roll(surface, (reach_y, reach_x), dims=(0, 1))[: 2 * reach_y + 1, : 2 * reach_x + 1].cpu().numpy()
    row, column = divmod(int(around.argmax()), 2 * reach_x + 1)
    return row + _summit(around[:, column], row) - reach_y, column + _summit(around[row], column) - reach_x


def _summit(values: np.ndarray, place: int) -> float:
    """Return how far the top of the parabola through the largest value and its neighbours lies from that value."""
    if not 0 < place < len(values) - 1:
        return 0.0
    left, middle, right = (float(v) for v in values[place - 1 : place + 2])
    bend = left - 2 * middle + right
    return 0.0 if not bend < 0 else 0.5 * (left - right) / bend


def _solve(columns: list[torch.Tensor], rest: torch.Tensor) -> np.ndarray:
    """Return the least-squares coefficients of every view, ``(tilt, column)``."""
    count = len(columns)
    normal = np.zeros((rest.shape[1], count, count))
    right = np.zeros((rest.shape[1], count))
    for i, first in enumerate(columns):
        right[:, i] = (first.conj() * rest).real.sum(dim=(0, 2)).double().cpu().numpy()
        for j in range(i, count):
            normal[:, i, j] = normal[:, j, i] = (first.conj() * columns[j]).real.sum(dim=(0, 2)).double().cpu().numpy()
    size = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-30))
    scaled = normal / (size[:, :, None] * size[:, None, :]) + 1e-4 * np.eye(count)
    return np.linalg.solve(scaled, (right / size)[:, :, None])[:, :, 0] / size


def _frequencies(views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    fy = torch.fft.fftfreq(views.shape[0], device=views.device)[:, None, None]
    return fy, torch.fft.rfftfreq(views.shape[2], device=views.device)


def _rings(views: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the ring of each frequency, ``(y, x)``, and how many there are."""
    fy, fx = _frequencies(views)
    per_ring = 1 / max(views.shape[0], views.shape[2])
    rings = ((fy[:, 0].square() + fx.square()).sqrt() / per_ring).round().long()
    return rings, int(rings.max()) + 1


def taper(views: torch.Tensor) -> torch.Tensor:
    """Return a window ``(y, 1, x)`` that leads ``(y, tilt, x)`` views to 0 at their edges."""
    sides = []
    for length in (views.shape[0], views.shape[2]):
        place = torch.arange(length, device=views.device) + 0.5
        reach = max(1.0, _TAPER * length)
        sides.append(0.5 - 0.5 * torch.cos(math.pi * (torch.minimum(place, length - place) / reach).clamp(max=1)))
    return sides[0][:, None, None] * sides[1]


def _half_gate(num_rows: int, half: int | None, device: torch.device) -> torch.Tensor:
    """Return the weight of each row, ``(y, 1, 1)``: 1, or that of one half, led into the other."""
    if half is None:
        return torch.ones(num_rows, 1, 1, device=device)
    place = (torch.arange(num_rows, device=device) + 0.5) / num_rows
    lower = (0.5 + (place - 0.5) * 8).clamp(0, 1)
    return (lower if half else 1 - lower)[:, None, None]
