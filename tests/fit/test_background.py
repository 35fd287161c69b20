"""Laws of the background: noise does not hide it where the tilts tell it."""

import numpy as np
import pytest

from wedge.fit.background import _KEPT_POWER, _spread, background, estimate_offset, noise_level
from wedge.fit.rays import share_inside
from wedge.geometry import TiltGeometry
from wedge.spheres import chords, make_spheres

SHAPE = (24, 40, 64)
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 31)), SHAPE[1:], SHAPE)
WIDE = TiltGeometry(tuple(np.linspace(-60, 60, 61)), (SHAPE[1], 256), (SHAPE[0], SHAPE[1], 256))
NARROW = TiltGeometry(tuple(np.linspace(-20, 20, 31)), SHAPE[1:], SHAPE)


def views_of(times_as_wide: int, geometry: TiltGeometry = GEOMETRY) -> np.ndarray:
    """Hollow spheres in a slab so many times as wide as the detector, ``(y, tilt, x)``."""
    shape = (SHAPE[0], SHAPE[1], times_as_wide * geometry.detector_shape[1])
    wide = TiltGeometry(geometry.tilt_angles_deg, geometry.detector_shape, shape)
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


@pytest.mark.parametrize("times_as_wide", [1, 5], ids=["fits", "goes on"])
def test_counts_of_a_dark_specimen_have_the_noise_of_their_own(times_as_wide):
    # Where there is less, more is counted, and noise is more than that of all rays: such rays are empty all the same.
    views = views_of(times_as_wide, WIDE)
    counts = np.random.default_rng(6).poisson(5 * np.exp(-0.2 * views / views.mean())).astype(np.float64)
    assert abs(background(counts, WIDE) - 5) < 0.25 * (5 - counts.mean())
    assert abs(estimate_offset(counts) - 5) > 0.5 * (5 - counts.mean())


@pytest.mark.parametrize("mean", [0.3, 0.6, 1.0, 2.0, 5.0, 50.0])
@pytest.mark.parametrize("unit", [1.0, 0.37])
def test_noise_of_counts_is_told_however_few_they_are(mean, unit):
    counts = np.random.default_rng(7).poisson(mean, (30, 11, 80))
    counts[:, 0, 40] = 10**5
    assert noise_level((unit * counts).astype(np.float32).astype(np.float64)) == pytest.approx(unit * mean**0.5, rel=0.05)


@pytest.mark.parametrize("angles", [np.linspace(-178, 178, 61), np.linspace(-90, 90, 61)], ids=["all around", "from the side"])
def test_views_from_behind_and_from_the_side_do_not_mislead(angles):
    around = TiltGeometry(tuple(angles), SHAPE[1:], SHAPE)
    for times_as_wide in (1, 5):
        views = views_of(times_as_wide, around)
        assert abs(background(noisy(views, 0.25), around)) < 0.15 * views.mean()


@pytest.mark.parametrize("times_as_wide", [1, 5], ids=["fits", "goes on"])
def test_what_is_made_up_at_rays_of_weight_0_tells_nothing(times_as_wide):
    seen = noisy(views_of(times_as_wide), 0.25)
    expected = background(seen, GEOMETRY)
    weights = np.ones(seen.shape, np.float32)
    weights[:, [0, 1, 30]] = 0
    weights[:, 12:, 60:] = 0
    spoiled = np.where(weights > 0, seen, seen.max())
    assert background(spoiled, GEOMETRY, weights) == pytest.approx(expected, abs=0.1 * views_of(times_as_wide).mean())
    assert background(seen, GEOMETRY, np.ones((1, 1, 1), np.float32)) == expected


def test_rays_of_two_kinds_have_no_background_of_their_own():
    few = TiltGeometry(tuple(np.linspace(-47, 47, 31)), SHAPE[1:], SHAPE)
    seen = np.random.default_rng(8).normal(size=(40, 31, 64))
    beside = np.argwhere(share_inside(few) == 0)
    assert 200 < 40 * len(beside) < 0.008 * seen.size
    for view, column in beside:
        seen[::2, view, column] += 20
        seen[1::2, view, column] -= 20
    assert background(seen, few) == estimate_offset(seen)


def test_noise_alone_has_no_signal_however_its_outermost_values_are_clipped():
    noise = np.random.default_rng(9).normal(3, 2, (40, 61, 256))
    assert _spread(noise) ** 2 == pytest.approx(_KEPT_POWER * noise.var(), rel=1e-3)
