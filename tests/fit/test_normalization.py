"""Laws of the fit's units: found from the data alone, and moving with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fit.background import estimate_offset, noise_level
from wedge.fit.normalization import Normalization, estimate_scale, looks_positive, normalize, sample_rows
from wedge.formats import open_tilts
from wedge.geometry import TiltGeometry
from wedge.noise import add_poisson
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres

SHAPE = (24, 40, 64)
CPU = torch.device("cpu")
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 31)), SHAPE[1:], SHAPE)


@pytest.fixture(scope="module")
def sinograms() -> np.ndarray:
    """Hollow spheres without noise, ``(y, tilt, x)``; a third of the rays meet nothing."""
    return chords(make_spheres(SHAPE, seed=1), GEOMETRY, 0, SHAPE[1]).astype(np.float64)


@pytest.fixture(scope="module")
def projector():
    return Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(GEOMETRY, CPU)


def series(sinograms: np.ndarray, simulated: bool = False) -> TiltSeries:
    return TiltSeries(sinograms.transpose(1, 0, 2).astype(np.float32), GEOMETRY, "spheres", simulated)


def units(sinograms, projector, *, simulated=False, offset="auto", positivity="auto") -> Normalization:
    return normalize(series(sinograms, simulated), projector, CPU, offset, positivity)


@pytest.mark.parametrize("gain", [1.0, 3.7, 1e-3])
@pytest.mark.parametrize("shift", [0.0, 1000.0, -12.5])
def test_offset_moves_with_the_intensities(sinograms, gain, shift):
    noisy = sinograms + np.random.default_rng(0).normal(0, 0.05, sinograms.shape)
    assert estimate_offset(gain * noisy + shift) == pytest.approx(gain * estimate_offset(noisy) + shift, abs=1e-6 * gain)


@pytest.mark.parametrize("step", [0.05, 0.5, 2.0])
def test_offset_of_a_quantized_detector_is_within_half_a_step(sinograms, step):
    background = 100.3
    quantized = np.round((sinograms + background) / step) * step
    assert abs(estimate_offset(quantized) - background) <= step / 2 + 1e-9


def test_offset_of_whole_counts_with_noise_is_in_the_middle_of_what_is_equally_frequent():
    counts = np.concatenate([np.repeat([9.0, 10.0, 11.0], 3000), np.arange(20.0, 2000.0)])
    assert estimate_offset(counts) == 10
    noisy = np.round(np.random.default_rng(9).normal(100, 8, 50000))
    assert abs(estimate_offset(noisy) - 100) <= 3


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_offset_stays_within_the_noise(sinograms, noise):
    sigma = noise * sinograms.std()
    noisy = sinograms + 50 + np.random.default_rng(1).normal(0, sigma, sinograms.shape)
    assert abs(estimate_offset(noisy) - 50) < 1.5 * sigma


def test_few_empty_rays_are_enough():
    # One ray in eight is empty; the thickness of what the others meet begins at nothing.
    random = np.random.default_rng(2)
    full = 7 + np.abs(random.normal(0, 20, 7 * 2000))
    rays = np.concatenate([full, random.normal(7, 0.05, 2000)])
    random.shuffle(rays)
    assert estimate_offset(rays.reshape(1, 8, -1)) == pytest.approx(7, abs=0.15)


def test_dead_and_hot_pixels_do_not_move_the_offset(sinograms):
    spoilt = sinograms + 5
    random = np.random.default_rng(3)
    where = random.random(spoilt.shape)
    spoilt[where < 0.02] = random.uniform(-1e4, 1e6, int((where < 0.02).sum()))
    assert estimate_offset(spoilt) == pytest.approx(5, abs=1e-6)


@pytest.mark.parametrize("gain", [1e-6, 250.0, 1e12])
def test_scale_and_offset_follow_the_units_of_the_detector(sinograms, projector, gain):
    plain, scaled = units(sinograms, projector), units(gain * sinograms, projector)
    assert scaled.scale == pytest.approx(gain * plain.scale, rel=1e-4)
    assert scaled.offset == pytest.approx(gain * plain.offset, abs=1e-6 * gain)
    assert scaled.positive == plain.positive


def test_scale_does_not_see_the_background(sinograms, projector):
    assert units(sinograms + 64, projector).scale == pytest.approx(units(sinograms, projector).scale, rel=1e-4)


def test_scale_is_about_the_density_of_the_specimen(sinograms, projector):
    # The spheres' walls have density 1, blurred by a hann-filtered FBP.
    assert 0.4 < units(sinograms, projector).scale < 1.5


def test_scale_does_not_know_the_sign(sinograms, projector):
    assert estimate_scale(-sinograms[::8], projector, GEOMETRY, CPU) == pytest.approx(
        estimate_scale(sinograms[::8], projector, GEOMETRY, CPU), rel=1e-6
    )


def test_what_the_user_says_holds(sinograms, projector):
    shifted = sinograms + 9
    assert units(shifted, projector, offset="none").offset == 0
    assert units(shifted, projector, offset=4.5).offset == 4.5
    assert units(shifted, projector).offset == pytest.approx(9, abs=1e-5)
    # The zero of simulated data is known.
    assert units(shifted, projector, simulated=True).offset == 0
    assert units(-sinograms, projector, positivity="on").positive
    assert not units(sinograms, projector, positivity="off").positive


def test_nothing_to_reconstruct_is_said(projector):
    with pytest.raises(InputError, match=r"spheres: all intensities equal 7\.0"):
        units(np.full((SHAPE[1], 31, SHAPE[2]), 7.0), projector)


def test_sampled_rows_spread_over_the_series(sinograms):
    numbered = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float64)[:, None, None], sinograms.shape)
    rows = sample_rows(series(numbered))[:, 0, 0]
    assert (len(rows), rows[0], rows[-1]) == (32, 0, SHAPE[1] - 1)
    assert set(np.diff(rows)) == {1, 2}


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.5, 1.0])
def test_spheres_are_positive_under_any_poisson_noise(sinograms, projector, eta):
    noisy = add_poisson(sinograms, 0, mean_projection=float(sinograms.mean()), eta=eta, seed=4)
    assert units(noisy, projector, simulated=True).positive
    assert units(noisy, projector).positive


def test_noise_level_sees_the_noise_alone(sinograms):
    noise = np.random.default_rng(8).normal(0, 3.0, sinograms.shape)
    assert noise_level(100 + noise) == pytest.approx(3, rel=0.03)
    assert noise_level(sinograms + noise) == pytest.approx(3, rel=0.1)
    assert noise_level(sinograms[:, :, :2]) == 0


@pytest.mark.parametrize("snr", [4.0, 1.0, 0.25])
def test_gaussian_noise_does_not_count_as_negative_density(sinograms, projector, snr):
    noise = np.random.default_rng(5).normal(0, sinograms.std() / np.sqrt(snr), sinograms.shape)
    assert units(sinograms + noise, projector, simulated=True).positive


@pytest.mark.parametrize("snr", [1e6, 4.0, 1.0, 0.25, 0.05])
def test_views_of_zero_mean_are_not_positive(sinograms, snr):
    # Without their low frequencies, as from a microscope's phase contrast: no constant makes them positive.
    frequency = np.fft.rfftfreq(SHAPE[2])
    views = np.fft.irfft(np.fft.rfft(sinograms, axis=2) * (frequency > 0.03), n=SHAPE[2], axis=2)
    noisy = views + np.random.default_rng(6).normal(0, views.std() / np.sqrt(snr), views.shape)
    assert not looks_positive(noisy)
    assert not looks_positive(noisy - estimate_offset(noisy))


@pytest.mark.parametrize("snr", [1e6, 4.0, 0.25])
def test_dark_particles_are_positive_under_a_negative_scale(sinograms, projector, snr):
    noise = np.random.default_rng(7).normal(0, sinograms.std() / np.sqrt(snr), sinograms.shape)
    bright, dark = units(noise + sinograms, projector, simulated=True), units(-noise - sinograms, projector, simulated=True)
    assert dark.positive
    assert bright.positive
    assert dark.scale == pytest.approx(-bright.scale, rel=1e-5)
    # The background is found whatever the contrast.
    if snr == 1e6:
        found = units(noise - sinograms + 30, projector)
        assert found.offset == pytest.approx(30, abs=0.05)
        assert found.positive
        assert found.scale < 0


def test_density_of_both_signs_has_the_mean_for_its_offset(sinograms, projector):
    centred = sinograms - sinograms.mean(axis=2, keepdims=True)
    found = units(centred + 30, projector)
    assert not found.positive
    assert found.scale > 0
    assert found.offset == pytest.approx(float(sample_rows(series(centred + 30)).mean()), rel=1e-6)


def test_offset_of_a_noisy_background_is_found(sinograms):
    sigma = 2 * sinograms.std()
    noisy = sinograms + 50 * sigma + np.random.default_rng(5).normal(0, sigma, sinograms.shape)
    assert abs(estimate_offset(noisy) - 50 * sigma) < 0.4 * sigma


def test_a_constant_off_a_positive_series_is_a_background(sinograms, projector):
    found = units(sinograms - sinograms.mean(), projector)
    assert found.offset == pytest.approx(-sinograms.mean(), abs=1e-5)
    assert found.positive


def test_the_real_needle_is_positive_over_its_dark_level(example_data: Path):
    tilts = open_tilts(example_data / "needle" / "needle_bin4.mrc")
    rows = sample_rows(tilts)
    offset = estimate_offset(rows)
    # Counts reach 50 000; the dark level is a few tens.
    assert 0 < offset < 100
    assert np.mean(np.abs(rows - offset) < 30) > 0.25
    assert looks_positive(rows - offset)
    assert not looks_positive(offset - rows)


def test_views_of_weight_0_do_not_move_the_units(sinograms, projector):
    noisy = sinograms + np.random.default_rng(5).normal(0, 2 * sinograms.std(), sinograms.shape) + 50
    expected = units(noisy, projector)
    assert expected.offset == pytest.approx(50, abs=0.15 * sinograms.mean())
    weights = np.ones((31, 40, 64), np.float32)
    weights[[0, 1, 2, 29, 30]] = 0
    found = normalize(replace(series(noisy), weights=weights), projector, CPU, "auto", "auto")
    assert (found.positive, found.offset) == (True, pytest.approx(50, abs=0.15 * sinograms.mean()))
