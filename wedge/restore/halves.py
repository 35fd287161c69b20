"""Two half volumes as a network sees them: in common units, with what is known of their noise, and what was measured at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from wedge.errors import InputError
from wedge.fourier import frequency_grid, is_missing

SHELLS = 24
LOWEST = 0.04
"""Cycles per voxel below which nothing is learned: there halves agree on errors too, of backgrounds and of what lies beyond the box."""
_LEAST_SIGNAL = 0.02  # of the power of a shell
_SURE = 6.0  # standard deviations of a correlation by chance
_LEAST_NOISE = 1e-3  # of the noise of the noisiest shell


def radius(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return the frequency in cycles per voxel of every point of ``rfftn``'s layout."""
    grid = frequency_grid(shape, real=True, device=device)
    return torch.stack(torch.broadcast_tensors(*(axis.square() for axis in grid))).sum(0).sqrt()


def shell_of(frequency: torch.Tensor) -> torch.Tensor:
    """Return the number of the shell of each frequency; the last one holds all that is beyond Nyquist."""
    return (frequency / 0.5 * SHELLS).long().clamp_max(SHELLS - 1)


@dataclass(frozen=True)
class Pair:
    """Two halves of one density, ``(y, z, x)`` float32, less their mean and divided by their scale.

    Parameters
    ----------
    halves
        As they are: what the network is to give of the other one.
    filtered
        Less their noise, shell by shell: what it is given.
    measured
        Frequencies that views have seen, in ``rfftn``'s layout.
    noise
        ``(shell,)`` power of a half's noise there, in that of white noise with a variance of 1.
    mean, scale
        ``density = mean + scale * value``.
    """

    halves: tuple[torch.Tensor, torch.Tensor]
    filtered: tuple[torch.Tensor, torch.Tensor]
    measured: torch.Tensor
    noise: torch.Tensor
    mean: float
    scale: float


def pair_of(first: torch.Tensor, second: torch.Tensor, tilt_angles_deg: Sequence[float]) -> Pair:
    """Measure signal and noise of two halves by what they have in common.

    Raises
    ------
    InputError
        If they have nothing in common, or are the same.
    """
    mean = float((first.mean() + second.mean()) / 2)
    halves = first - first.mean(), second - second.mean()
    _, kz, kx = frequency_grid(tuple(first.shape), real=True, device=first.device)
    frequency = radius(tuple(first.shape), first.device)
    measured = ~is_missing(kz, kx, tilt_angles_deg).expand(frequency.shape)
    shells = shell_of(frequency)
    counts = torch.bincount(shells[measured], minlength=SHELLS).clamp_min(1)

    def mean_of(power: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(SHELLS, device=power.device).index_add_(0, shells[measured], power[measured])
        return sums / counts / first.numel()

    spectra = [torch.fft.rfftn(half) for half in halves]
    common = mean_of((spectra[0] * spectra[1].conj()).real)
    power = mean_of((spectra[0].abs().square() + spectra[1].abs().square()) / 2)
    if bool((power - common <= 1e-6 * power).all()):
        raise InputError("both halves are the same: nothing tells signal from noise; give two independent halves")
    alike = common / power.clamp_min(1e-30)
    if float((alike * counts.sqrt()).max()) < _SURE:
        raise InputError("the halves have nothing in common at any frequency: are they of one specimen, in one position?")
    share = alike.clamp(_LEAST_SIGNAL, 1)[shells]
    filtered = [torch.fft.irfftn(spectrum * share, s=first.shape) for spectrum in spectra]
    scale = float((filtered[0].std() + filtered[1].std()) / 2)
    noise = (power - common) / scale**2
    return Pair(
        (halves[0] / scale, halves[1] / scale),
        (filtered[0] / scale, filtered[1] / scale),
        measured,
        noise.clamp_min(_LEAST_NOISE * float(noise.max())),
        mean,
        scale,
    )
