"""Correlation between halves within a mask, and how much of it the mask itself makes.

Both halves are multiplied by one mask, which blends each frequency with its neighbours: shells that hold noise alone correlate with those
that do not. So the same is done with halves whose phases beyond some frequency are random, in either half of its own: what correlates
there, the mask has made, and it is taken off, ``(masked - random) / (1 - random)``.

References
----------
Chen et al. (2013), https://doi.org/10.1016/j.ultramic.2013.06.004
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from wedge.data import Volume
from wedge.draws import generator_for
from wedge.errors import InputError
from wedge.fourier import frequency_grid
from wedge.halves_fsc import HalvesFsc, correlate, read_density, taper_of, windowed_spectrum
from wedge.intensity import common_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANDOM_BELOW = 0.8
"""Phases are random from the shell on where the halves, without the mask, correlate less than this."""
_LEFT_SHELLS = 2
_EDGE_VOXELS = 3
_LEAST_REST = 1e-3


@dataclass(frozen=True)
class WithinMask:
    """What two halves have in common within a mask.

    Parameters
    ----------
    masked, random, corrected
        Of the masked halves; of those with random phases; the first less what the second says the mask makes, from two shells beyond
        `random_from` on.
    random_from
        Frequency in cycles per voxel from which on phases were random; 0.5 where the halves agree all the way.
    share
        Mean of the mask.
    softened
        Whether the mask had sharp edges.
    """

    masked: HalvesFsc
    random: HalvesFsc
    corrected: HalvesFsc
    random_from: float
    share: float
    softened: bool

    @property
    def note(self) -> str:
        """How it was made, in words."""
        edge = f", its edge softened over {2 * _EDGE_VOXELS} voxels" if self.softened else ""
        return (
            f"masked: both halves within the mask, {100 * self.share:.3g} % of the box{edge}; random: the same with random phases from "
            f"{self.random_from:.3g} cycles/voxel on; corrected: masked less what the mask makes"
        )


def within_mask(first: Volume, second: Volume, mask: Volume, unmasked: HalvesFsc, *, seed: int = 0) -> WithinMask:
    """Correlate two ``(z, y, x)`` volumes within a mask.

    Parameters
    ----------
    mask
        ``(z, y, x)`` within 0 and 1. One of nothing but 0 and 1 gets a soft edge.
    unmasked
        The halves' correlation without it, see `wedge.halves_fsc.fsc_between`: says from where on phases are random.
    seed
        Of the random phases.

    Raises
    ------
    InputError
        If shapes differ, the mask is not within 0 and 1 or is empty, or nothing varies within it.

    Notes
    -----
    Peak memory: some 45 bytes a voxel.
    """
    shape = common_shape([first, second, mask])
    soft, softened = soft_mask(read_density(mask), mask.name)
    share, window = float(soft.mean(dtype=np.float64)), taper_of(shape)
    window *= soft
    del soft
    if not window.any():
        raise InputError(f"mask {mask.name} holds nothing but the border of the box, which is tapered away: give a wider one")
    densities = [read_density(volume) for volume in (first, second)]
    names = [volume.name for volume in (first, second)]
    spectra = [windowed_spectrum(density, window, name) for density, name in zip(densities, names, strict=True)]
    masked = correlate(spectra, window, first, second, None)
    start = random_start(unmasked)
    for place, density in enumerate(densities):
        scrambled = with_random_phases(density, unmasked.frequency[start], seed, place)
        spectra[place] = windowed_spectrum(scrambled, window, names[place])
    random = correlate(spectra, window, first, second, None)
    return WithinMask(masked, random, _corrected(masked, random, start), float(unmasked.frequency[start]), share, softened)


def random_start(unmasked: HalvesFsc) -> int:
    """Return the first shell, one period over the shortest side or faster, where the whole is below `RANDOM_BELOW`; else the last."""
    least = 1 / min(unmasked.shape)
    for shell, (frequency, value) in enumerate(zip(unmasked.frequency, unmasked.curves["whole"].correlation, strict=True)):
        if frequency >= least - 1e-9 and value < RANDOM_BELOW:
            return shell
    return len(unmasked.frequency) - 1


def with_random_phases(density: "NDArray[np.float32]", frequency: float, seed: int, half: int) -> "NDArray[np.float32]":
    """Return a density whose amplitudes are kept and whose phases from a frequency on, in cycles per voxel, are those of white noise.

    That is done to its periodic part: a jump from one face of the box to the opposite one has fast waves too, and with random phases these
    would no longer lie at the faces but all over the box.

    References
    ----------
    Moisan (2011), https://doi.org/10.1007/s10851-010-0227-1
    """
    smooth = _smooth_part(density)
    # Phases of real noise are a real volume's: mates of each other where they must be.
    phases = torch.fft.rfftn(torch.randn(density.shape, generator=generator_for(seed, "phases of half", half)))
    mixed = torch.fft.rfftn(torch.from_numpy(density))
    kz, ky, kx = frequency_grid(density.shape, real=True)
    for z in range(len(mixed)):
        beyond = kz[z].square() + ky[0].square() + kx[0].square() >= (frequency - 1e-6) ** 2
        turned = (mixed[z] - smooth[z]).abs() * phases[z] / phases[z].abs().clamp_min(1e-30)
        mixed[z] = torch.where(beyond, turned + smooth[z], mixed[z])
    del smooth, phases
    return np.asarray(torch.fft.irfftn(mixed, s=density.shape).numpy(), dtype=np.float32)


def _smooth_part(density: "NDArray[np.float32]") -> torch.Tensor:
    """Return the half spectrum of what is to be taken off a density so that opposite faces meet without a jump."""
    jumps = np.zeros_like(density)
    curvature = torch.full((), -2.0 * density.ndim)
    for axis, frequencies in enumerate(frequency_grid(density.shape, real=True)):
        first: list[slice | int] = [slice(None)] * density.ndim
        last = first.copy()
        first[axis], last[axis] = 0, -1
        jump = density[tuple(last)] - density[tuple(first)]
        jumps[tuple(first)] += jump
        jumps[tuple(last)] -= jump
        curvature = curvature + 2 * torch.cos(2 * math.pi * frequencies)
    curvature[(0,) * density.ndim] = 1.0
    smooth = torch.fft.rfftn(torch.from_numpy(jumps)) / curvature
    smooth[(0,) * density.ndim] = 0.0
    return smooth


def soft_mask(mask: "NDArray[np.float32]", name: str) -> "tuple[NDArray[np.float32], bool]":
    """Return a mask, with a soft edge where it had none, and whether that was so.

    The edge runs from 3 voxels within to 3 beyond, by a cosine.

    Raises
    ------
    InputError
        If it is not within 0 and 1, or 0 everywhere.
    """
    low, high = float(mask.min()), float(mask.max())
    if low < -1e-3 or high > 1 + 1e-3 or not high > 0:
        raise InputError(f"mask {name} has values from {low:g} to {high:g}: expected 0 without and 1 within, and something within")
    mask = np.clip(mask, 0, 1)
    if not np.isin(mask, (0, 1)).all():
        return mask, False
    kernel = 1 + np.cos(np.pi * np.arange(-_EDGE_VOXELS, _EDGE_VOXELS + 1) / (_EDGE_VOXELS + 1))
    kernel /= kernel.sum()
    soft = mask
    for axis, size in enumerate(mask.shape):
        padded = np.pad(soft, [(_EDGE_VOXELS * (each == axis),) * 2 for each in range(3)], mode="edge")
        soft = np.zeros(mask.shape, dtype=np.float32)
        for offset, weight in enumerate(kernel.astype(np.float32)):
            part = tuple(slice(offset, offset + size) if each == axis else slice(None) for each in range(3))
            soft += weight * padded[part]
    return np.clip(soft, 0, 1), True


def _corrected(masked: HalvesFsc, random: HalvesFsc, start: int) -> HalvesFsc:
    curves = {}
    for region, curve in masked.curves.items():
        made = random.curves[region].correlation
        rest = 1 - made
        with np.errstate(invalid="ignore", divide="ignore"):
            freed = np.where(rest > _LEAST_REST, (curve.correlation - made) / rest, math.nan)
        beyond = np.arange(len(made)) >= start + _LEFT_SHELLS
        curves[region] = replace(curve, correlation=np.where(beyond, freed, curve.correlation))
    return replace(masked, curves=curves)
