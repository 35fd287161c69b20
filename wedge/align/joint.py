"""Moves of the views and the density that explains them, found together.

A priori the density is ``f = G (m u)`` with independent normal ``u``: a spectrum and a local strength that the views show, as in
`wedge.fit.adaptive`. For small moves ``s`` of views ``v`` whose predictions change by ``D s``, the most probable ``u`` and ``s`` minimize

    |w (v + D s - P f)|^2 / variance + |u|^2,

one linear problem. The density gives way while the views move: that is what tells an error that neighbouring views share, which comparing
each view with a fixed prediction hardly sees. The local strength keeps the density where the specimen is; a specimen that lies apart has a
centre of mass that every view must agree on.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from wedge.align.match import taper
from wedge.align.transforms import Floats, ViewTransforms
from wedge.align.warp import warp_views
from wedge.contracts import Projector
from wedge.fit.adaptive import Prior, Scales, Views, adapt, local_strength, solve
from wedge.fit.config import AdaptiveConfig
from wedge.fit.spectrum import measure
from wedge.geometry import TiltGeometry

_SETTINGS = AdaptiveConfig()
_LEAST_NOISE = 0.2  # of the views' power: more is asked of no model, and what converges is what counts
_MOST_SIGNAL = 10.0  # times the noise, at any frequency: what is stronger keeps conjugate gradients busy and tells little more
_JOINT_STEPS, _SLOW_STEPS = 40, 30


class JointLevel:
    """Views at one pixel size, and what is known of their density; transforms are in pixels of these views.

    Parameters
    ----------
    views
        ``(y, tilt, x)`` float32 without their offset.
    geometry
        Of these views and the box that explains them.
    projector
        Of that geometry.
    """

    def __init__(self, views: torch.Tensor, geometry: TiltGeometry, projector: Projector) -> None:
        self._views, self._projector = views, projector
        spectrum = measure(views.double().cpu().numpy(), geometry)
        noise = max(spectrum.noise_variance, _LEAST_NOISE * float(views.square().mean()), 1e-30)
        self._variance = _SETTINGS.strength * noise
        self._weights = taper(views).sqrt().expand_as(views)
        num_z, num_y, num_x = geometry.volume_shape
        most = _MOST_SIGNAL * noise / (num_z * geometry.voxel_size_in_pixels)
        spectrum = replace(spectrum, density=spectrum.density.clamp(max=most))
        self._prior = Prior((num_y, num_z, num_x), spectrum, geometry.voxel_size_in_pixels, views.device)
        self._noise = noise
        self._strength = torch.ones(num_y, num_z, num_x, device=views.device)

    def look(self, transforms: ViewTransforms) -> None:
        """Measure the local strength of the density on the moved views."""
        moved = Views(warp_views(self._views, transforms), self._projector, self._noise, self._weights)
        density = adapt(moved, self._prior, _SETTINGS, Scales())
        self._strength = local_strength(density.square(), _SETTINGS, Scales(), 0)

    def misfit(self, transforms: ViewTransforms) -> float:
        """Return the least value of the sum that is minimized: twice the negative logarithm of how probable the moved views are."""
        moved = warp_views(self._views, transforms)
        return self._product(moved, self._unexplained(moved))

    def step(self, transforms: ViewTransforms, *, rotation: bool, half: int | None = None) -> ViewTransforms:
        """Return the further move of every view, by conjugate gradients for moves and density at once.

        Parameters
        ----------
        transforms
            So far.
        rotation
            Whether views may turn.
        half
            0 or 1: by the upper or the lower half of the rows alone.
        """
        moved = warp_views(self._views, transforms)
        changes = self._changes(moved, rotation)
        weights = self._weights.square() / self._variance
        if half is not None:
            upper = torch.arange(len(moved), device=moved.device) < len(moved) // 2
            weights = weights * (upper if half == 0 else ~upper)[:, None, None]
        found = _Equations(self._prior, self._strength, self._projector, changes, weights).solve(moved).double().cpu().numpy()
        turns = np.rad2deg(found[2]) if rotation else np.zeros(found.shape[1])
        return ViewTransforms(found[0], found[1], turns)

    def slow_step(self, transforms: ViewTransforms, modes: list[ViewTransforms]) -> tuple[Floats, Floats]:
        """Return how far to go along each of some modes, by one step of Newton's method, and the standard deviations of that."""
        moved = warp_views(self._views, transforms)
        rest = self._unexplained(moved)
        slopes = self._changes(moved, rotation=True, rest=rest)
        columns = []
        for mode in modes:
            parts = np.stack([mode.dx_pixels, mode.dy_pixels, np.deg2rad(mode.rotation_deg)])
            columns.append(torch.einsum("kytx,kt->ytx", slopes, torch.from_numpy(parts).float().to(slopes.device)))
        answers = [self._unexplained(column) for column in columns]
        curvature = np.array([[self._product(column, answer) for answer in answers] for column in columns])
        slope = np.array([self._product(column, rest) for column in columns])
        # Where views say nothing, nothing moves, and nothing is known.
        own = (1e-6 * np.trace(curvature) / len(modes) + 1e-12) * np.eye(len(modes))
        covariance = np.linalg.inv((curvature + curvature.T) / 2 + own)
        return -covariance @ slope, np.sqrt(np.maximum(np.diag(covariance), 0.0))

    def _unexplained(self, views: torch.Tensor) -> torch.Tensor:
        """Return views less those of the most probable density."""
        known = Views(views, self._projector, self._variance, self._weights)
        return views - self._projector.project(solve(known, self._prior, self._strength, _SLOW_STEPS))

    def _product(self, first: torch.Tensor, second: torch.Tensor) -> float:
        return float((first * second * self._weights.square()).sum(dtype=torch.float64)) / self._variance

    def _changes(self, moved: torch.Tensor, rotation: bool, rest: torch.Tensor | None = None) -> torch.Tensor:
        """Return how the predicted views change by a shift along x, along y, and by a turn in radians, ``(change, y, tilt, x)``."""
        predicted = moved - (self._unexplained(moved) if rest is None else rest)
        num_y, _, num_x = predicted.shape
        spectrum = torch.fft.rfftn(predicted, dim=(0, 2))
        fy = torch.fft.fftfreq(num_y, device=moved.device)[:, None, None]
        fx = torch.fft.rfftfreq(num_x, device=moved.device)
        along_x, along_y = (torch.fft.irfftn(spectrum * (-2j * math.pi * f), s=(num_y, num_x), dim=(0, 2)) for f in (fx, fy))
        if not rotation:
            return torch.stack([along_x, along_y])
        y, x = (torch.arange(n, device=moved.device) - (n - 1) / 2 for n in (num_y, num_x))
        return torch.stack([along_x, along_y, x * along_y - y[:, None, None] * along_x])


class _Equations:
    """The linear problem of one joint step; ``weights`` are squared and divided by the variance."""

    def __init__(self, prior: Prior, strength: torch.Tensor, projector: Projector, changes: torch.Tensor, weights: torch.Tensor) -> None:
        self._prior, self._strength, self._projector = prior, strength, projector
        self._changes, self._weights = changes, weights
        normal = torch.einsum("iytx,jytx,ytx->tij", changes, changes, weights.expand_as(changes[0])).double()
        size = torch.diagonal(normal, dim1=1, dim2=2)
        own = torch.diag_embed(1e-6 * size + 1e-9 * size.max() + 1e-12)
        self._inverse = torch.linalg.inv(normal + own).float()

    def solve(self, views: torch.Tensor) -> torch.Tensor:
        """Return the moves, ``(change, tilt)``."""
        u, s = torch.zeros_like(self._strength), torch.zeros(self._changes.shape[0], views.shape[1], device=views.device)
        rest_u, rest_s = self._transposed(views)
        go_u, go_s = rest_u.clone(), self._scaled(rest_s)
        power = (rest_u * go_u).sum() + (rest_s * go_s).sum()
        for _ in range(_JOINT_STEPS):
            ahead_u, ahead_s = self._transposed(self._views_of(go_u, go_s))
            ahead_u = ahead_u + go_u
            far = power / ((go_u * ahead_u).sum() + (go_s * ahead_s).sum()).clamp_min(1e-30)
            u, s = u + far * go_u, s + far * go_s
            rest_u, rest_s = rest_u - far * ahead_u, rest_s - far * ahead_s
            scaled = self._scaled(rest_s)
            before, power = power, (rest_u * rest_u).sum() + (rest_s * scaled).sum()
            share = power / before.clamp_min(1e-30)
            go_u, go_s = rest_u + share * go_u, scaled + share * go_s
        return s

    def _views_of(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return self._projector.project(self._prior(u * self._strength)) - torch.einsum("kytx,kt->ytx", self._changes, s)

    def _transposed(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weighted = views * self._weights
        back = self._prior(self._projector.backproject(weighted)) * self._strength
        return back, -torch.einsum("kytx,ytx->kt", self._changes, weighted)

    def _scaled(self, s: torch.Tensor) -> torch.Tensor:
        return torch.einsum("tij,jt->it", self._inverse, s)
