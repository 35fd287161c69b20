"""Turning and shifting views without smoothing them.

``R(phi) = X(-tan(phi / 2)) Y(sin(phi)) X(-tan(phi / 2))``: a rotation is three shears, and each shifts every line by an amount of its own.
Lines are shifted by a phase in Fourier space, which keeps the power of every frequency: interpolation would lower the noise of the views
that it moves, and whatever is moved would look like the better alignment.

References
----------
Larkin, Oldfield and Klemm (1997), Fast Fourier method for the accurate rotation of sampled images,
https://doi.org/10.1016/S0030-4018(97)00097-7
"""

import math

import numpy as np
import torch

from wedge.align.transforms import ViewTransforms

_LEAST_BORDER = 8


def warp_views(sinograms: torch.Tensor, transforms: ViewTransforms) -> torch.Tensor:
    """Return the views after their transforms; what comes from beyond the detector is led on from its edge.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)`` float32.
    transforms
        One for each view.

    Returns
    -------
    torch.Tensor
        ``(y, tilt, x)`` float32 on the same device; the input itself where nothing moves.
    """
    if not transforms.moves:
        return sinograms
    num_y, _, num_x = sinograms.shape
    turn = np.deg2rad(transforms.rotation_deg)
    along_x, along_y = (torch.from_numpy(part).float().to(sinograms.device) for part in (-np.tan(turn / 2), np.sin(turn)))
    dx, dy = (torch.from_numpy(part).float().to(sinograms.device) for part in (transforms.dx_pixels, transforms.dy_pixels))
    reach = np.abs(turn).max() * max(num_x, num_y) / 2 + max(np.abs(transforms.dx_pixels).max(), np.abs(transforms.dy_pixels).max())
    border = max(_LEAST_BORDER, math.ceil(2 * reach))
    moved = _pad(sinograms, border)
    rows, columns = (torch.arange(n, device=sinograms.device) - (n - 1) / 2 for n in (moved.shape[0], moved.shape[2]))
    if transforms.rotation_deg.any():
        moved = _shift_x(moved, rows[:, None] * along_x)
    if transforms.rotation_deg.any() or transforms.dy_pixels.any():
        moved = _shift_y(moved, along_y[:, None] * columns + dy[:, None])
    # The middle shear has moved the rows already: the last one knows them by where they came from.
    moved = _shift_x(moved, (rows[:, None] - dy) * along_x + dx)
    return moved[border : border + num_y, :, border : border + num_x].contiguous()


def _shift_x(views: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Shift every row by its own amount, ``(y, tilt)`` pixels."""
    frequency = torch.fft.rfftfreq(views.shape[2], device=views.device)
    return torch.fft.irfft(torch.fft.rfft(views, dim=2) * _phase(shift[:, :, None] * frequency), n=views.shape[2], dim=2)


def _shift_y(views: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Shift every column by its own amount, ``(tilt, x)`` pixels."""
    frequency = torch.fft.rfftfreq(views.shape[0], device=views.device)
    return torch.fft.irfft(torch.fft.rfft(views, dim=0) * _phase(frequency[:, None, None] * shift), n=views.shape[0], dim=0)


def _phase(cycles: torch.Tensor) -> torch.Tensor:
    return torch.polar(torch.ones_like(cycles), -2 * math.pi * cycles)


def _pad(views: torch.Tensor, border: int) -> torch.Tensor:
    """Add a border on all sides that leads from either edge to the other, so that the views go on round the corner without a step."""
    weight = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(2 * border, device=views.device) + 0.5) / (2 * border))
    across = views[:, :, -1:] * (1 - weight) + views[:, :, :1] * weight
    wide = torch.cat([across[:, :, border:], views, across[:, :, :border]], dim=2)
    across = wide[-1:] * (1 - weight)[:, None, None] + wide[:1] * weight[:, None, None]
    return torch.cat([across[border:], wide, across[:border]], dim=0)
