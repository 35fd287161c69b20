from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.align.candidates import Hand, candidates, hands
from wedge.align.check import Fit, _Trial, check_geometry
from wedge.align.correct import compare_hands, corrected
from wedge.align.levels import read_views
from wedge.align.refine import AlignSettings, align
from wedge.align.transforms import ViewTransforms
from wedge.data import Volume
from wedge.errors import InputError
from wedge.geometry import TiltGeometry
from wedge.spheres import make_spheres, rasterize

SMALL = (12, 24, 40)


@pytest.fixture(scope="module")
def check(build_projector):
    return lambda series, reach=5.0: check_geometry(series, build_projector, max_offset_pixels=reach)


def with_array(series, array):
    rows, columns = array.shape[1:]
    depth = series.geometry.volume_shape[0]
    geometry = replace(series.geometry, detector_shape=(rows, columns), volume_shape=(depth, rows, columns))
    return replace(series, array=np.ascontiguousarray(array), geometry=geometry)


def one_side_mirrored(series, axis):
    negative = np.asarray(series.geometry.tilt_angles_deg) < 0
    return with_array(series, np.where(negative[:, None, None], np.flip(series.array, axis), series.array))


def test_what_was_measured_on_rays_without_weight_matters_neither_to_the_check_nor_to_alignment(make_series, build_projector):
    series = make_series(shape=SMALL, count=7)
    weights = np.ones(series.array.shape, np.float32)
    weights[2, 8:12, 10:14] = 0
    weights[5, 3:6, 20:30] = 0
    found = []
    for array in (series.array, series.array + np.where(weights == 0, 1e5, 0).astype(np.float32)):
        masked = replace(series, array=array, weights=weights)
        check = check_geometry(masked, build_projector, max_offset_pixels=1.0)
        moves = align(masked, build_projector, settings=AlignSettings(rounds=1)).transforms
        found.append(([fit.error for fit in check.fits], moves.dx_pixels.tolist(), moves.dy_pixels.tolist(), moves.rotation_deg.tolist()))
    assert found[0] == found[1]


def test_a_right_geometry_fits_as_given(make_series, check):
    found = check(make_series(shape=SMALL, count=15), 2.0)
    assert found.chosen is found.given


def test_a_shifted_axis_is_found_and_goes_into_the_geometry(make_series, check):
    series = make_series(3.5, shape=SMALL, count=21)
    found = check(series)
    assert found.chosen.candidate.name == "axis along y"
    assert found.chosen.axis_offset_pixels == pytest.approx(3.5, abs=0.5)
    fixed = corrected(series, found.chosen)
    assert fixed.geometry.axis_offset_pixels == found.chosen.axis_offset_pixels
    if not found.chosen.axis_turn_deg:
        assert np.array_equal(fixed.array, series.array)


def test_a_turned_axis_is_found(make_series, spoil, check):
    series = make_series(shape=(12, 40, 40), count=15)
    none = np.zeros(series.geometry.num_tilts)
    found = check(spoil(series, ViewTransforms(none, none, none + 3)), 0.0)
    assert found.chosen.candidate.name == "axis along y"
    assert found.chosen.axis_turn_deg == pytest.approx(3, abs=0.7)


def test_a_turned_axis_is_turned_back(make_series, spoil):
    series = make_series(shape=SMALL, count=5)
    none = np.zeros(5)
    turned = spoil(series, ViewTransforms(none, none, none + 3))
    fixed = corrected(turned, Fit(candidates(series.geometry)[0], 0.0, 3.0, 0.0, 0.0))
    apart = [np.std((each.array - series.array)[:, 4:-4, 4:-4]) for each in (turned, fixed)]
    assert apart[1] < 0.3 * apart[0]


def test_an_axis_along_x_is_found_and_the_views_are_turned(make_series, check):
    series = make_series(shape=SMALL, count=15)
    lying = with_array(series, np.rot90(series.array, -1, (1, 2)))
    found = check(lying, 0.0)
    assert found.chosen.candidate.name == "axis along x"
    fixed = corrected(lying, replace(found.chosen, axis_turn_deg=0.0))
    assert np.array_equal(fixed.array, series.array)
    assert fixed.geometry.volume_shape == series.geometry.volume_shape


@pytest.mark.parametrize(("axis", "name"), [(2, "x"), (1, "y")])
def test_views_of_one_side_mirrored_are_found(make_series, check, axis, name):
    series = make_series(shape=SMALL, count=15)
    found = check(one_side_mirrored(series, axis), 0.0)
    assert found.chosen.candidate.name == f"one side mirrored in {name}"
    fixed = corrected(one_side_mirrored(series, axis), replace(found.chosen, axis_turn_deg=0.0))
    assert np.array_equal(fixed.array, series.array)


def test_angles_in_the_wrong_order_are_found(make_series, check):
    series = make_series(shape=SMALL, count=15)
    angles = series.geometry.tilt_angles_deg
    shuffled = tuple(np.random.default_rng(0).permutation(angles))
    found = check(replace(series, geometry=replace(series.geometry, tilt_angles_deg=shuffled)), 0.0)
    assert found.chosen.candidate.name == "views in order of angle"
    assert corrected(series, found.chosen).geometry.tilt_angles_deg == angles


@pytest.mark.parametrize("hand", [Hand(angle_sign=True), Hand(mirror_x=True, mirror_y=True)])
def test_a_reference_tells_what_the_views_cannot(make_series, check, hand):
    series = make_series(shape=SMALL, count=15)
    array, geometry = series.array, hand.geometry(series.geometry)
    axes = [axis for axis, is_so in ((1, hand.mirror_y), (2, hand.mirror_x)) if is_so]
    spoilt = replace(series, array=np.ascontiguousarray(np.flip(array, axes)), geometry=geometry)
    found = check(spoilt, 0.0)
    spheres = make_spheres(SMALL, 100)
    truth = Volume(np.ascontiguousarray(rasterize(spheres, 0, SMALL[1]).transpose(1, 0, 2)))
    told = compare_hands(found, truth)
    assert told[0].hand == hand
    assert told[0].correlation > told[1].correlation + 0.1
    fixed = corrected(spoilt, replace(found.given), told[0].hand)
    assert np.array_equal(fixed.array, series.array)
    assert fixed.geometry.tilt_angles_deg == series.geometry.tilt_angles_deg


def test_readings_that_views_cannot_tell_apart_fit_equally_well(make_series, build_projector):
    series = make_series(shape=SMALL, count=15)
    errors = []
    for hand in hands():
        axes = [axis for axis, is_so in ((1, hand.mirror_y), (2, hand.mirror_x)) if is_so]
        other = replace(series, array=np.ascontiguousarray(np.flip(series.array, axes)), geometry=hand.geometry(series.geometry))
        device = torch.device("cpu")
        trial = _Trial(candidates(other.geometry)[0], read_views(other, device), other, build_projector, device, 0.0)
        errors.append(trial.fit(0.0, 0.0).error)
        trial.close()
    assert np.ptp(errors) < 0.02 * np.mean(errors)


def test_ordered_angles_and_one_sided_series_offer_fewer_candidates():
    names = [each.name for each in candidates(TiltGeometry((0.0, 10.0, 20.0), (8, 8), (8, 8, 8)))]
    assert names == ["axis along y", "axis along x"]
    names = [each.name for each in candidates(TiltGeometry((0.0, 10.0, -10.0), (8, 8), (8, 8, 8)))]
    assert "views in order of angle" in names


@pytest.mark.parametrize("hand", hands(), ids=lambda hand: hand.name)
def test_a_hand_turns_the_box_with_the_specimen(hand):
    geometry = TiltGeometry((-50.0, 10.0, 30.0), (7, 20), (6, 7, 9), axis_offset_pixels=1.5).with_volume((6, 7, 9), 1.0, (5.0, -6.0))

    def seen(geometry, z, x):
        centre_z, centre_x = geometry.volume_centre_pixels
        angles = geometry.tilt_angles_rad
        return (x - 4 + centre_x) * np.cos(angles) + (z - 2.5 + centre_z) * np.sin(angles) + geometry.axis_offset_pixels

    z, x = 1, 7
    flips = hand.volume_flips
    other = seen(hand.geometry(geometry), 5 - z if 1 in flips else z, 8 - x if 2 in flips else x)
    np.testing.assert_allclose(other, -seen(geometry, z, x) if hand.mirror_x else seen(geometry, z, x))


def test_a_reference_is_compared_at_its_own_voxel_size(make_series, check):
    series = make_series(shape=SMALL, count=15)
    series = replace(series, geometry=replace(series.geometry, pixel_size_angstrom=4.0))
    found = check(series, 0.0)
    density = rasterize(make_spheres(SMALL, 100), 0, SMALL[1]).transpose(1, 0, 2)
    coarse = density.reshape(SMALL[0] // 2, 2, SMALL[1] // 2, 2, SMALL[2] // 2, 2).mean(axis=(1, 3, 5))
    fine = np.repeat(np.repeat(np.repeat(density, 2, 0), 2, 1), 2, 2)
    same = compare_hands(found, Volume(density, 4.0))[0]
    finer = compare_hands(found, Volume(fine, 2.0))[0]
    assert finer.hand == same.hand
    assert finer.correlation == pytest.approx(same.correlation, abs=1e-4)
    if found.binning == 1:
        with pytest.raises(InputError, match="voxel size"):
            compare_hands(found, Volume(coarse, 8.0))
    with pytest.raises(InputError, match="voxel size"):
        compare_hands(found, Volume(coarse, 4.0 * found.binning * 3))
