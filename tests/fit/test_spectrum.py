"""Laws of the spectra that are measured on views."""

import numpy as np
import pytest
import torch

from wedge.fit.spectrum import measure, radial_power
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

SHAPE = (32, 64, 96)
GEOMETRY = TiltGeometry(tuple(np.linspace(-50, 50, 21)), SHAPE[1:], SHAPE)


def coloured(shape: tuple[int, ...], width: float, seed: int) -> np.ndarray:
    """White noise under a Gaussian of ``width`` cycles per voxel along every axis."""
    white = np.random.default_rng(seed).normal(size=shape)
    squared = sum(np.meshgrid(*(np.fft.fftfreq(n) ** 2 for n in shape), indexing="ij"))
    return np.fft.ifftn(np.fft.fftn(white) * np.exp(-squared / (2 * width**2))).real


@pytest.fixture(scope="module")
def views() -> np.ndarray:
    """Projections of coloured noise that goes on beyond the detector, ``(y, tilt, x)``."""
    slab = coloured((SHAPE[1], SHAPE[0], 3 * SHAPE[2]), 0.08, 0).astype(np.float32)
    wide = GEOMETRY.with_volume((SHAPE[0], SHAPE[1], 3 * SHAPE[2]))
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(wide, torch.device("cpu"))
    return projector.project(torch.from_numpy(slab)).numpy().astype(np.float64)


@pytest.mark.parametrize("snr", [0.1, 1.0])
def test_white_noise_and_the_signal_to_noise_are_recovered(views, snr):
    sigma = views.std() / np.sqrt(snr)
    noisy = views + np.random.default_rng(1).normal(scale=sigma, size=views.shape)
    found = measure(noisy, GEOMETRY)
    assert found.noise_variance == pytest.approx(sigma**2, rel=0.05)
    assert found.signal_to_noise == pytest.approx(snr, rel=0.12)


def test_noise_of_any_colour_is_recovered_from_halves(views):
    def noise(seed: int) -> np.ndarray:
        return np.stack([coloured((views.shape[0], views.shape[2]), 0.2, 100 * seed + tilt) for tilt in range(21)], axis=1)

    first, second = (views + 20 * noise(seed) for seed in (1, 2))
    mean = (first + second) / 2
    found = measure(mean, GEOMETRY, mean - second)
    expected = radial_power(10 * np.sqrt(2) * noise(3))[1]
    band = (found.frequency > 0.05) & (found.frequency < 0.3)
    assert np.allclose(found.noise[band].numpy(), expected[band.numpy()], rtol=0.2)
    # White noise would have been taken for what is beyond the band, where there is next to none.
    assert measure(mean, GEOMETRY).noise_variance < 0.05 * float(found.noise[band].max())


def test_the_density_has_the_spectrum_that_it_was_made_with(views):
    found = measure(views, GEOMETRY)
    frequency = torch.tensor([0.05, 0.08, 0.12])
    expected = torch.exp(-(frequency**2) / 0.08**2)
    ratio = found.density_at(frequency) / expected
    assert bool(((ratio > 0.6) & (ratio < 1.6)).all()), ratio


def test_spectra_follow_the_units(views):
    plain, scaled = measure(views, GEOMETRY), measure(3 * views, GEOMETRY)
    assert torch.allclose(scaled.density, 9 * plain.density, rtol=1e-4)
    assert scaled.signal_to_noise == pytest.approx(plain.signal_to_noise, rel=1e-6)
