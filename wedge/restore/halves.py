"""Two half volumes as a network sees them: in common units, with what is known of their noise, and what was measured at all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from wedge.errors import InputError
from wedge.fourier import frequency_grid, is_missing

SHELLS = 24
LOWEST = 0.04
"""Cycles per voxel below which nothing is learned: there halves agree on errors too, of backgrounds and of what lies beyond the box."""
PAD = 32
"""Voxels by which the box of the filter is longer at either face than what it filters: further it reaches by next to nothing."""
_SURE = 6.0  # standard deviations of a correlation by chance
_LEAST_NOISE = 1e-3  # of the noise of the noisiest shell


def radius(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return the frequency in cycles per voxel of every point of ``rfftn``'s layout."""
    grid = frequency_grid(tuple(shape), real=True, device=device)
    return torch.stack(torch.broadcast_tensors(*(axis.square() for axis in grid))).sum(0).sqrt()


def shell_of(frequency: torch.Tensor) -> torch.Tensor:
    """Return the number of the shell of each frequency; the last one holds all that is beyond Nyquist."""
    return (frequency / 0.5 * SHELLS).long().clamp_max(SHELLS - 1)


@dataclass(frozen=True)
class Units:
    """What is common to all of two halves, wherever a part of them is cut out.

    Parameters
    ----------
    means
        Of each half.
    scale
        ``density = mean + scale * value``.
    share
        ``(shell,)`` part of a half's power that the other one shares.
    noise
        ``(shell,)`` power of a half's noise, in that of white noise with a variance of 1.
    """

    means: tuple[float, float]
    scale: float
    share: torch.Tensor
    noise: torch.Tensor

    @property
    def mean(self) -> float:
        """Mean of both halves."""
        return sum(self.means) / 2

    @property
    def share_of_mean(self) -> torch.Tensor:
        """``(shell,)`` part of the power of the mean of both halves that is no noise; a half's noise is independent of the other's."""
        return 2 * self.share / (1 + self.share)

    @property
    def common(self) -> float:
        """Part of a half's power that the other one shares, the mean over shells from what is learned at all to a quarter of sampling."""
        return float(self.share[math.ceil(2 * LOWEST * SHELLS) : SHELLS // 2].mean())

    def filtered(self, half: torch.Tensor, which: int) -> torch.Tensor:
        """Return density ``(y, z, x)`` of one half in these units, less its noise, shell by shell."""
        return by_shell((half - self.means[which]) / self.scale, self.share)

    def filtered_mean(self, first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Return the mean of both halves in these units, filtered by a share: `share_of_mean`, or a half's, which leaves out more."""
        return by_shell(((first + second) / 2 - self.mean) / self.scale, share)


def by_shell(density: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return density ``(y, z, x)`` of which each shell is multiplied by a factor, ``(shell,)``."""
    padded = functional.pad(density[None, None], [PAD] * 6, mode="replicate")[0, 0]
    # Between the shells' middles, so that the filter has a short reach.
    place = (radius(padded.shape, density.device) / 0.5 * SHELLS - 0.5).clamp(0, SHELLS - 1)
    low = place.floor().long()
    factor = torch.lerp(factors[low], factors[(low + 1).clamp_max(SHELLS - 1)], place - low)
    made = torch.fft.irfftn(torch.fft.rfftn(padded) * factor, s=padded.shape)
    return made[tuple(slice(PAD, PAD + count) for count in density.shape)].contiguous()


@dataclass(frozen=True)
class Pair:
    """Two halves of one density, ``(y, z, x)`` float32.

    Parameters
    ----------
    halves
        In common units: what the network is to give of the other one.
    filtered
        Less their noise: what it is given.
    measured
        Frequencies that views have seen, in ``rfftn``'s layout.
    units
        Common to both.
    """

    halves: tuple[torch.Tensor, torch.Tensor]
    filtered: tuple[torch.Tensor, torch.Tensor]
    measured: torch.Tensor
    units: Units

    def filtered_mean(self, share: torch.Tensor) -> torch.Tensor:
        """Return the mean of both, filtered by a share, see `Units.filtered_mean`."""
        return by_shell((self.halves[0] + self.halves[1]) / 2, share)

    def noise(self) -> torch.Tensor:
        """Return noise like that of the filtered mean of both: half of what they differ by, filtered as that is."""
        apart = (self.halves[0] - self.halves[1]) / 2
        return by_shell(apart - apart.mean(), self.units.share_of_mean)

    def as_measured(self, density: torch.Tensor) -> torch.Tensor:
        """Return density ``(y, z, x)`` less what views have not seen of it."""
        return torch.fft.irfftn(torch.fft.rfftn(density) * self.measured, s=density.shape)

    def power(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the power that two densities ``(y, z, x)`` have in common, ``(shell,)``, at the frequencies that views have measured."""
        one, other = (torch.fft.rfftn(each - each.mean()) for each in (first, second))
        return self._summed((one * other.conj()).real) / first.numel()

    def common_power(self, density: torch.Tensor, which: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what density ``(y, z, x)`` has in common with one half, by how much that varies by chance, and its own power.

        Each is ``(shell,)``, of frequencies that views have measured; the second is a variance.
        """
        spectrum, other = (torch.fft.rfftn(each - each.mean()) for each in (density, self.halves[which]))
        own, count = spectrum.abs().square() / density.numel(), density.numel()
        # Half of a product's power is in its real part.
        chance = self._summed(own * other.abs().square() / count) / 2
        return self._summed((spectrum * other.conj()).real) / count, chance, self._summed(own)

    def _summed(self, power: torch.Tensor) -> torch.Tensor:
        shells = shell_of(radius(self.halves[0].shape, power.device))[self.measured]
        return torch.zeros(SHELLS, device=power.device).index_add_(0, shells, power[self.measured])


def pair_of(first: torch.Tensor, second: torch.Tensor, tilt_angles_deg: Sequence[float]) -> Pair:
    """Measure signal and noise of two halves by what they have in common.

    Raises
    ------
    InputError
        If they have nothing in common, or are the same.
    """
    means = float(first.mean()), float(second.mean())
    halves = first - means[0], second - means[1]
    _, kz, kx = frequency_grid(tuple(first.shape), real=True, device=first.device)
    frequency = radius(first.shape, first.device)
    measured = ~is_missing(kz, kx, tilt_angles_deg).expand(frequency.shape)
    shells = shell_of(frequency)
    counts = torch.bincount(shells[measured], minlength=SHELLS).clamp_min(1)

    def mean_of(power: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(SHELLS, device=power.device).index_add_(0, shells[measured], power[measured])
        return sums / counts / first.numel()

    spectra = [torch.fft.rfftn(half) for half in halves]
    common = mean_of((spectra[0] * spectra[1].conj()).real)
    power = mean_of((spectra[0].abs().square() + spectra[1].abs().square()) / 2)
    del spectra
    if bool((power - common <= 1e-6 * power).all()):
        raise InputError("both halves are the same: nothing tells signal from noise; give two independent halves")
    alike = common / power.clamp_min(1e-30)
    if float((alike * counts.sqrt()).max()) < _SURE:
        raise InputError("the halves have nothing in common at any frequency: are they of one specimen, in one position?")
    plain = Units(means, 1.0, alike.clamp(0, 1), torch.zeros_like(alike))
    filtered = plain.filtered(first, 0), plain.filtered(second, 1)
    scale = float((filtered[0].std() + filtered[1].std()) / 2)
    noise = (power - common) / scale**2
    units = Units(means, scale, plain.share, noise.clamp_min(_LEAST_NOISE * float(noise.max())))
    return Pair((halves[0] / scale, halves[1] / scale), (filtered[0] / scale, filtered[1] / scale), measured, units)
