"""Laws of how far a field goes on beyond the volume."""

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.defaults import reconstruct_settings
from wedge.fit.begin import begin
from wedge.fit.margin import fitted_margin, judging_weights, needed_margin, outside_share, widened
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

ANGLES = tuple(np.linspace(-60, 60, 25))
SHAPE = (24, 6, 48)
GEOMETRY = TiltGeometry(ANGLES, SHAPE[1:], SHAPE)


def views(slab: np.ndarray, geometry: TiltGeometry) -> np.ndarray:
    """Project ``(y, z, x)`` density, of any width, around the tilt axis."""
    wide = geometry.with_volume((slab.shape[1], slab.shape[0], slab.shape[2]))
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(wide, torch.device("cpu"))
    return projector.project(torch.from_numpy(slab.astype(np.float32))).numpy()


def test_margin_is_as_far_as_the_steepest_ray_reaches():
    # At 60 degrees the ray at the detector's edge leaves the specimen at (24 + 12 sin 60) / cos 60.
    reach = (24 + 12 * np.sin(np.pi / 3)) / 0.5
    assert reach - 24 <= needed_margin(GEOMETRY) < reach - 24 + 8
    assert needed_margin(GEOMETRY) % 8 == 0
    assert needed_margin(TiltGeometry((0.0,), SHAPE[1:], SHAPE)) == 0


def test_very_steep_views_do_not_ask_for_the_moon():
    assert needed_margin(TiltGeometry((-89.9, 0.0, 89.9), SHAPE[1:], SHAPE)) <= 1.5 * 48 + 8


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_specimen_that_fits_needs_none_and_one_that_goes_on_does(noise):
    random = np.random.default_rng(0)
    slab = random.normal(size=(6, 24, 48 * 3))
    inside = slab.copy()
    inside[:, :, : 48 + 8] = 0
    inside[:, :, 2 * 48 - 8 :] = 0
    for density, needs in ((inside, False), (slab, True)):
        seen = views(density, GEOMETRY)
        seen = seen + random.normal(scale=noise * seen.std(), size=seen.shape)
        assert (fitted_margin("auto", seen, GEOMETRY) > 0) == needs
        assert fitted_margin(16, seen, GEOMETRY) == 16


def test_what_is_made_up_at_rays_of_weight_0_makes_no_margin():
    random = np.random.default_rng(0)
    slab = random.normal(size=(6, 24, 48 * 3))
    slab[:, :, : 48 + 8] = 0
    slab[:, :, 2 * 48 - 8 :] = 0
    seen = views(slab, GEOMETRY)
    seen = seen + random.normal(scale=seen.std(), size=seen.shape)
    weights = np.ones(seen.shape, np.float32)
    weights[:, ::3] = 0
    # Smooth, so that noise seems less, and far from the background.
    filled = np.where(weights > 0, seen, 3 * seen.std())
    assert fitted_margin("auto", filled, GEOMETRY, weights) == 0 < fitted_margin("auto", filled, GEOMETRY)
    assert outside_share(seen, GEOMETRY, 0 * weights) == 0.0


def test_no_ray_outside_means_no_share():
    upright = TiltGeometry((0.0, 1.0), SHAPE[1:], SHAPE)
    assert outside_share(np.ones((2, 2, 48)), upright) == 0.0


def test_wider_box_has_the_same_centre():
    wide = widened(GEOMETRY, 16)
    assert wide.volume_shape == (24, 6, 80)
    assert wide.volume_centre_pixels == GEOMETRY.volume_centre_pixels
    assert wide.detector_shape == GEOMETRY.detector_shape


def test_rays_that_leave_the_volume_judge_less_and_all_judge_without_a_margin() -> None:
    geometry = TiltGeometry((-60.0, 0.0, 60.0), (1, 64), (16, 1, 64))
    weights = judging_weights(widened(geometry, 24), 24)
    assert weights.shape == (3, 64)
    np.testing.assert_array_equal(weights[1], 1.0)
    # At 60 degrees a ray through the middle stays inside, one through the detector's edge crosses the specimen far outside.
    np.testing.assert_allclose(weights[[0, 2], 32], 1.0)
    assert weights[[0, 2], 0].max() == 0.0
    np.testing.assert_array_equal(judging_weights(geometry, 0), np.ones((3, 64)))


def begun(seen: np.ndarray, **settings):
    config, plugins = resolve_plugins(validate(reconstruct_settings() | settings), Registry.load({"WEDGE_PLUGINS": ""}))
    geometry = TiltGeometry(ANGLES, (len(seen), 48), (24, len(seen), 48))
    series = TiltSeries(seen.transpose(1, 0, 2).astype(np.float32), geometry)
    return begin(series, None, plugins, config, torch.device("cpu"), None)


def test_a_noisy_slab_is_of_one_sign_over_the_background_that_its_tilts_tell():
    random = np.random.default_rng(5)
    slab = (random.random((32, 24, 48 * 5)) < 0.02) * 10.0
    seen = views(slab, GEOMETRY)
    noisy = 30 + seen + random.normal(scale=seen.std(), size=seen.shape)
    job = begun(noisy)
    assert job.margin > 0
    assert job.units.positive
    assert abs(job.units.offset - 30) < 0.25 * seen.mean()
    # The same views, darker than their background.
    dark = begun(-noisy)
    assert dark.units.positive
    assert dark.units.scale < 0
    assert dark.units.offset == pytest.approx(-job.units.offset)
    assert begun(noisy, offset=12.0).units.offset == 12


def test_a_slab_of_both_signs_keeps_the_mean():
    random = np.random.default_rng(6)
    seen = views(random.normal(size=(32, 24, 48 * 5)), GEOMETRY)
    noisy = seen + random.normal(scale=seen.std(), size=seen.shape)
    job = begun(noisy)
    assert not job.units.positive
    assert job.units.offset == pytest.approx(noisy.mean(), abs=1e-4)
