"""The adaptive field: the most probable density under a prior that is measured on the views alone.

A priori the density is ``f = G (m u)`` with independent normal ``u``: the filter G gives it the spectrum that the views show, the same in
all directions, and the local strength ``m`` lets it be where density was found, and not elsewhere. Then ``f`` is the minimum of

    |P f - p|^2 / (strength * noise variance) + |u|^2,

a linear problem that conjugate gradients solve in a few steps. The strength ``m`` is measured on the solution, and so on for some rounds.
What is missing in one direction is so filled by what the views say about place and detail, and by nothing else; in noise, what is not
supported by the views is left out, frequency by frequency and place by place, as in a Wiener filter.

References
----------
Tipping (2001), Sparse Bayesian learning and the relevance vector machine, JMLR 1, 211-244, for measuring the strengths of a normal prior
Papandreou and Yuille (2010), Gaussian sampling by local perturbations, NIPS 23, for what a seed perturbs
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from wedge.contracts import Projector
from wedge.fit.config import AdaptiveConfig
from wedge.fit.spectrum import Spectrum
from wedge.fourier import frequency_grid

HALO_ROWS = 24
"""Rows on either side of a block that are solved with it and dropped: beyond them a row has next to no say."""


PAD = 16
"""Points by which the filter's box is longer than what it filters."""


class Prior:
    """The filter G on one box of ``(y, z, x)`` voxels.

    Points beyond the box are added before it is applied and dropped after: the first row must not touch the last one, or results would
    depend on where the rows are cut, nor the top of a specimen its bottom.
    """

    def __init__(self, shape: tuple[int, int, int], spectrum: Spectrum, voxel_size_in_pixels: float, device: torch.device) -> None:
        rows, num_z, num_x = shape
        self.shape = shape
        self._padded = (rows + PAD, num_z + PAD, num_x + PAD)
        ky, kz, kx = frequency_grid(self._padded, real=True, device=device)
        frequency = (ky.square() + kz.square() + kx.square()).sqrt() / voxel_size_in_pixels
        # White noise of variance 1 has the power of a voxel's volume.
        self.amplitude = (spectrum.density_at(frequency) / voxel_size_in_pixels**3).sqrt()

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Filter ``(y, z, x)``; the filter is its own transpose."""
        spectrum = torch.fft.rfftn(values, s=self._padded) * self.amplitude
        return torch.fft.irfftn(spectrum, s=self._padded)[: self.shape[0], : self.shape[1], : self.shape[2]]


@dataclass(frozen=True)
class Views:
    """Measured ``(y, tilt, x)`` sinograms, without their offset, the projector of their views and the variance of their noise.

    ``weights`` ``(y, tilt, x)`` multiply the residuals of rays; None where all are 1.
    """

    sinograms: torch.Tensor
    projector: Projector
    noise_variance: float
    weights: torch.Tensor | None = None

    def weighted(self, residual: torch.Tensor) -> torch.Tensor:
        """Return a residual times the weights of its rays."""
        return residual if self.weights is None else residual * self.weights


@dataclass
class Scales:
    """Means by which each round's local strength is divided; found on the sample rows and the same for every block of rows."""

    rounds: list[tuple[float, float]] = field(default_factory=list)


def solve(views: Views, prior: Prior, strength: torch.Tensor, iterations: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """Return the density ``(y, z, x)`` after some steps of conjugate gradients.

    Parameters
    ----------
    strength
        Local strength m, ``(y, z, x)``.
    start
        A draw of the prior's ``u`` that the solution departs from; zero if None.
    """
    inverse = 1 / views.noise_variance

    def density(u: torch.Tensor) -> torch.Tensor:
        return prior(u * strength)

    def pull(residual: torch.Tensor) -> torch.Tensor:
        # Weighted twice: once as the residual is, once as the transpose of that.
        return prior(views.projector.backproject(views.weighted(views.weighted(residual)))) * strength * inverse

    offset = torch.zeros_like(strength) if start is None else start
    missing = views.sinograms if start is None else views.sinograms - views.projector.project(density(offset))
    residual = pull(missing)
    u, direction = torch.zeros_like(strength), residual.clone()
    power = residual.square().sum()
    for _ in range(iterations):
        ahead = pull(views.projector.project(density(direction))) + direction
        step = power / (direction * ahead).sum().clamp_min(1e-30)
        u += step * direction
        residual -= step * ahead
        before, power = power, residual.square().sum()
        direction = residual + (power / before.clamp_min(1e-30)) * direction
    return density(u + offset)


def smoothed(values: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return ``(y, z, x)`` values smoothed by a Gaussian, edges repeated."""
    reach = math.ceil(3 * sigma)
    distance = torch.arange(-reach, reach + 1, device=values.device) / sigma
    kernel = torch.exp(-0.5 * distance.square())
    kernel = kernel / kernel.sum()
    rows, num_z, num_x = values.shape

    def band(count: int) -> torch.Tensor:
        steps = torch.arange(-reach, reach + 1, device=values.device)
        places = (torch.arange(count, device=values.device)[:, None] + steps).clamp(0, count - 1)
        return torch.zeros(count, count, device=values.device).scatter_add_(1, places, kernel.expand(count, -1).contiguous())

    values = band(num_z) @ (values @ band(num_x).T)
    return (band(rows) @ values.flatten(1)).view(rows, num_z, num_x)


def local_strength(energy: torch.Tensor, config: AdaptiveConfig, scales: Scales, which: int) -> torch.Tensor:
    """Return the local strength of a squared density ``(y, z, x)``; the means that it is divided by are noted where they are new."""
    local = smoothed(energy, config.smoothing_voxels).clamp_min(0)
    if which == len(scales.rounds):
        mean = float(local.mean().clamp_min(1e-30))
        raw = (local / mean).sqrt() + config.floor
        scales.rounds.append((mean, float(raw.square().mean().sqrt())))
    mean, root = scales.rounds[which]
    return ((local / mean).sqrt() + config.floor) / root


def adapt(
    views: Views,
    prior: Prior,
    config: AdaptiveConfig,
    scales: Scales,
    start: torch.Tensor | None = None,
    on_round: Callable[[], bool] = lambda: True,
    look: Callable[[int, torch.Tensor], None] = lambda done, density: None,
) -> torch.Tensor:
    """Return the adaptive density ``(y, z, x)`` of some rows.

    Parameters
    ----------
    views
        All views; its noise variance is the measured one, which ``config.strength`` multiplies.
    scales
        Found on the sample rows; filled if empty.
    start
        See `solve`.
    on_round
        Called before each round; False ends.
    look
        Given the rounds done and the density after each.
    """
    strength = torch.ones(prior.shape, device=views.sinograms.device)
    density = torch.zeros_like(strength)
    told = replace(views, noise_variance=config.strength * views.noise_variance)
    for which in range(config.rounds):
        if not on_round():
            break
        last = which == config.rounds - 1
        density = solve(told, prior, strength, config.iterations, start if last else None)
        look(which + 1, density)
        if not last:
            strength = local_strength(density.square(), config, scales, which)
    return density
