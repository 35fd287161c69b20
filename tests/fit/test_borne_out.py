"""Whether views bear out the background above which all density is: what the answer follows, and what it does not."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.fit.begin import begin
from wedge.fit.borne_out import is_borne_out, worse_without
from wedge.fit.build import Plugins
from wedge.fit.normalization import find_offset, sample_rows
from wedge.fit.settings import validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

CPU = torch.device("cpu")
SHAPE = (24, 16, 64)  # z, y, x
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 41)), SHAPE[1:], SHAPE)
PROJECTOR = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False})


def balls(fringe: float) -> torch.Tensor:
    """Return soft balls ``(y, z, x)`` that go on beyond the views in x; with a ``fringe`` of 1 none of them has a mass."""
    random = np.random.default_rng(3)
    num_z, num_y, num_x = SHAPE[0], SHAPE[1], 3 * SHAPE[2]
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (num_y, num_z, num_x)], indexing="ij"), -1)
    density = np.zeros((num_y, num_z, num_x))
    for _ in range(100):
        away = ((grid - random.uniform((0, 4, 4), (num_y, num_z - 4, num_x - 4))) ** 2).sum(-1)
        density += np.exp(-away / 2 / 1.5**2) - fringe * (1.5 / 3) ** 3 * np.exp(-away / 2 / 3**2)
    return torch.from_numpy(density.astype(np.float32))


@cache
def seen(fringe: float, signal_to_noise: float = 2.0) -> TiltSeries:
    projector = PROJECTOR.build(GEOMETRY.with_volume((SHAPE[0], SHAPE[1], 3 * SHAPE[2])), CPU)
    views = projector.project(balls(fringe)).numpy()
    noise = np.random.default_rng(4).normal(scale=views.std() / signal_to_noise**0.5, size=views.shape)
    return TiltSeries(np.ascontiguousarray((views + noise).transpose(1, 0, 2), dtype=np.float32), GEOMETRY, "balls")


@pytest.fixture(scope="module")
def positive() -> TiltSeries:
    return seen(0.0)


@pytest.fixture(scope="module")
def both_signs() -> TiltSeries:
    return seen(1.0)


def scaled(series: TiltSeries, by: float, offset: float = 0.0) -> TiltSeries:
    return replace(series, array=(series.array * by + offset).astype(np.float32))


def background(series: TiltSeries) -> float:
    return find_offset(sample_rows(series), series, "auto", "on")[0]


def test_a_background_is_borne_out_of_positive_density_alone(positive, both_signs) -> None:
    assert is_borne_out(positive, 0.0, 1, PROJECTOR.build, CPU)
    assert is_borne_out(positive, background(positive), 1, PROJECTOR.build, CPU)
    spread = float(both_signs.array.std())
    for darker in (0.05, 0.1, 0.2):
        assert not is_borne_out(both_signs, -darker * spread, 1, PROJECTOR.build, CPU), darker


def test_units_and_sign_change_nothing(positive) -> None:
    expected = worse_without(positive, 0.0, 1, PROJECTOR.build, CPU)
    for by in (1e-3, -40.0):
        assert worse_without(scaled(positive, by, 7 * by), 7 * by, by, PROJECTOR.build, CPU) == pytest.approx(expected, rel=1e-2)


def test_few_views_bear_out_anything(both_signs) -> None:
    few = replace(both_signs, array=both_signs.array[:7], geometry=GEOMETRY.with_views(list(range(7))))
    assert is_borne_out(few, -1.0, 1, PROJECTOR.build, CPU)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_sign_that_is_not_borne_out_is_left_open(positive, both_signs, monkeypatch, sign: float) -> None:
    monkeypatch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", 1)
    plugins, said = Plugins(Registry.load({"WEDGE_PLUGINS": ""}).resolve("network", "voxel"), PROJECTOR), []

    def begun(series: TiltSeries, above: float = 100, **changes):
        told = {"network": {"name": "voxel"}, "projector": {"name": "torch"}, "method": "auto", "tune": ("stack", "restore")}
        said.clear()
        return begin(scaled(series, sign, above), None, plugins, validate(told | changes), CPU, None, say=said.append)

    # With most of the fringe the darkest rays pass for empty ones.
    doubtful = seen(0.8)
    assert find_offset(sample_rows(doubtful), doubtful, "auto", "auto")[1], "or this shows nothing"
    job = begun(doubtful)
    assert (job.units.positive, job.config.method) == (False, "restore")
    assert job.config.restore.other_side > 0
    assert job.units.offset == pytest.approx(100 + sign * float(doubtful.array.mean()), abs=0.2)
    assert any("noise hides" in line for line in said)
    job = begun(positive)
    assert (job.units.positive, job.config.method) == (True, "stack")
    assert not any("noise hides" in line for line in said)
    # What users say is not doubted.
    assert begun(doubtful, positivity="on").units.positive
    assert begun(doubtful, offset=100.0 - sign * 2).units.positive
    assert begun(doubtful, method="stack").units.positive
    assert begun(doubtful, tune=("stack",)).units.positive
    assert begun(replace(doubtful, simulated=True), above=0).units.positive
    # Without noise other things than the sign make predictions wrong.
    assert begun(seen(0.8, 1e4)).units.positive
    assert begun(doubtful, positivity="off").config.restore.other_side == 0
