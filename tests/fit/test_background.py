"""Laws of the background: noise does not hide it where the tilts tell it."""

import numpy as np
import pytest

from wedge.fit.background import background, estimate_offset
from wedge.geometry import TiltGeometry
from wedge.spheres import chords, make_spheres

SHAPE = (24, 40, 64)
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 31)), SHAPE[1:], SHAPE)
NARROW = TiltGeometry(tuple(np.linspace(-20, 20, 31)), SHAPE[1:], SHAPE)


def views_of(times_as_wide: int, geometry: TiltGeometry = GEOMETRY) -> np.ndarray:
    """Hollow spheres in a slab so many times as wide as the detector, ``(y, tilt, x)``."""
    shape = (SHAPE[0], SHAPE[1], times_as_wide * SHAPE[2])
    wide = TiltGeometry(geometry.tilt_angles_deg, SHAPE[1:], shape)
    return chords(make_spheres(shape, seed=3), wide, 0, SHAPE[1]).astype(np.float64)


def noisy(views: np.ndarray, snr: float) -> np.ndarray:
    return views + np.random.default_rng(4).normal(0, views.std() / snr**0.5, views.shape)


@pytest.mark.parametrize("times_as_wide", [1, 5], ids=["fits", "goes on"])
@pytest.mark.parametrize("snr", [1.0, 0.25, 0.1])
def test_the_tilts_tell_the_background_in_noise(times_as_wide, snr):
    views = views_of(times_as_wide)
    seen = noisy(views, snr)
    found = background(seen, GEOMETRY)
    assert abs(found) < 0.15 * views.mean()
    assert background(3.0 * seen + 7.0, GEOMETRY) == pytest.approx(3.0 * found + 7.0)
    assert background(-seen, GEOMETRY) == pytest.approx(-found)
    # What the most frequent intensity is worth.
    assert abs(estimate_offset(seen)) > abs(found)


def test_without_noise_it_is_the_most_frequent_intensity():
    for views in (views_of(1), views_of(5)):
        assert background(views + 7.0, GEOMETRY) == pytest.approx(7.0, abs=0.01)


def test_where_the_tilts_tell_nothing_it_is_the_most_frequent_intensity():
    for views in (views_of(1, NARROW), views_of(5, NARROW)):
        seen = noisy(views, 0.25)
        assert background(seen, NARROW) == estimate_offset(seen)


def test_hot_rays_that_miss_the_volume_do_not_move_it():
    seen = noisy(views_of(1), 0.25)
    spoiled = seen.copy()
    spoiled[:, 0, :3] = 1e4
    assert background(spoiled, GEOMETRY) == pytest.approx(background(seen, GEOMETRY), abs=0.1)


def test_grains_of_both_signs_that_go_on_are_no_slab():
    # Means that only chance makes grow with the tilt must not become a background far from all views.
    for seed in range(5):
        random = np.random.default_rng(seed)
        grains = random.normal(size=(SHAPE[1], 31, SHAPE[2] + 7))
        smooth = sum(grains[..., shift : shift + SHAPE[2]] for shift in range(8)) / 8**0.5
        seen = smooth + 0.3 * random.normal(size=(1, 31, 1)) + random.normal(size=smooth.shape)
        assert background(seen, GEOMETRY) == estimate_offset(seen)
