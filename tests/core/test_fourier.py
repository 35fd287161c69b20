import numpy as np
import pytest
import torch

from wedge.fourier import (
    crowther_frequency,
    frequency_grid,
    half_bit_threshold,
    missing_mask,
    ramp_weight,
    shell_index,
    voronoi_weights_rad,
)


def test_frequency_grid_is_that_of_the_fft():
    kz, kx = frequency_grid((6, 8), spacing=0.5, real=True)
    np.testing.assert_allclose(kz[:, 0], np.fft.fftfreq(6, 0.5), rtol=1e-6)
    np.testing.assert_allclose(kx[0], np.fft.rfftfreq(8, 0.5), rtol=1e-6)


@pytest.mark.parametrize("tilt_deg", [-50.0, -20.0, 0.0, 35.0])
def test_a_view_measures_the_line_that_the_geometry_says(tilt_deg):
    # A plane wave that is constant along the beam of the view is seen by it, and by the mask of that view.
    n = 64
    theta = np.deg2rad(tilt_deg)
    z, x = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    s = x * np.cos(theta) + z * np.sin(theta)
    window = np.outer(np.hanning(n), np.hanning(n))
    power = np.abs(np.fft.fft2(window * np.cos(2 * np.pi * 0.25 * s))) ** 2
    around = [tilt_deg + step for step in (-6.0, -2.0, 2.0, 6.0)]
    missing = missing_mask((n, n), around).numpy()
    assert power[~missing].sum() > 0.99 * power.sum()
    mirrored = missing_mask((n, n), [-angle for angle in around]).numpy()
    if abs(tilt_deg) > 15:
        assert power[~mirrored].sum() < 0.05 * power.sum()


def test_missing_mask_follows_an_asymmetric_range():
    missing = missing_mask((256, 256), [-40.0, 10.0, 65.0])
    assert missing.float().mean() == pytest.approx(_missing_share(-40, 65), abs=0.01)
    # Directions: kz along the first axis, kx along the last.
    assert not missing[0, 5]
    assert missing[5, 0]
    assert not missing[9, 5]  # 61 degrees
    assert missing[-9, 5]  # -61 degrees
    assert not missing[0, 0]


def _missing_share(low, high):
    k = (np.arange(-512, 512) + 0.5) / 1024
    direction = np.degrees(np.arctan2(k[:, None], k[None]))
    return float((np.mod(direction - low, 180) > high - low).mean())


def test_missing_mask_is_the_same_for_every_ky_and_in_both_layouts():
    angles = np.linspace(-60, 50, 31)
    whole, half = missing_mask((16, 8, 24), angles), missing_mask((16, 8, 24), angles, real=True)
    assert torch.equal(whole[:, :1].expand(16, 8, 24), whole)
    assert torch.equal(whole[:, 0], missing_mask((16, 24), angles))
    assert torch.equal(whole[:, :, :12], half[:, :, :12])


def test_nothing_is_missing_after_a_half_turn():
    assert not missing_mask((32, 32), np.arange(-90, 91, 2)).any()
    assert not missing_mask((32, 32), np.arange(-90, 90, 2)).any()
    assert missing_mask((32, 32), (-60.0, 0.0, 60.0)).any()


def test_crowther_frequency():
    angles = np.arange(-60, 61, 2)
    assert 1 / crowther_frequency(angles, 256) == pytest.approx(8.94, abs=0.01)
    assert crowther_frequency(angles[::-1], 256) == crowther_frequency(angles, 256)
    assert crowther_frequency(np.repeat(angles, 2), 256) == pytest.approx(crowther_frequency(angles, 256))
    assert crowther_frequency(angles, 4) == 0.5


@pytest.mark.parametrize("shape", [(32, 32), (16, 24, 32), (9, 9, 9), (7, 12)])
def test_shells_are_round_and_reach_nyquist(shape):
    index, number = shell_index(shape)
    radius = torch.sqrt(sum(axis.double() ** 2 for axis in frequency_grid(shape))) * max(shape)
    inside = index < number
    assert number == max(shape) // 2 + 1
    assert (index[inside] - radius[inside]).abs().max() <= 0.5 + 1e-5
    assert (radius[~inside] >= number - 0.5 - 1e-5).all()
    assert torch.equal(shell_index(shape, real=True)[0], index[..., : shape[-1] // 2 + 1])


def test_half_bit_threshold():
    values = half_bit_threshold(torch.tensor([0.0, 1.0, 1e12]))
    assert values[0] == values[1] == pytest.approx(1.0, abs=1e-4)
    assert values[2] == pytest.approx(0.2071 / 1.2071, abs=1e-5)


@pytest.mark.parametrize("n_fft", [64, 81, 256])
def test_ramp_is_the_frequency(n_fft):
    ramp = ramp_weight(n_fft)
    frequency = torch.arange(n_fft // 2 + 1) / n_fft
    assert ramp.shape == frequency.shape
    assert (ramp - frequency).abs().max() < 0.3 / n_fft
    assert ramp[0] > 0


def test_voronoi_weights_of_equal_increments_are_the_increment():
    np.testing.assert_allclose(np.rad2deg(voronoi_weights_rad(np.arange(-60, 61, 3))), 3.0)


def test_voronoi_weights_follow_the_views_in_any_order():
    angles = np.array([10.0, -60.0, 3.0, 0.0, -20.0, 11.0])
    order = np.array([3, 0, 5, 1, 4, 2])
    np.testing.assert_allclose(voronoi_weights_rad(angles)[order], voronoi_weights_rad(angles[order]))
    np.testing.assert_allclose(np.rad2deg(voronoi_weights_rad(angles)), [4.0, 40.0, 5.0, 11.5, 30.0, 1.0])


def test_repeated_views_share_one_cell():
    single, double = voronoi_weights_rad([-10.0, 0.0, 10.0]), voronoi_weights_rad([0.0, -10.0, 0.0, 10.0])
    np.testing.assert_allclose(double, [single[1] / 2, single[0], single[1] / 2, single[2]])


@pytest.mark.parametrize("angles", [np.arange(-90, 91, 2), np.arange(0, 180, 5), np.arange(-180, 180, 4), np.array([7.0])])
def test_voronoi_weights_of_a_half_turn_sum_to_pi(angles):
    assert voronoi_weights_rad(angles).sum() == pytest.approx(np.pi)
