"""The spectra of signal and noise, measured on the views alone.

By the central slice theorem the power spectrum of a view is a section through that of the specimen, times the thickness that its rays
cross. What directions have in common is therefore known at every frequency, in the missing wedge too: particles lie in many orientations.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from wedge.geometry import TiltGeometry

_BINS_PER_NYQUIST = 32
_NOISE_FROM = 0.8  # of Nyquist: beyond it white noise is taken to be all there is
_LEAST_SIGNAL = 1e-3
_NOISE_BINS = 4.0
NOISE_FREE = 1000.0
"""Signal to noise from which on what is taken for noise is detail."""


@dataclass(frozen=True)
class Spectrum:
    """Power spectra over frequency, in squared intensities per pixel and squared density per voxel.

    Parameters
    ----------
    frequency
        Centres of the bins in cycles per pixel, ``(bin,)``.
    noise
        Variance of the noise in a pixel of a view: its power at every frequency, ``(bin,)``.
    density
        Power of the density, the same in all directions, ``(bin,)``.
    signal_to_noise
        Variance of the signal over that of the noise, in the views.
    """

    frequency: torch.Tensor
    noise: torch.Tensor
    density: torch.Tensor
    signal_to_noise: float

    @property
    def noise_variance(self) -> float:
        """Mean of the noise's power over the band."""
        return float(self.noise.mean())

    def density_at(self, frequency: torch.Tensor) -> torch.Tensor:
        """Return the density's power at any frequencies in cycles per pixel, interpolated."""
        width = float(self.frequency[1] - self.frequency[0])
        place = (frequency / width - 0.5).clamp(0, len(self.frequency) - 1.001)
        low = place.floor().long()
        density = self.density.to(frequency.device)
        return torch.lerp(density[low], density[low + 1], place - low)


def radial_power(sinograms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies and the mean power of ``(y, tilt, x)`` views in rings.

    Views are windowed, so that their edges are no signal; the window's loss is undone on average.
    """
    rows, _, width = sinograms.shape
    window = np.hanning(width + 2)[1:-1] * np.hanning(rows + 2)[1:-1, None]

    transformed = np.fft.fft2((sinograms - sinograms.mean()) * window[:, None, :], axes=(0, 2))
    power = np.square(np.abs(transformed)).mean(axis=1) / np.square(window).sum()
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(width))
    edges = np.arange(math.ceil(_BINS_PER_NYQUIST * math.sqrt(2)) + 1) / (2 * _BINS_PER_NYQUIST)
    which = np.clip(np.digitize(frequency.ravel(), edges) - 1, 0, len(edges) - 2)
    counts = np.bincount(which, minlength=len(edges) - 1)
    sums = np.bincount(which, power.ravel(), minlength=len(edges) - 1)
    centres = (edges[1:] + edges[:-1]) / 2
    known = counts > 0
    # Small views leave bins empty: those take their neighbours'.
    return centres, np.interp(centres, centres[known], sums[known] / counts[known])


def _smoothed(power: np.ndarray, bins: float = 1.0) -> np.ndarray:
    """Smooth a spectrum by a Gaussian over its bins: one without sharp peaks belongs to a filter of short reach."""
    reach = math.ceil(4 * bins)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bins) ** 2)
    amplitude = np.pad(np.sqrt(power), reach, mode="symmetric")
    return np.asarray(np.convolve(amplitude, kernel / kernel.sum(), mode="valid")) ** 2


def measure(sinograms: np.ndarray, geometry: TiltGeometry, other_half: np.ndarray | None = None) -> Spectrum:
    """Measure the spectra of signal and noise.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)`` intensities; with ``other_half``, the mean of both halves.
    geometry
        Of these views around the volume.
    other_half
        Half the difference of two independent halves: noise alone, of any colour, as much as in their mean. Without it the noise is taken
        to be white. Either way it is taken to be all that there is beyond 0.8 of Nyquist.
    """
    frequency, power = radial_power(sinograms)
    beyond = frequency > 0.5 * _NOISE_FROM
    if other_half is not None:
        # Smoothed widely: detectors have no lines, and the signal is a small difference of two large powers.
        noise = _smoothed(radial_power(other_half)[1], _NOISE_BINS)
        noise = noise * max(1.0, float(np.median(power[beyond] / np.maximum(noise[beyond], 1e-300))))
    else:
        noise = np.full_like(power, np.median(power[beyond]))
    # Rays cross the more of the specimen the more it is tilted.
    crossed = geometry.volume_shape[0] * geometry.voxel_size_in_pixels / np.maximum(np.abs(np.cos(geometry.tilt_angles_rad)), 0.1)
    thickness = float(crossed.mean())
    floor = _LEAST_SIGNAL * np.maximum(noise, 1e-12 * power.max())
    signal = _smoothed(np.maximum(power - noise, floor))
    inner = frequency <= 0.5
    # Rings hold frequencies in proportion to their radius.
    variances = [float((values * frequency)[inner].sum()) for values in (np.maximum(power - noise, 0), noise)]
    # The corners beyond the rings hold noise as well.
    variances[1] *= 4 / math.pi
    ratio = variances[0] / max(variances[1], 1e-12 * variances[0], 1e-300)
    bins, floor_power, density = (torch.from_numpy(values.astype(np.float32)) for values in (frequency, noise, signal / thickness))
    return Spectrum(bins, floor_power, density, ratio)
