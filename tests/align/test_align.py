import numpy as np
import pytest
import torch

from wedge.align.predict import groups_of, predict_views
from wedge.align.refine import AlignSettings, align
from wedge.align.resample import moved_series
from wedge.align.transforms import ViewTransforms
from wedge.errors import InputError


def random_moves(count, seed, shift=4.0, turn=1.0):
    random = np.random.default_rng(seed)
    return ViewTransforms(random.uniform(-shift, shift, count), random.uniform(-shift, shift, count), random.uniform(-turn, turn, count))


def left(moves, found, angles):
    return moves.then(found).gauge_fixed(angles)


# Rows are few: in noise a turn of half a degree, a tenth of a pixel at their ends, is hardly seen.
@pytest.mark.parametrize(("snr", "bound", "turned"), [(None, 0.2, 0.3), (1.0, 0.3, 0.7)])
def test_random_moves_are_found(make_series, spoil, build_projector, snr, bound, turned):
    series = make_series()
    angles = series.geometry.tilt_angles_deg
    moves = random_moves(len(angles), 105)
    found = align(spoil(series, moves, snr), build_projector, AlignSettings(with_density=False))
    rest = left(moves, found.transforms, angles)
    assert found.applied
    assert found.error_after < found.error_before
    assert np.sqrt(np.mean(rest.dx_pixels**2)) < bound
    assert np.sqrt(np.mean(rest.dy_pixels**2)) < bound
    assert rest.without_lean(angles).rms_rotation() < turned * moves.without_lean(angles).rms_rotation()


def test_an_aligned_series_is_left_alone(make_series, spoil, build_projector):
    series = make_series()
    series = spoil(series, ViewTransforms.identity(series.geometry.num_tilts), 1.0)
    found = align(series, build_projector)
    assert not found.applied
    assert not found.transforms.moves
    assert moved_series(series, found.transforms) is series


def test_the_moves_found_contain_no_translation_of_the_specimen(make_series, spoil, build_projector):
    series = make_series()
    angles = series.geometry.tilt_angles_deg
    settings = AlignSettings(finest=2, rounds=3, rotation=False, with_density=False)
    found = align(spoil(series, random_moves(len(angles), 106, 2.0, 0.0)), build_projector, settings)
    assert found.transforms.moves
    again = found.transforms.gauge_fixed(angles)
    assert np.allclose(again.dx_pixels, found.transforms.dx_pixels, atol=1e-9)
    assert not found.transforms.rotation_deg.any()


def test_no_view_is_predicted_from_itself(make_series, build_projector):
    series = make_series()
    projector = build_projector(series.geometry, torch.device("cpu"))
    views = torch.from_numpy(np.asarray(series.array).transpose(1, 0, 2).copy())
    other = views.clone()
    other[:, 10] = 0
    before, after = (predict_views(each, projector, series.geometry) for each in (views, other))
    assert torch.equal(before[:, 10], after[:, 10])
    assert not torch.equal(before[:, 9], after[:, 9])


def test_neighbours_in_angle_are_of_different_groups():
    groups = groups_of((0.0, 30.0, -30.0, 10.0, -10.0), 3)
    by_angle = groups[np.argsort((0.0, 30.0, -30.0, 10.0, -10.0))]
    assert (np.diff(by_angle) != 0).all()


def test_a_few_views_are_refused(make_series, build_projector):
    with pytest.raises(InputError, match="too few views"):
        align(make_series(count=4), build_projector)


def test_constant_views_are_refused(make_series, build_projector):
    series = moved_series(make_series(), ViewTransforms.identity(21))
    blank = type(series)(np.ones_like(series.array), series.geometry)
    with pytest.raises(InputError, match="constant"):
        align(blank, build_projector)
