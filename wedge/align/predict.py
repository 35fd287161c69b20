"""What each view ought to look like, as told by the other views.

The views, in the order of their angles, are dealt out to a few groups. For each group the density that explains all OTHER groups is found,
``v = argmin |F^(1/2) W (A v - m)|^2``, by a few steps of conjugate gradients from nothing; ``W`` leaves the group out, and the ramp ``F``
makes the problem well conditioned. The projections of ``v`` predict the group: no view is compared with a volume made from itself.
"""

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.fourier import ramp_weight
from wedge.geometry import TiltGeometry

_RAMP_FLOOR = 0.02  # cycles per pixel: the slowest waves count for something too


def groups_of(tilt_angles_deg: tuple[float, ...], num_groups: int) -> np.ndarray:
    """Return the group of each view, ``(tilt,)``: neighbours in angle are of different groups."""
    ranks = np.argsort(np.argsort(np.asarray(tilt_angles_deg), kind="stable"), kind="stable")
    return ranks % max(2, min(num_groups, len(ranks)))


def reconstruct(views: torch.Tensor, projector: Projector, weights: torch.Tensor, iterations: int) -> torch.Tensor:
    """Return the ``(y, z, x)`` density that explains ``(y, tilt, x)`` views, each with its weight ``(tilt,)``."""

    def data_space(sinograms: torch.Tensor) -> torch.Tensor:
        return _ramped(sinograms * weights[:, None])

    residual = projector.backproject(data_space(views))
    density, direction = torch.zeros_like(residual), residual
    power = residual.square().sum()
    for _ in range(iterations):
        seen = projector.backproject(data_space(projector.project(direction)))
        curvature = (direction * seen).sum()
        if not float(curvature) > 0:
            break
        step = power / curvature
        density, residual = density + step * direction, residual - step * seen
        new_power = residual.square().sum()
        direction, power = residual + (new_power / power) * direction, new_power
    return density


def predict_views(
    views: torch.Tensor, projector: Projector, geometry: TiltGeometry, num_groups: int = 4, iterations: int = 4
) -> torch.Tensor:
    """Return every view as the views of the other groups predict it.

    Parameters
    ----------
    views
        ``(y, tilt, x)`` float32.
    projector
        Of all views, whatever their group.
    geometry
        Of these views.
    num_groups
        A view is predicted from all but one of so many groups.
    iterations
        Of conjugate gradients.

    Returns
    -------
    torch.Tensor
        ``(y, tilt, x)`` float32.
    """
    groups = torch.from_numpy(groups_of(geometry.tilt_angles_deg, num_groups)).to(views.device)
    predicted = torch.zeros_like(views)
    for group in range(int(groups.max()) + 1):
        left_out = groups == group
        density = reconstruct(views, projector, (~left_out).float(), iterations)
        predicted[:, left_out] = projector.project(density)[:, left_out]
    return predicted


def _ramped(sinograms: torch.Tensor) -> torch.Tensor:
    width = sinograms.shape[-1]
    response = ramp_weight(2 * width, sinograms.device) + _RAMP_FLOOR
    return torch.fft.irfft(torch.fft.rfft(sinograms, n=2 * width) * response, n=2 * width)[..., :width]
