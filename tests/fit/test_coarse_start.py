"""A fit that begins with what coarser volumes show: how far they are from what they show, and who begins with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from wedge_networks.voxel import Voxel, VoxelOptions

from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fit.build import Plugins, build_fit, build_projectors
from wedge.fit.coarse_start import _enlarged, coarse_density, coarse_levels, relative_cost
from wedge.fit.data_term import whole_part
from wedge.fit.loop import Fit, predict
from wedge.fit.model import Field
from wedge.fit.normalization import Normalization
from wedge.fit.sampling import Sampling
from wedge.fit.settings import validate
from wedge.fit.trials import Trials
from wedge.geometry import TiltGeometry
from wedge.lattice import FieldBox
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres, rasterize

CPU, LIMIT = torch.device("cpu"), 8 * 2**30
UNITS = Normalization(0.0, 1.0, True)


def fit_of(views: np.ndarray, geometry: TiltGeometry, units: Normalization = UNITS, **settings) -> tuple[Fit, Plugins]:
    """Return a fit of ``(y, tilt, x)`` views."""
    tilts = TiltSeries(np.ascontiguousarray(views.astype(np.float32).transpose(1, 0, 2)), geometry)
    network = settings.pop("network", "voxel")
    given = {"passes": 20, "batch_rows": "auto", "oversampling": 2, "oversampling_start": 0.0, "coarse_start": 1.0, "learning_rate": 0.02}
    config = validate({"network": {"name": network}, "projector": {"name": "torch"}, **given, **settings})
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    regularizers = [registry.resolve("regularizer", choice.name) for choice in config.regularizers]
    plugins = Plugins(registry.resolve("network", network), registry.resolve("projector", "torch", {"cache": False}), regularizers)
    parts = build_projectors([whole_part(tilts)], plugins, {1, 2}, CPU)
    return build_fit(tilts, plugins, config, units, parts, CPU, LIMIT, 0), plugins


def geometry_of(shape: tuple[int, int, int], tilts: int = 31, **settings) -> TiltGeometry:
    return TiltGeometry(tuple(np.linspace(-60, 60, tilts)), shape[1:], shape, **settings)


@pytest.fixture(scope="module")
def spheres() -> tuple[np.ndarray, np.ndarray, TiltGeometry]:
    """Views, density ``(y, z, x)`` and geometry, of sizes that are no multiples of anything."""
    shape = (66, 11, 71)
    specimen, geometry = make_spheres((66, 66, 71), seed=3), geometry_of(shape)
    whole = replace(geometry, detector_shape=(66, 71), volume_shape=(66, 66, 71))
    return chords(specimen, whole, 20, 31), rasterize(specimen, 20, 31), geometry


@pytest.mark.parametrize("scale", [1.0, 2.5, -2.5])
def test_it_shows_what_the_views_show_where_it_is_and_as_strong(spheres, scale):
    views, density, geometry = spheres
    units = Normalization(7.0, scale, True)
    fit, plugins = fit_of(7.0 + scale * views, geometry, units)
    found = coarse_density(fit, plugins, units, LIMIT)
    assert found.shape == density.shape
    assert np.corrcoef(found.numpy().ravel(), density.ravel())[0, 1] > 0.9
    assert float(found.mean()) == pytest.approx(density.mean(), rel=0.05)


def test_a_fit_that_begins_with_it_is_sooner_where_it_goes(spheres):
    views, density, geometry = spheres
    errors = []
    for coarse_start in (0.0, 1.0):
        fit, plugins = fit_of(views, geometry, coarse_start=coarse_start)
        found = coarse_density(fit, plugins, UNITS, LIMIT)
        assert (found is None) is (coarse_start == 0)
        if found is not None:
            fit.field.begin_with(found)
        errors.append(float((predict(fit, 0, 0, 11) - torch.from_numpy(density)).square().mean()))
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize(
    ("shape", "expected"), [((64, 8, 80), [4, 2]), ((48, 8, 80), [2]), ((64, 8, 63), [2]), ((64, 8, 47), []), ((47, 8, 80), [])]
)
def test_volumes_too_thin_to_show_anything_are_left_out(shape, expected):
    fit, _ = fit_of(np.ones((shape[1], 31, shape[2])), geometry_of(shape))
    assert [factor for factor, _ in coarse_levels(fit)] == expected


def test_a_few_rows_are_no_coarser_volume():
    found = [
        [factor for factor, _ in coarse_levels(fit_of(np.ones((rows, 5, 64)), geometry_of((64, rows, 64), 5))[0])] for rows in (1, 2, 4)
    ]
    assert found == [[], [2], [4, 2]]


def test_steps_are_in_proportion_to_those_of_the_fit():
    geometry = geometry_of((64, 8, 64), 5)
    for passes, share in ((10, 1.0), (30, 1.0), (10, 0.5)):
        fit, _ = fit_of(np.ones((8, 5, 64)), geometry, passes=passes, coarse_start=share)
        assert coarse_levels(fit) == [(4, passes * 8 * share), (2, passes * 4 * share)]


def test_a_network_that_begins_with_nothing_else_begins_with_nothing():
    fit, plugins = fit_of(np.ones((8, 5, 64)), geometry_of((64, 8, 64), 5), network="siren")
    assert coarse_levels(fit) == []
    assert coarse_density(fit, plugins, UNITS, LIMIT) is None


@pytest.mark.parametrize("allowed", [0, 1, 30, 10**6])
def test_when_stopped_it_is_what_there_is(spheres, allowed):
    views, density, geometry = spheres
    fit, plugins = fit_of(views, geometry, passes=4)
    asked = []

    def go_on() -> bool:
        asked.append(len(asked))
        return len(asked) <= allowed

    told = []
    found = coarse_density(fit, plugins, UNITS, LIMIT, go_on, lambda done, total: told.append((done, total)))
    assert (found is None) is (allowed == 0)
    if found is not None:
        assert found.shape == density.shape
        assert bool(torch.isfinite(found).all())
    steps = sum(count for _, count in coarse_levels(fit))
    assert [done for done, _ in told] == list(range(len(told)))
    assert {total for _, total in told} <= {steps}
    assert len(told) == steps if allowed == 10**6 else len(told) < allowed + 1


def test_each_begins_with_the_one_before(spheres):
    views, _, geometry = spheres
    fit, plugins = fit_of(views, geometry)
    coarsest, found = coarse_levels(fit)[0][1], []
    for allowed in (coarsest, coarsest + 1):
        # Asked before each volume as well as before each step.
        asked = iter([True] * (allowed + 2))
        found.append(coarse_density(fit, plugins, UNITS, LIMIT, lambda asked=asked: next(asked, False)))
    assert np.corrcoef(found[0].numpy().ravel(), found[1].numpy().ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("factor", "shape"), [(2, (8, 6, 10)), (4, (11, 7, 14)), (2, (9, 7, 11))])
def test_a_voxel_stays_where_it_was(factor, shape):
    """Density that rises evenly rises as evenly, but for the faces; of what lies beyond the last whole voxel the face is the guess."""
    num_z, num_y, num_x = shape
    y, z, x = (torch.arange(count, dtype=torch.float32) for count in (num_y, num_z, num_x))
    rising = 3 * y[:, None, None] + 5 * z[:, None] + 7 * x
    cut = rising[: num_y // factor * factor, : num_z // factor * factor, : num_x // factor * factor]
    coarse = torch.nn.functional.avg_pool3d(cut[None, None], factor)[0, 0]
    found = _enlarged(coarse, factor, shape)
    assert found.shape == rising.shape
    margin = factor // 2
    within = tuple(slice(margin, count // factor * factor - margin) for count in (num_y, num_z, num_x))
    torch.testing.assert_close(found[within], rising[within])
    assert float(found.max()) <= float(coarse.max()) + 1e-4


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_a_field_gives_what_it_begins_with(positive, spacing):
    box = FieldBox((6, 4, 8))
    field = Field(Voxel(box, VoxelOptions(spacing=spacing)), positive, False)
    y, z, x = (torch.arange(count, dtype=torch.float32) for count in (4, 6, 8))
    density = 0.1 + 0.02 * y[:, None, None] + 0.05 * z[:, None] + 0.01 * x
    density = density if positive else density - 0.3
    field.begin_with(density)
    found = field(Sampling(box, 1, CPU).lattice(0, 4)).detach()
    tolerance = 1e-5 if spacing == 1 else 0.06
    torch.testing.assert_close(found, density, atol=tolerance, rtol=0)
    if positive:
        field.begin_with(torch.zeros(4, 6, 8))
        empty = field(Sampling(box, 1, CPU).lattice(0, 4)).detach()
        # Not quite: where nothing changes with the values any more, nothing would come back.
        assert 0.02 < float(empty.min()) <= float(empty.max()) < 0.04


def test_a_trial_as_long_as_the_fit_begins_as_the_fit_will(spheres):
    """Whatever was tried before it."""
    views, _, geometry = spheres
    fit, plugins = fit_of(views, geometry, passes=3, regularizers=[{"name": "tv", "weight": 0.1}])
    series, errors = fit.fitted[0].part.series, []
    for before in ([], [({"oversampling": 1}, 1), ({"oversampling": 2}, 2), ({"oversampling": 2, "regularizer": 1e-3, "whole": True}, 3)]):
        trials = Trials(series, plugins, fit.config, UNITS, CPU, LIMIT, 11)
        for setting, passes in before:
            trials.error(setting, passes)
        errors.append(trials.error({"oversampling": 2, "regularizer": 0.1, "whole": True}, 3))
        trials.close()
    assert errors[0] == errors[1]


def test_trials_that_share_a_start_find_it_once(spheres, monkeypatch):
    views, _, geometry = spheres
    fit, plugins = fit_of(views, geometry, passes=3)
    made = []
    monkeypatch.setattr("wedge.fit.trials.coarse_density", lambda *args: made.append(args))
    trials = Trials(fit.fitted[0].part.series, plugins, fit.config, UNITS, CPU, LIMIT, 11)
    for blur in (0.0, 0.5, 0.8):
        trials.error({"oversampling": 2, "blur_voxels": blur}, 1)
    trials.close()
    assert len(made) == 1


def test_its_work_is_in_proportion_to_the_voxels_of_its_steps():
    config = fit_of(np.ones((8, 5, 64)), geometry_of((64, 8, 64), 5))[0].config
    for share in (1.0, 2.0):
        config = config.model_copy(update={"coarse_start": share})
        assert relative_cost(config, (64, 64, 64), 8) == pytest.approx(share * (1 / 64 + 0.5 / 8))
        assert relative_cost(config, (64, 64, 64), 1) == pytest.approx(share * (1 / 16 + 0.5 / 4))
        assert relative_cost(config, (48, 64, 64), 8) == pytest.approx(share * 0.5 / 8)
        assert relative_cost(config, (32, 64, 64), 8) == 0


def test_a_reconstruction_begins_with_it_once(wedge, tmp_path, monkeypatch):
    """Not again where it goes on."""
    made = []

    def density(*args):
        made.append(coarse_density(*args))
        return made[-1]

    def full(*args, **kwargs):
        raise InputError("no space left")

    began, plain = [], Field.begin_with
    monkeypatch.setattr("wedge.fit.reconstruct.coarse_density", density)
    monkeypatch.setattr(Field, "begin_with", lambda self, values: (began.append(values), plain(self, values)))
    assert wedge("simulate-spheres", "-o", tmp_path, "--shape", "48", "8", "48", "--num-tilts", "9").code == 0
    words = ["reconstruct", tmp_path / "tilts.zarr", "-o", tmp_path / "o.zarr", "--method", "network", "--tune", "none", "--passes", "2"]
    with monkeypatch.context() as patch:
        patch.setattr("wedge.fit.reconstruct._write_prediction", full)
        assert wedge(*words).code != 0
    assert len(made) == 1
    assert began[-1] is made[0]
    assert wedge(*words, "--resume").code == 0
    assert len(made) == 1
