"""Laws of the settings that held-out views choose."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import DeviceError
from wedge.fit.batches import steps_per_pass
from wedge.fit.build import Plugins, build_fit, build_projectors
from wedge.fit.data_term import split_parts
from wedge.fit.margin import judging_weights
from wedge.fit.normalization import Normalization
from wedge.fit.sample import busiest_rows, rows_of
from wedge.fit.search import Search
from wedge.fit.settings import left_to_the_data, validate
from wedge.fit.trials import Trials, split_views, views_to_judge_by
from wedge.fit.tuning import choose_fine, choose_noisy, tune_network
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

CPU = torch.device("cpu")


def test_judges_are_the_outermost_views_and_some_between():
    angles = [3.0 * view for view in range(41)][::-1]
    judges = views_to_judge_by(angles)
    assert {angles[view] for view in judges} >= {0.0, 120.0}
    assert 4 <= len(judges) <= 8
    assert views_to_judge_by([0.0, 1.0, 2.0, 3.0]) == []


def test_views_are_split_without_loss():
    geometry = TiltGeometry(tuple(range(0, 60, 5)), (2, 4), (3, 2, 4))
    tilts = TiltSeries(np.arange(12)[:, None, None] * np.ones((12, 2, 4), np.float32), geometry)
    kept, held = split_views(tilts, [0, 11, 5])
    assert held.held_out
    assert not kept.held_out
    seen = [int(part.series.array[view, 0, 0]) for part in (kept, held) for view in range(part.geometry.num_tilts)]
    assert sorted(seen) == list(range(12))
    assert held.geometry.tilt_angles_deg == (0.0, 25.0, 55.0)


def test_search_finds_the_lowest_and_never_asks_twice():
    asked = []

    def error(setting):
        asked.append(dict(setting))
        return (np.log(setting["a"]) - np.log(3.0)) ** 2 + (setting["b"] - 2) ** 2

    search = Search(error)
    setting = search.along({"a": 0.1, "b": 0.0}, "a", (0.1, 0.3, 1.0, 3.0, 10.0))
    setting = search.along(setting, "b", (0.0, 1.0, 2.0, 3.0))
    assert setting == {"a": 3.0, "b": 2.0}
    again = search.along(setting, "a", (0.1, 0.3, 1.0, 3.0, 10.0))
    assert again == setting
    assert len(asked) == len({tuple(sorted(one.items())) for one in asked})


def test_a_step_must_be_worth_it_beyond_the_noise():
    def better(error: float, than: float, noise: float) -> bool:
        return Search(lambda setting: setting["error"], noise).better({"error": error}, {"error": than})

    assert better(9.95, 10.0, 0.0)
    assert not better(9.97, 10.0, 0.0)
    # Of 10, 9 are noise whatever the setting: what is to be compared is 1.
    assert better(9.97, 10.0, 9.0)
    assert not better(9.997, 10.0, 9.0)
    assert not better(10.0, 10.0, 11.0)


def largest_alike(errors: dict[float, float], start: float, noise: float = 0.0) -> float:
    search = Search(lambda setting: errors[setting["weight"]], noise)
    return search.largest_alike({"weight": start}, "weight", sorted(errors))["weight"]


def test_the_largest_weight_is_taken_that_views_cannot_tell_from_the_best():
    errors = {0.1: 5.0, 1.0: 1.0, 2.0: 1.02, 4.0: 1.2, 8.0: 1.0}
    assert largest_alike(errors, 1.0) == 2.0
    # What is worse ends the walk: beyond it is another minimum.
    assert largest_alike(errors, 4.0) == 8.0
    # Alike is measured from the lowest error on the way.
    assert largest_alike({1.0: 1.0, 2.0: 0.9, 4.0: 0.94, 8.0: 0.92}, 1.0) == 2.0
    # Where most of the error is noise, less of it makes a difference.
    assert largest_alike(errors, 1.0, noise=0.9) == 1.0
    # Errors far below it say that it is not noise.
    assert largest_alike(errors, 1.0, noise=3.0) == 2.0


def test_what_is_given_is_not_left_to_the_data():
    settings = {"tune": ["blur_voxels", "regularizer", "weighting", "strength"]}
    assert left_to_the_data(settings, [])["tune"] == settings["tune"]
    assert left_to_the_data(settings, [{"blur_voxels": 0.5}, {"data_term": {"rolloff": 0.1}}])["tune"] == ["regularizer", "strength"]
    assert left_to_the_data(settings, [{"regularizers": []}])["tune"] == ["blur_voxels", "weighting", "strength"]
    assert left_to_the_data({"tune": ["steps", "strength"]}, [{"learning_rate": 0.1}])["tune"] == ["strength"]
    assert left_to_the_data({"tune": ["steps", "strength"]}, [{"batch_rows": 4}])["tune"] == ["strength"]
    assert "tune" not in left_to_the_data(settings, [{"tune": []}])
    assert left_to_the_data(settings, [{"network": {"name": "siren"}}])["method"] == "network"


def test_busiest_rows_hold_the_specimen():
    geometry = TiltGeometry((-10.0, 0.0, 10.0), (64, 8), (6, 64, 8))
    views = np.zeros((3, 64, 8), np.float32)
    views[:, 40:56, 2:5] = 1.0
    tilts = TiltSeries(views, geometry)
    rows = busiest_rows(tilts, 16)
    assert len(rows) == 16
    assert rows.start + 8 in range(40, 56)
    cut = rows_of(tilts, rows)
    assert cut.geometry.volume_shape == (6, 16, 8)
    assert np.array_equal(cut.array, views[:, rows.start : rows.stop])
    assert busiest_rows(tilts, 100) == range(64)


def views_of(density):
    """Return the views of ``(y, z, x)`` density, and the plain grid with its projector."""
    rows, num_z, num_x = density.shape
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 31)), (rows, num_x), (num_z, rows, num_x))
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    projector = registry.resolve("projector", "torch", {"cache": False})
    views = projector.build(geometry, CPU).project(torch.from_numpy(density.astype(np.float32))).numpy()
    return TiltSeries(np.ascontiguousarray(views.transpose(1, 0, 2)), geometry), Plugins(registry.resolve("network", "voxel"), projector)


def test_a_fit_that_has_no_room_after_the_trials_is_refused_before_them():
    tilts, plugins = views_of(np.ones((8, 8, 12)))
    config = voxels(regularizers=[], batch_rows="auto")
    for full_rows, refused in ((8, False), (10**8, True)):
        trials = Trials(tilts, plugins, config, Normalization(0.0, 1.0, True), CPU, 8 * 2**30, full_rows)
        with pytest.raises(DeviceError, match="memory limit") if refused else nullcontext():
            assert np.isfinite(trials.error({}, 1))
        trials.close()


@pytest.mark.parametrize(("margin", "alike"), [(4, True), (0, False)])
def test_rays_that_run_beside_the_volume_do_not_judge_a_field_that_is_wider(margin, alike):
    tilts, plugins = views_of(np.ones((4, 4, 24)))
    spoilt = np.array(tilts.array)
    for view in views_to_judge_by(tilts.geometry.tilt_angles_deg):
        spoilt[view, :, judging_weights(tilts.geometry, 4)[view] == 0] += 1e3
    assert not np.array_equal(spoilt, tilts.array)
    config = voxels(regularizers=[], batch_rows="auto", margin=margin)
    errors = []
    for array in (tilts.array, spoilt):
        trials = Trials(TiltSeries(array, tilts.geometry), plugins, config, Normalization(0.0, 1.0, True), CPU, 8 * 2**30, 4)
        errors.append(trials.error({}, 1))
        trials.close()
    assert (errors[0] == errors[1]) is alike


@pytest.mark.parametrize("batch_rows", [2, "auto"])
def test_the_gradient_floor_is_in_units_of_one_over_the_voxels_of_a_batch(batch_rows):
    tilts, plugins = views_of(np.ones((16, 8, 12)))
    parts = build_projectors(split_parts(tilts, 0.0), plugins, {1}, CPU)
    for floor, epsilon in ((0.5, 0.5 / (2 * 8 * 12)), (0.0, 1e-8)):
        config = voxels(regularizers=[], batch_rows=batch_rows, gradient_floor=floor, oversampling=1)
        fit = build_fit(tilts, plugins, config, Normalization(0.0, 1.0, True), parts, CPU, 8 * 2**30, 0)
        assert fit.optimizer.param_groups[0]["eps"] == pytest.approx(epsilon)


@pytest.mark.parametrize(("width", "least", "most"), [(1.2, 0.8, 1.2), (0.0, 0.0, 0.0)])
def test_smooth_specimens_are_made_of_blobs_and_those_of_single_voxels_are_not(width, least, most):
    random = np.random.default_rng(0)
    density = np.zeros((16, 16, 24))
    z, x = np.meshgrid(np.arange(16), np.arange(24), indexing="ij")
    if width:
        for _ in range(6):
            distance = np.hypot(z - random.uniform(5, 11), x - random.uniform(6, 18))
            density += np.exp(-0.5 * (distance / width) ** 2)
    else:
        density[:, 4:12, 4:20] = random.random((16, 8, 16)) < 0.05
    tilts, plugins = views_of(density)
    config = validate(
        {
            "network": {"name": "voxel"},
            "projector": {"name": "torch"},
            "tune": ["blur_voxels"],
            "passes": 60,
            "learning_rate": 0.02,
            "batch_rows": "auto",
        }
    )
    chosen, told = tune_network(tilts, plugins, config, Normalization(0.0, float(density.max()), True), 1e4, 0.0, CPU, 2**32, 16)
    assert least <= chosen.blur_voxels <= most
    assert chosen.tune == ()
    assert told["blur_voxels"] == chosen.blur_voxels
    assert {"blur_voxels", "held_out_error"} <= told["trials"][0].keys()


@pytest.mark.parametrize("batch_rows", ["auto", 1, 5, 7, 8, 10, 13, 20])
def test_trials_take_the_steps_of_the_fit_that_they_stand_for(monkeypatch, batch_rows):
    found = []

    def error(self, setting, passes):
        config = self.config.model_copy(update={"passes": passes})
        found.append(math.ceil(config.passes * steps_per_pass(8, config.rows_per_step(8))))
        return 1.0

    monkeypatch.setattr(Trials, "error", error)
    tilts, plugins = views_of(np.ones((8, 8, 12)))
    config = voxels(tune=["blur_voxels"], batch_rows=batch_rows, oversampling=1)
    tune_network(tilts, plugins, config, Normalization(0.0, 1.0, True), 1e4, 0.0, CPU, 2**32, 40)
    assert set(found) == {240}


@pytest.mark.parametrize("batch_rows", ["auto", 5, 20])
def test_the_last_trials_take_all_the_steps_of_the_fit(monkeypatch, batch_rows):
    found = []

    def error(self, setting, passes):
        config = self.config.model_copy(update={"passes": passes})
        found.append((bool(setting.get("whole")), math.ceil(config.passes * steps_per_pass(8, config.rows_per_step(8)))))
        return 1.0

    monkeypatch.setattr(Trials, "error", error)
    tilts, plugins = views_of(np.ones((8, 8, 12)))
    config = voxels(tune=["regularizer"], batch_rows=batch_rows, passes=100)
    tune_network(tilts, plugins, config, Normalization(0.0, 1.0, True), 1e4, 0.0, CPU, 2**32, 40)
    whole = 100 * steps_per_pass(40, config.rows_per_step(40))
    assert {steps for long, steps in found if long} == {whole}
    assert {steps for long, steps in found if not long} == {480}


ALL = {"blur_voxels", "regularizer", "weighting", "steps", "oversampling"}


def voxels(**settings):
    tv = [{"name": "tv", "weight": 0.003}]
    return validate({"network": {"name": "voxel"}, "projector": {"name": "torch"}, "regularizers": tv, "oversampling": 2, **settings})


def bowl(blur: float, weight: float, rolloff: float | None = None):
    """Return an error that is lowest at a blur, a weight and a roll-off."""

    def error(setting):
        far = 30 * (setting["blur_voxels"] - blur) ** 2 + np.log(setting["regularizer"] / weight) ** 2
        return 1 + far + (setting.get("rolloff") != rolloff)

    return Search(error)


@pytest.mark.parametrize("rolloff", [None, 0.15])
@pytest.mark.parametrize("blur", [0.0, 0.6, 1.2, 2.2])
@pytest.mark.parametrize("weight", [0.0032, 0.1])
def test_little_noise_settles_on_the_lowest_error_wherever_it_begins(rolloff, blur, weight):
    chosen = choose_fine(bowl(blur, weight, rolloff), voxels(), ALL, 60.0)
    assert chosen["blur_voxels"] == blur
    # The smoothest that is alike, which is at most the next one of the ladder.
    assert weight <= chosen["regularizer"] < 2 * weight
    assert chosen["rolloff"] == rolloff
    assert chosen["oversampling"] == 2


def test_of_weights_that_views_cannot_tell_apart_the_smoothest_is_taken():
    def error(setting):
        return 1.0 + (setting["blur_voxels"] - 0.8) ** 2 + (setting["regularizer"] > 0.02)

    assert choose_fine(Search(error), voxels(), ALL, 1e4)["regularizer"] == 0.018


def test_whole_fits_tell_whether_shorter_ones_asked_for_too_much():
    """The longer a fit, the less smoothing it needs; and a little less is no reason to change it."""

    def error(setting):
        best = 0.01 if setting.get("whole") else 0.1
        return 1.0 + (setting["blur_voxels"] - 0.8) ** 2 + np.log(setting["regularizer"] / best) ** 2

    search = Search(error)
    assert choose_fine(search, voxels(), ALL, 1e4)["regularizer"] == 0.01
    whole = [setting for setting, _ in search.tried if setting.get("whole")]
    assert {setting["oversampling"] for setting in whole} == {2}
    assert max(setting["regularizer"] for setting in whole) >= 0.1


def test_less_is_asked_for_only_where_it_is_worth_more_than_what_is_alike():
    for gain, expected in ((0.02, 4.0), (0.05, 2.0)):
        errors = {1.0: 2.0, 2.0: 1.0 - gain, 4.0: 1.0, 8.0: 0.1}
        assert Search(lambda setting, errors=errors: errors[setting["w"]]).lowered({"w": 4.0}, "w", sorted(errors)) == {"w": expected}
    # What both hold of noise does not count, unless they show that it is none.
    for noise, expected in ((0.0, 4.0), (0.6, 2.0), (10.0, 4.0)):
        errors = {2.0: 0.98, 4.0: 1.0}
        found = Search(lambda setting, errors=errors: errors[setting["w"]], noise).lowered({"w": 4.0}, "w", sorted(errors))
        assert found == {"w": expected}


def test_a_blur_that_stood_for_smoothing_goes_once_there_is_some():
    def error(setting):
        best = 0.5 if setting["regularizer"] < 0.01 else 0.0
        return 1.0 + (setting["blur_voxels"] - best) ** 2 + np.log(setting["regularizer"] / 0.032) ** 2

    chosen = choose_fine(Search(error), voxels(), ALL, 1e4)
    assert (chosen["blur_voxels"], chosen["regularizer"]) == (0.0, 0.032)


@pytest.mark.parametrize("share", [0.85, 0.6, 0.3])
def test_steps_that_overshoot_are_made_smaller_where_they_are_left_to_the_data(share):
    config = voxels(coarse_start=1.0)

    def error(setting):
        overshot = np.log(setting.get("learning_rate", 1.0) / (share * config.learning_rate)) ** 2
        return 1.0 + setting["blur_voxels"] + np.log(setting["regularizer"] / 0.01) ** 2 + overshot

    assert choose_fine(Search(error), config, ALL, 1e4)["learning_rate"] == pytest.approx(share * config.learning_rate)
    assert "learning_rate" not in choose_fine(Search(error), config, ALL - {"steps"}, 1e4)
    # From nothing there is far to go.
    assert "learning_rate" not in choose_fine(Search(error), voxels(), ALL, 1e4)


def test_noise_free_views_are_never_tried_with_the_ramp_rolled_off():
    search = bowl(0.8, 0.0032)
    assert choose_fine(search, voxels(), ALL, 1e4)["rolloff"] is None
    assert all(setting["rolloff"] is None for setting, _ in search.tried)


@pytest.mark.parametrize(("blur", "factor"), [(0.5, 2), (1.5, 1)])
def test_in_noise_a_finer_lattice_is_for_fine_detail_alone(blur, factor):
    chosen = choose_noisy(bowl(blur, 0.32), voxels(), ALL)
    assert (chosen["blur_voxels"], chosen["regularizer"], chosen["oversampling"]) == (blur, 0.32, factor)
    assert choose_noisy(bowl(blur, 0.32), voxels(), ALL - {"oversampling"})["oversampling"] == 2


def test_what_is_told_is_what_all_trials_have():
    for choose in (
        lambda search: choose_fine(search, voxels(blur_voxels=0.3), ALL - {"blur_voxels"}, 60.0),
        lambda search: choose_noisy(search, voxels(blur_voxels=0.3), ALL - {"blur_voxels"}),
    ):
        search = bowl(1.0, 0.1)
        assert choose(search)["blur_voxels"] == 0.3
        assert {setting["blur_voxels"] for setting, _ in search.tried} == {0.3}
