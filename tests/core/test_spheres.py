import numpy as np
import pytest

from wedge.errors import UsageError
from wedge.geometry import TiltGeometry
from wedge.spheres import Spheres, chords, make_spheres, rasterize

SHAPE = (24, 40, 48)
ANGLES = tuple(np.linspace(-60, 60, 13))


def geometry_of(shape, angles=ANGLES, detector_width=None):
    return TiltGeometry(angles, (shape[1], detector_width or shape[2]), shape)


def one_sphere(shape, centre, outer, inner):
    return Spheres(shape, np.array([centre]), np.array([outer]), np.array([inner]))


@pytest.mark.parametrize("shape", [(8, 8, 8), (32, 128, 128), (64, 32, 200), (128, 512, 512)])
def test_spheres_lie_in_the_box_and_do_not_overlap(shape):
    spheres = make_spheres(shape, seed=4)
    radii, centres = spheres.outer_radii, spheres.centres
    assert len(radii) >= 1
    assert (np.abs(centres) + radii[:, None] <= np.array(shape) / 2).all()
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    apart = distance - radii[:, None] - radii[None]
    assert (apart[~np.eye(len(radii), dtype=bool)] > 0).all()
    assert ((spheres.inner_radii > 0) & (spheres.inner_radii < radii)).all()


def test_radii_vary_and_fill_a_fifth_of_the_box():
    spheres = make_spheres((32, 128, 128), seed=0)
    assert spheres.outer_radii.max() / spheres.outer_radii.min() > 2.5
    assert 4 / 3 * np.pi * (spheres.outer_radii**3).sum() / (32 * 128 * 128) == pytest.approx(0.2, abs=0.02)


def test_the_seed_decides():
    first, again, other = (make_spheres(SHAPE, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.centres, again.centres)
    assert not np.array_equal(first.centres, other.centres)


def test_voxels_hold_the_volume_of_the_shells():
    spheres = make_spheres(SHAPE, seed=1)
    slices = rasterize(spheres, 0, SHAPE[1])
    assert slices.shape == (40, 24, 48)
    assert slices.dtype == np.float32
    assert slices.sum(dtype=np.float64) == pytest.approx(spheres.total_density, rel=1e-3)
    assert slices.min() >= -1e-6
    assert slices.max() <= 1 + 1e-6


def test_density_is_one_in_the_shell_and_zero_elsewhere():
    slices = rasterize(one_sphere(SHAPE, (1.0, -3.0, 5.0), 9.0, 5.0), 0, SHAPE[1])
    y, z, x = (np.arange(n) - (n - 1) / 2 for n in slices.shape)
    distance = np.sqrt((y[:, None, None] + 3.0) ** 2 + (z[:, None] - 1.0) ** 2 + (x - 5.0) ** 2)
    assert (slices[(distance > 5.9) & (distance < 8.1)] == 1).all()
    assert (slices[(distance < 4.1) | (distance > 9.9)] == 0).all()


def test_voxels_on_a_surface_hold_the_share_inside():
    sphere = one_sphere((9, 9, 9), (0.3, -0.2, 0.1), 3.3, 1.6)
    fine = 40
    axis = (np.arange(9 * fine) + 0.5) / fine - 4.5
    distance_squared = (axis[:, None, None] + 0.2) ** 2 + (axis[:, None] - 0.3) ** 2 + (axis - 0.1) ** 2
    inside = (distance_squared < 3.3**2) & (distance_squared > 1.6**2)
    share = inside.reshape(9, fine, 9, fine, 9, fine).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(rasterize(sphere, 0, 9), share, atol=0.01)


def test_chords_sum_to_the_specimen_in_every_view():
    spheres = make_spheres(SHAPE, seed=3)
    sums = chords(spheres, geometry_of(SHAPE, detector_width=80), 0, SHAPE[1]).sum(axis=(0, 2), dtype=np.float64)
    np.testing.assert_allclose(sums, spheres.total_density, rtol=1e-4)


def test_chords_match_a_finely_sampled_projection():
    # Each of the specimen's points lands where the geometry says: an off-centre shell, sampled densely and counted per pixel.
    shape, centre = (16, 14, 20), np.array([2.2, -1.3, 3.7])
    sphere = one_sphere(shape, centre, 3.4, 1.7)
    geometry = TiltGeometry((-50.0, 0.0, 35.0), (14, 24), shape, axis_offset_pixels=1.25, volume_centre_pixels=(0.5, -0.75))
    points = np.random.default_rng(0).uniform(-3.5, 3.5, size=(3_000_000, 3))
    radius = np.linalg.norm(points, axis=1)
    points = points[(radius < 3.4) & (radius > 1.7)] + centre
    expected = np.empty((14, 3, 24))
    for view, theta in enumerate(geometry.tilt_angles_rad):
        s = (points[:, 2] - 0.75) * np.cos(theta) + (points[:, 0] + 0.5) * np.sin(theta) + 1.25
        edges = [np.arange(n + 1) - n / 2 for n in (14, 24)]
        expected[:, view] = np.histogram2d(points[:, 1], s, bins=edges)[0] * (7.0**3 / 3_000_000)
    found = chords(sphere, geometry, 0, 14)
    assert np.abs(found - expected).max() < 0.15  # five standard deviations of the sampling
    assert np.linalg.norm(found - expected) < 0.015 * np.linalg.norm(expected)


def test_chords_along_the_beam_match_the_voxels():
    spheres = make_spheres(SHAPE, seed=5)
    straight = chords(spheres, geometry_of(SHAPE, (0.0,)), 0, SHAPE[1])[:, 0]
    summed = rasterize(spheres, 0, SHAPE[1]).sum(axis=1)
    assert np.linalg.norm(straight - summed) < 0.01 * np.linalg.norm(summed)


def test_chords_beyond_the_detector_are_cut_off():
    spheres = make_spheres(SHAPE, seed=6)
    wide = chords(spheres, geometry_of(SHAPE), 0, SHAPE[1])
    narrow = chords(spheres, geometry_of(SHAPE, detector_width=20), 0, SHAPE[1])
    np.testing.assert_allclose(narrow, wide[:, :, 14:34], atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 16])
def test_rows_do_not_depend_on_slab_height(rows):
    spheres, geometry = make_spheres(SHAPE, seed=1), geometry_of(SHAPE)
    for function in (lambda a, b: rasterize(spheres, a, b), lambda a, b: chords(spheres, geometry, a, b)):
        whole = function(0, SHAPE[1])
        parts = [function(start, min(start + rows, SHAPE[1])) for start in range(0, SHAPE[1], rows)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_refuses_a_box_too_small_for_spheres():
    with pytest.raises(UsageError, match="8 voxels"):
        make_spheres((4, 64, 64), seed=0)


@pytest.mark.parametrize("fill", [0.0, 0.9])
def test_refuses_an_impossible_fill(fill):
    with pytest.raises(UsageError, match="fill"):
        make_spheres(SHAPE, seed=0, fill=fill)


def test_refuses_a_geometry_of_another_box():
    with pytest.raises(UsageError, match="don't fit"):
        chords(make_spheres(SHAPE, seed=0), geometry_of((24, 41, 48)), 0, 4)
