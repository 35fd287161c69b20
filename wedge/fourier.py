"""Fourier space: grids, the measured cone, shells and the weights of views. Frequencies in cycles per voxel.

A view at tilt angle ``theta`` measures the line ``(kz, kx) = k (sin(theta), cos(theta))`` of every ky (see `wedge.geometry`), so the
measured cone is every direction between the smallest and the largest tilt angle, modulo 180 degrees.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

Angles = Sequence[float] | np.ndarray

BANDS = ((0.0, 0.125), (0.125, 0.25), (0.25, 0.5))
"""Cycles per voxel; a shell or ring belongs to the band that holds its centre, upper ends included."""


def frequency_grid(
    shape: tuple[int, ...], spacing: float = 1.0, real: bool = False, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """Return one broadcastable float32 tensor of frequencies per axis, in the order of ``fftn`` (``rfftn`` on the last axis if ``real``).

    Parameters
    ----------
    shape
        Points along each axis, such as ``(z, x)`` or ``(z, y, x)``.
    spacing
        Distance of neighbouring points in voxels; frequencies stay in cycles per voxel.
    real
        True for the half-plane layout of ``rfftn``.
    device
        Where to put them.
    """
    axes = []
    for axis, count in enumerate(shape):
        last = axis == len(shape) - 1
        frequencies = (np.fft.rfftfreq if real and last else np.fft.fftfreq)(count, d=spacing)
        view = [1] * len(shape)
        view[axis] = -1
        axes.append(torch.from_numpy(frequencies.astype(np.float32)).reshape(view).to(device))
    return tuple(axes)


def missing_mask(shape: tuple[int, ...], tilt_angles_deg: Angles, real: bool = False, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return a boolean mask, True where no view measured: directions of ``(kz, kx)`` outside the range of the tilt angles.

    Parameters
    ----------
    shape
        ``(z, x)`` or ``(z, y, x)`` points; the mask has this shape (its last axis halved if ``real``).
    tilt_angles_deg
        The actual angles, in any order, symmetric or not. Zero frequency counts as measured.
    real
        True for the half-plane layout of ``rfftn``.
    device
        Where to put it.

    Notes
    -----
    Nothing is missing where at least four views close the half turn, that is where the remaining gap is at most one and a half times their
    mean increment.
    """
    grid = frequency_grid(shape, real=real, device=device)
    kz, kx = grid[0], grid[-1]
    full_shape = torch.broadcast_shapes(*(axis.shape for axis in grid))
    return is_missing(kz, kx, tilt_angles_deg).expand(full_shape)


def is_missing(kz: torch.Tensor, kx: torch.Tensor, tilt_angles_deg: Angles) -> torch.Tensor:
    """Return where no view measured, at frequencies of any one shape; see `missing_mask`."""
    low, high = float(np.min(tilt_angles_deg)), float(np.max(tilt_angles_deg))
    views = len(np.unique(np.round(tilt_angles_deg, 6)))
    gap = 180.0 - (high - low)
    if gap <= 0 or (views >= 4 and gap <= 1.5 * (high - low) / (views - 1)):
        return torch.zeros(torch.broadcast_shapes(kz.shape, kx.shape), dtype=torch.bool, device=kz.device)
    direction = torch.rad2deg(torch.atan2(kz.double(), kx.double()))
    above_low = torch.remainder(direction - low + 1e-4, 180.0)
    return (above_low > high - low + 2e-4) & ((kz != 0) | (kx != 0))


def crowther_frequency(tilt_angles_deg: Angles, thickness_voxels: float) -> float:
    """Return the frequency in cycles per voxel up to which views sample a specimen of this thickness: ``1 / (D dtheta)``, at most 0.5.

    ``dtheta`` is the mean increment of the distinct angles in radians, pi for a single view.

    References
    ----------
    Crowther, DeRosier and Klug (1970), https://doi.org/10.1098/rspa.1970.0119
    """
    distinct = np.unique(np.round(np.asarray(tilt_angles_deg, dtype=np.float64), 6))
    increment = math.pi if len(distinct) < 2 else math.radians(float(distinct[-1] - distinct[0])) / (len(distinct) - 1)
    return min(0.5, 1.0 / (thickness_voxels * increment))


def shell_index(shape: tuple[int, ...], real: bool = False, device: torch.device | str = "cpu") -> tuple[torch.Tensor, int]:
    """Return the shell that each frequency lies in, int64, and the number of shells.

    Shell ``i`` is centred on ``i / max(shape)`` cycles per voxel and ``1 / max(shape)`` wide; the last reaches Nyquist, 0.5. Corners
    beyond it get the number of shells, so that ``bincount(...)[:number]`` leaves them out. Works for rings in two dimensions as well.
    """
    grid = frequency_grid(shape, real=real, device=device)
    longest = max(shape)
    number = longest // 2 + 1
    squared = torch.zeros((), dtype=torch.float64, device=device)
    for axis in grid:
        squared = squared + (axis.double() * longest) ** 2
    index = torch.floor(torch.sqrt(squared) + 0.5 - 1e-6).long()
    return index.clamp_max(number), number


def friedel_weight(num_x: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return how often each column of a half spectrum stands in the whole one: ``(num_x // 2 + 1,)`` float64, 1 or 2."""
    weight = torch.full((num_x // 2 + 1,), 2.0, dtype=torch.float64, device=device)
    weight[0] = 1.0
    if num_x % 2 == 0:
        weight[-1] = 1.0
    return weight


def band_means(frequency: np.ndarray, correlation: np.ndarray) -> list[float]:
    """Return the mean of a correlation over the shells of each of `BANDS`, those that are NaN left out; NaN where there is none."""
    means = []
    for low, high in BANDS:
        inside = correlation[(frequency > low) & (frequency <= high)]
        inside = inside[np.isfinite(inside)]
        means.append(float(inside.mean()) if inside.size else math.nan)
    return means


def first_crossing(frequency: Sequence[float], excess: Sequence[float], start: float) -> float | None:
    """Return where ``excess`` first turns negative, interpolated between shells; 0.5 where it never does, None if it is from the start.

    ``start`` is the least frequency that is looked at; shells whose excess is NaN are passed over.
    """
    points = [(f, e) for f, e in zip(frequency, excess, strict=True) if f >= max(start - 1e-9, 1e-9) and math.isfinite(e)]
    if not points or points[0][1] < 0:
        return None
    for (low, above), (high, below) in pairwise(points):
        if below < 0:
            return min(0.5, low + (high - low) * above / (above - below))
    return 0.5


def half_bit_threshold(n: torch.Tensor) -> torch.Tensor:
    """Return the half-bit threshold of a correlation over ``n`` independent frequencies.

    References
    ----------
    van Heel and Schatz (2005), https://doi.org/10.1016/j.jsb.2005.05.009
    """
    root = torch.sqrt(torch.clamp(n.to(torch.float64), min=1.0))
    return (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)


def ramp_weight(n_fft: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the ramp filter as ``(n_fft // 2 + 1,)`` float32 for ``rfft``: about ``|k|`` in cycles per pixel.

    Sampled in space (1/4 at 0, ``-1 / (pi n)^2`` at odd n, 0 at even n) and transformed, so that its zero frequency is right for a
    filter of this length; ``|k|`` itself would darken the whole image.

    References
    ----------
    Kak and Slaney (1988), Principles of Computerized Tomographic Imaging, chapter 3, https://doi.org/10.1137/1.9780898719277
    """
    distance = np.minimum(np.arange(n_fft), n_fft - np.arange(n_fft)).astype(np.float64)
    odd = distance % 2 == 1
    kernel = np.zeros(n_fft)
    kernel[odd] = -1.0 / (np.pi * distance[odd]) ** 2
    kernel[0] = 0.25
    return torch.from_numpy(np.fft.rfft(kernel).real.astype(np.float32)).to(device)


def voronoi_weights_rad(tilt_angles_deg: Angles) -> np.ndarray:
    """Return the angle in radians that each view stands for, ``(tilt,)`` float64: the width of its Voronoi cell among the distinct angles.

    Any order. Views of one angle share its cell. The first and last cells reach as far outwards as inwards, but no further than half of the
    gap that is left to 180 degrees; angles over more than a half turn are taken modulo 180 degrees.
    """
    angles = np.round(np.asarray(tilt_angles_deg, dtype=np.float64), 6)
    if angles.max() - angles.min() >= 180.0:
        angles = np.mod(angles, 180.0)
    distinct, which, repeats = np.unique(angles, return_inverse=True, return_counts=True)
    left_over = 180.0 - (distinct[-1] - distinct[0])
    gaps = np.diff(distinct)
    first, last = (min(gaps[0], left_over), min(gaps[-1], left_over)) if len(gaps) else (left_over, left_over)
    cells = (np.concatenate([[first], gaps]) + np.concatenate([gaps, [last]])) / 2
    return np.deg2rad(cells / repeats)[which]
