import json

import numpy as np
import pytest
import torch

from wedge import store
from wedge.align import refine
from wedge.align.joint import JointLevel
from wedge.align.levels import box_of, make_level, read_views
from wedge.align.refine import AlignSettings, align
from wedge.align.slow_modes import slow_modes
from wedge.align.transforms import ViewTransforms
from wedge.align.with_density import Refined, refine_with_density
from wedge.data import TiltSeries
from wedge.geometry import TiltGeometry

SMALL = (8, 24, 32)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def series(make_series):
    return make_series(count=15, shape=SMALL)


def slow_error(angles, pixels):
    """Return an error that neighbouring views share: a shifted axis, less what a translation of the specimen explains."""
    mode = slow_modes(angles, rotation=False)[0]
    return mode.scaled(pixels / 0.5)


def joint_level(series, build_projector):
    views = read_views(series, CPU)
    level = make_level(views, box_of(series, views), 1, 0.0)
    return JointLevel(level.views, level.geometry, build_projector(level.geometry, CPU))


def refined(series, build_projector, start=None, **options):
    views = read_views(series, CPU)
    start = start or ViewTransforms.identity(views.shape[1])
    return refine_with_density(views, box_of(series, views), 0.0, start, build_projector, **options)


def rms_x(transforms, angles):
    return float(np.sqrt(np.mean(transforms.gauge_fixed(angles).dx_pixels ** 2)))


def test_an_error_that_neighbours_share_is_found(series, spoil, build_projector):
    angles = series.geometry.tilt_angles_deg
    error = slow_error(angles, 1.0)
    found = refined(spoil(series, error, 4.0), build_projector)
    assert found.applied
    assert rms_x(error, angles) > 0.9
    assert rms_x(error.then(found.transforms), angles) < 0.1
    assert found.told["moved_slowly_pixels"] > 0.9
    assert 0 < found.told["precision_of_slow_pixels"] < 0.1


def test_a_step_of_newton_takes_back_most_of_a_slow_error_and_tells_how_far_it_is_known(series, spoil, build_projector):
    angles = series.geometry.tilt_angles_deg
    level, none = joint_level(spoil(series, slow_error(angles, 0.5), 4.0), build_projector), ViewTransforms.identity(15)
    level.look(none)
    along, known = level.slow_step(none, [slow_error(angles, 0.5)])
    assert -1.2 < along[0] < -0.5
    assert 0 < known[0] < 0.2


def test_much_larger_pixels_than_those_of_the_matching_move_views_only_together(series, spoil, build_projector):
    angles = series.geometry.tilt_angles_deg
    error = slow_error(angles, 1.0)
    spoiled = spoil(series, error, 4.0)
    at_random = ViewTransforms(*(0.2 * np.random.default_rng([9, which]).normal(size=len(angles)) for which in range(3)))
    found = refined(spoiled, build_projector, at_random, matched_binning=0.25)
    moved = found.transforms.then(at_random, -1.0).gauge_fixed(angles)
    assert found.applied
    assert rms_x(moved, angles) > 0.8
    assert np.abs(moved.dy_pixels).max() < 0.02  # all but what turning back makes of the shifts
    assert np.abs(moved.rotation_deg).max() < 1e-9
    assert "only what changes slowly counts" in found.reason


def test_an_aligned_series_is_left_alone_with_noise_and_without(series, spoil, build_projector):
    none = ViewTransforms.identity(15)
    for snr in (None, 1.0):
        found = refined(spoil(series, none, snr), build_projector)
        assert not found.applied
        assert found.transforms is not None
        assert not found.transforms.moves
        assert "too little" in found.reason


def test_what_is_moved_anyway_goes_where_it_most_probably_belongs(series, spoil, build_projector):
    angles = series.geometry.tilt_angles_deg
    random = np.random.default_rng(7)
    made = ViewTransforms(random.uniform(-3, 3, 15), random.uniform(-3, 3, 15), np.zeros(15))
    rest = ViewTransforms(random.normal(scale=0.2, size=15), random.normal(scale=0.2, size=15), np.zeros(15))
    start = ViewTransforms(rest.dx_pixels - made.dx_pixels, rest.dy_pixels - made.dy_pixels, np.zeros(15)).gauge_fixed(angles)
    found = refined(spoil(series, made, 4.0), build_projector, start)
    assert found.applied
    before, after = (made.then(each).gauge_fixed(angles).rms_shift() for each in (start, found.transforms))
    assert after < 0.6 * before


@pytest.mark.parametrize(("count", "shape"), [(5, (4, 1, 24)), (9, (4, 3, 17))])
def test_noise_alone_moves_nothing_however_thin(build_projector, count, shape):
    geometry = TiltGeometry(tuple(np.linspace(-50, 50, count)), shape[1:], shape)
    views = np.random.default_rng(9).normal(size=(count, *shape[1:])).astype(np.float32)
    found = refined(TiltSeries(views, geometry), build_projector)
    assert not found.applied
    assert np.isfinite([found.told["moved_pixels"], found.told["precision_pixels"]]).all()


def test_the_misfit_is_lowest_where_views_agree(series, build_projector):
    angles = series.geometry.tilt_angles_deg
    level, none = joint_level(series, build_projector), ViewTransforms.identity(15)
    level.look(none)
    least = level.misfit(none)
    for pixels in (-1.0, 1.0):
        assert level.misfit(slow_error(angles, pixels)) > least
    single = ViewTransforms(np.eye(15)[4], np.zeros(15), np.zeros(15))
    assert level.misfit(single) > least


def test_a_step_undoes_small_moves_and_its_halves_agree(series, spoil, build_projector):
    angles = series.geometry.tilt_angles_deg
    random = np.random.default_rng(8)
    made = ViewTransforms(random.uniform(-0.4, 0.4, 15), random.uniform(-0.4, 0.4, 15), np.zeros(15)).gauge_fixed(angles)
    level, none = joint_level(spoil(series, made), build_projector), ViewTransforms.identity(15)
    level.look(none)
    for half in (None, 0, 1):
        step = level.step(none, rotation=False, half=half).gauge_fixed(angles)
        assert made.then(step).gauge_fixed(angles).rms_shift() < 0.6 * made.rms_shift()
    assert not step.rotation_deg.any()


def test_the_same_is_found_again(series, spoil, build_projector):
    angles = series.geometry.tilt_angles_deg
    level, none = joint_level(spoil(series, slow_error(angles, 1.0), 4.0), build_projector), ViewTransforms.identity(15)
    level.look(none)
    steps = [level.step(none, rotation=True) for _ in range(2)]
    np.testing.assert_array_equal(steps[0].dx_pixels, steps[1].dx_pixels)
    slow = [level.slow_step(none, slow_modes(angles, rotation=False)[:2]) for _ in range(2)]
    np.testing.assert_array_equal(slow[0][0], slow[1][0])
    assert (slow[0][1] > 0).all()


def test_the_held_out_error_can_forbid(series, build_projector, monkeypatch):
    far = ViewTransforms(3.0 * np.resize([1.0, -1.0], 15), np.zeros(15), np.zeros(15))
    monkeypatch.setattr(refine, "refine_with_density", lambda *args, **options: Refined(far, True, "they move", {}))
    found = align(series, build_projector, AlignSettings(rounds=1, coarse=False))
    assert not found.transforms.moves
    assert found.with_density == {"applied": False}
    assert "left" in found.reason


def test_align_says_how_far_views_moved_with_the_density(series, spoil, wedge, tmp_path):
    given = spoil(series, ViewTransforms.identity(15), 4.0)
    with store.create_tilts(tmp_path / "tilts.zarr", series.geometry) as writer:
        writer.write_rows(0, np.ascontiguousarray(given.array.transpose(1, 0, 2)))
        writer.commit({})
    words = ("align", tmp_path / "tilts.zarr", "--rounds", "1", "--json")
    with_density = wedge(*words, "-o", tmp_path / "together.zarr")
    matched = wedge(*words, "-o", tmp_path / "matched.zarr", "--matching-only")
    assert with_density.code == matched.code == 0
    told = json.loads(with_density.out)["with_density"]
    assert told["moved_pixels"] > 0
    assert told["precision_pixels"] > 0
    assert json.loads(matched.out)["with_density"] is None
    record = store.open_tilts(tmp_path / "together.zarr").provenance
    assert record["alignment"]["with_density"] == told
    assert record["config"]["with_density"] is True
