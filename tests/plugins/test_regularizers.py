"""First-party regularizers: the laws, and what each promises beside them."""

import math

import pytest
import torch
from wedge_regularizers.crowther import Crowther, CrowtherOptions
from wedge_regularizers.tv import TotalVariation, TotalVariationOptions

from wedge.contracts import RegularizerContext
from wedge.geometry import TiltGeometry
from wedge.testing import RegularizerLaws

ANGLES = tuple(float(angle) for angle in range(-60, 61, 4))


class TestTotalVariation(RegularizerLaws):
    def make(self, geometry):
        return TotalVariation(geometry, TotalVariationOptions())


class TestCrowther(RegularizerLaws):
    def make(self, geometry):
        return Crowther(geometry, CrowtherOptions())


class TestCrowtherOrWedge(RegularizerLaws):
    def make(self, geometry):
        return Crowther(geometry, CrowtherOptions(region="either", taper=0.0))


def _context(interior, spacing=1.0):
    return RegularizerContext(interior, spacing, 0, 1, torch.Generator(), lambda lattice: pytest.fail("not needed"))


def _geometry(shape=(64, 4, 96), angles=ANGLES):
    return TiltGeometry(angles, (shape[1], shape[2]), shape)


def _wave(kz, kx, shape=(64, 96)):
    """A plane wave of ``cycles`` along z and x in four equal rows."""
    z, x = torch.arange(shape[0])[:, None] / shape[0], torch.arange(shape[1]) / shape[1]
    return torch.cos(2 * math.pi * (kz * z + kx * x)).expand(4, -1, -1)


def test_tv_is_the_gradient_of_a_ramp_whatever_its_direction():
    tv = TotalVariation(_geometry(), TotalVariationOptions(epsilon=1e-6))
    y, z, x = (torch.arange(n, dtype=torch.float32) for n in (6, 7, 8))
    slices = 3 * y[:, None, None] + 2 * z[:, None] - 6 * x
    # The last column and the last plane lack one difference each; inner rows have all three.
    inner = 6 * 7 * 7 + 6 * math.hypot(3, 2) + 7 * math.hypot(3, 6) + 3
    assert float(tv(slices[1:4], _context(slice(0, 2)))) == pytest.approx(inner / 56, rel=1e-5)


def test_tv_counts_each_border_between_rows_once():
    tv = TotalVariation(_geometry(), TotalVariationOptions(epsilon=1e-6))
    slices = torch.zeros(6, 5, 5)
    slices[3:] = 2.0
    per_row = [float(tv(slices[max(0, row - 1) : row + 2], _context(slice(min(row, 1), min(row, 1) + 1)))) for row in range(6)]
    assert per_row == pytest.approx([0, 0, 2, 0, 0, 0], abs=1e-5)


def test_tv_is_per_voxel_at_any_spacing():
    tv = TotalVariation(_geometry(), TotalVariationOptions())
    coarse = torch.arange(8.0)[:, None, None].expand(8, 4, 4)
    fine = torch.arange(0, 8, 0.5)[:, None, None].expand(16, 8, 8)
    assert float(tv(fine[:12], _context(slice(0, 8), 0.5))) == pytest.approx(float(tv(coarse[:6], _context(slice(0, 4)))), rel=1e-5)


def test_crowther_frequency_follows_thickness():
    geometry = _geometry()
    increment = math.radians(4)
    assert Crowther(geometry, CrowtherOptions()).crowther_frequency == pytest.approx(1 / (64 * increment))
    assert Crowther(geometry, CrowtherOptions(thickness=128)).crowther_frequency == pytest.approx(1 / (128 * increment))


@pytest.mark.parametrize("region", ["both", "either"])
def test_crowther_weighs_waves_by_where_they_are(region):
    crowther = Crowther(_geometry(), CrowtherOptions(region=region, taper=0.0, thickness=128))
    frequency = crowther.crowther_frequency

    def penalty(kz, kx):
        return float(crowther(_wave(kz, kx), _context(slice(1, 3))))

    # The mean square of a wave is one half. In the wedge (along z), below and above the Crowther frequency of 0.112:
    low, high = 4 / 64, 20 / 64
    assert penalty(4, 0) == pytest.approx(0 if region == "both" else 0.5 * 2 * low, abs=1e-6)
    assert penalty(20, 0) == pytest.approx(0.5 * 2 * (high - frequency if region == "both" else high), rel=1e-4)
    # Measured (along x):
    assert penalty(0, 6) == pytest.approx(0, abs=1e-6)
    assert penalty(0, 30) == pytest.approx(0 if region == "both" else 0.5 * 2 * (30 / 96 - frequency), abs=1e-6)


def test_crowther_follows_an_asymmetric_range():
    tilted = tuple(float(angle) for angle in range(-20, 61, 4))
    crowther = Crowther(_geometry((64, 4, 64), tilted), CrowtherOptions(taper=0.0, thickness=256))
    at_plus_45, at_minus_45 = (float(crowther(_wave(20, sign * 20, (64, 64)), _context(slice(0, 4)))) for sign in (1, -1))
    assert at_plus_45 == pytest.approx(0, abs=1e-6)
    assert at_minus_45 > 0.1


def test_crowther_is_comparable_across_sizes_and_tapers():
    noise = torch.Generator().manual_seed(0)
    values = []
    for shape, taper in (((64, 8, 96), 0.125), ((128, 8, 128), 0.125), ((64, 8, 96), 0.0)):
        slices = torch.randn(shape[1], shape[0], shape[2], generator=noise)
        crowther = Crowther(_geometry(shape), CrowtherOptions(taper=taper, thickness=100))
        values.append(float(crowther(slices, _context(slice(0, 8)))))
    assert values == pytest.approx([values[0]] * 3, rel=0.05)


def test_crowther_taper_takes_the_faces_of_a_slab_for_no_signal():
    ramp = torch.linspace(0, 1, 64)[:, None].expand(4, 64, 96)
    sharp, tapered = (
        float(Crowther(_geometry(), CrowtherOptions(taper=taper, thickness=128))(ramp, _context(slice(0, 4)))) for taper in (0.0, 0.125)
    )
    assert tapered < 0.1 * sharp


def test_crowther_keeps_frequencies_per_voxel_at_any_spacing():
    crowther = Crowther(_geometry(), CrowtherOptions(taper=0.0, thickness=128))
    coarse = float(crowther(_wave(20, 0, (64, 96)), _context(slice(0, 4))))
    fine = float(crowther(_wave(20, 0, (128, 192)), _context(slice(0, 4), 0.5)))
    assert fine == pytest.approx(coarse, rel=1e-3)
