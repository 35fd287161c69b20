"""What a fit does when memory runs out that the plan took to be free: smaller slabs, the same result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import wedge.fbp as fbp_module
from wedge.data import TiltSeries
from wedge.fbp import fbp
from wedge.fit import adaptive, adaptive_run, adaptive_series, data_term
from wedge.fit.memory import MemoryPlan
from wedge.fit.reconstruct import Reconstruction, reconstruct
from wedge.fit.run_dir import prepare_run_dir
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

SHAPE = (12, 20, 24)
SETTINGS = {
    "network": {"name": "voxel"},
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.01}],
    "passes": 6,
    "batch_rows": 10,
    "learning_rate": 0.03,
}
QUICK = {"method": "adaptive", "positivity": "off", "adaptive": {"rounds": 3, "iterations": 4}}


class Memory:
    def __init__(self, num_rows: int = SHAPE[1]) -> None:
        self.slices = np.full((num_rows, SHAPE[0], SHAPE[2]), np.nan, dtype=np.float32)

    def write_rows(self, y_start: int, block: torch.Tensor) -> None:
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


@pytest.fixture
def tilts() -> TiltSeries:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 25)), SHAPE[1:], SHAPE)
    return TiltSeries(np.random.default_rng(0).uniform(size=(25, *SHAPE[1:])).astype(np.float32), geometry, "views", simulated=True)


def run(tilts: TiltSeries, run_dir: Path, **settings: object) -> tuple[np.ndarray, Reconstruction]:
    config, plugins = resolve_plugins(validate(SETTINGS | settings), Registry.load({"WEDGE_PLUGINS": ""}))
    memory = Memory(tilts.geometry.detector_shape[0])
    prepare_run_dir(run_dir, tilts, config, resume=False, overwrite=True)
    return memory.slices, reconstruct(tilts, memory, plugins, config, device=torch.device("cpu"), run_dir=run_dir)


def too_small_for(rows: int, project):
    def limited(projector, slices: torch.Tensor) -> torch.Tensor:
        if len(slices) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return project(projector, slices)

    return limited


@pytest.mark.parametrize("settings", [{}, {"method": "stack", "passes": 1, "hold_out": 0.2}, {"tune": ["blur_voxels"], "hold_out": 0.2}])
def test_fit_goes_on_with_smaller_slabs_and_says_so(tilts, tmp_path, monkeypatch, settings):
    expected, before = run(tilts, tmp_path / "run", **settings)
    monkeypatch.setattr(data_term, "project", too_small_for(3, data_term.project))
    with pytest.warns(UserWarning, match=r"out of memory: going on with slabs of \d+ y-rows"):
        found, after = run(tilts, tmp_path / "again", **settings)
    assert before.plan["slab_rows"] > 3 >= after.plan["slab_rows"]
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_not_enough_for_one_row_ends_the_fit(tilts, tmp_path, monkeypatch):
    monkeypatch.setattr(data_term, "project", too_small_for(0, data_term.project))
    with pytest.warns(UserWarning, match="slabs of"), pytest.raises(torch.OutOfMemoryError):
        run(tilts, tmp_path / "run")


def test_slabs_are_halved_for_nothing_but_memory():
    plan = MemoryPlan(8, True, 0, 0)

    def attempt() -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        plan.in_slabs(attempt)
    assert plan == replace(plan, slab_rows=8)


def test_adaptive_field_goes_on_with_smaller_blocks_and_says_so(tilts, tmp_path, monkeypatch):
    geometry = TiltGeometry(tilts.geometry.tilt_angles_deg, (150, 24), (12, 150, 24))
    tall = replace(tilts, geometry=geometry, array=np.random.default_rng(0).uniform(size=(25, 150, 24)).astype(np.float32))
    settings = QUICK | {"hold_out": 0.2, "perturbation": 0.2}
    with monkeypatch.context() as planned:
        planned.setattr(adaptive_run.AdaptiveRun, "block_rows", lambda self, limit, taken, chunk: 38)
        expected, before = run(tall, tmp_path / "run", **settings)
    monkeypatch.setattr(adaptive_run, "adapt", too_many_rows_for(90, adaptive_run.adapt))
    with pytest.warns(UserWarning, match=r"out of memory: going on with blocks of \d+ y-rows") as warned:
        found, after = run(tall, tmp_path / "again", **settings)
    # 75 rows and a halo on one side are too many, 38 and one on both sides are not.
    assert len(warned) == 2
    assert before.plan == after.plan == {"block_rows": 38}
    np.testing.assert_array_equal(found, expected)
    assert after.held_out_error == pytest.approx(before.held_out_error, rel=1e-6)


@pytest.mark.parametrize("tune", [[], ["strength"]])
def test_adaptive_field_takes_a_smaller_sample_where_that_does_not_fit(tilts, tmp_path, monkeypatch, tune):
    class Planned(adaptive_run.AdaptiveRun):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            self._sample = range(5, 15)

        def block_rows(self, limit: int, operator_bytes: int, chunk: int) -> int:
            return 5

    monkeypatch.setattr(adaptive_run, "HALO_ROWS", 4)
    with monkeypatch.context() as planned:
        planned.setattr(adaptive_series, "AdaptiveRun", Planned)
        expected, _ = run(tilts, tmp_path / "run", **QUICK, tune=tune)
    monkeypatch.setattr(adaptive, "local_strength", fails_at_last_above(13, adaptive.local_strength))
    with pytest.warns(UserWarning, match="out of memory") as warned:
        found, _ = run(tilts, tmp_path / "again", **QUICK, tune=tune)
    assert [str(warning.message).split(" y-rows")[0] for warning in warned] == [
        "out of memory: going on with a sample of 10",
        "out of memory: going on with blocks of 10",
        "out of memory: going on with blocks of 5",
    ]
    np.testing.assert_array_equal(found, expected)


def fails_at_last_above(rows: int, local_strength):
    def limited(energy: torch.Tensor, *arguments) -> torch.Tensor:
        found = local_strength(energy, *arguments)
        if len(energy) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    return limited


def too_many_rows_for(rows: int, adapt):
    def limited(views, *arguments, **options):
        if len(views.sinograms) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return adapt(views, *arguments, **options)

    return limited


@pytest.mark.parametrize("limit", [1, 3])
def test_backprojection_goes_on_with_smaller_slabs_and_says_so(tilts, monkeypatch, limit):
    def make(geometry, device):
        return resolve_plugins(validate(SETTINGS), Registry.load({"WEDGE_PLUGINS": ""}))[1].projector.build(geometry, device)

    expected, again = Memory(), Memory()
    assert fbp(tilts, expected, make, slab_rows=8) == 8
    told: list[int] = []
    monkeypatch.setattr(fbp_module, "_backproject", fails_above(limit, fbp_module._backproject))
    with pytest.warns(UserWarning, match=r"out of memory: going on with slabs of \d+ y-rows, the result stays the same"):
        assert fbp(tilts, again, make, slab_rows=8, on_progress=told.append) == 2 ** (limit // 2)
    np.testing.assert_allclose(again.slices, expected.slices, atol=1e-5 * np.abs(expected.slices).max())
    assert sum(told) == SHAPE[1]


def test_not_enough_for_one_row_ends_the_backprojection(tilts, monkeypatch):
    def make(geometry, device):
        return resolve_plugins(validate(SETTINGS), Registry.load({"WEDGE_PLUGINS": ""}))[1].projector.build(geometry, device)

    monkeypatch.setattr(fbp_module, "_backproject", fails_above(0, fbp_module._backproject))
    with pytest.warns(UserWarning, match="slabs of"), pytest.raises(torch.OutOfMemoryError):
        fbp(tilts, Memory(), make)


def fails_above(rows: int, backproject):
    def limited(filtered: torch.Tensor, *arguments) -> torch.Tensor:
        if len(filtered) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return backproject(filtered, *arguments)

    return limited
