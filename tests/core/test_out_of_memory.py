"""What a fit does when memory runs out that the plan took to be free: smaller slabs, the same result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.fit import data_term
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


class Memory:
    def __init__(self) -> None:
        self.slices = np.full((SHAPE[1], SHAPE[0], SHAPE[2]), np.nan, dtype=np.float32)

    def write_rows(self, y_start: int, block: torch.Tensor) -> None:
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


@pytest.fixture
def tilts() -> TiltSeries:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 25)), SHAPE[1:], SHAPE)
    return TiltSeries(np.random.default_rng(0).uniform(size=(25, *SHAPE[1:])).astype(np.float32), geometry, "views", simulated=True)


def run(tilts: TiltSeries, run_dir: Path, **settings: object) -> tuple[np.ndarray, Reconstruction]:
    config, plugins = resolve_plugins(validate(SETTINGS | settings), Registry.load({"WEDGE_PLUGINS": ""}))
    memory = Memory()
    prepare_run_dir(run_dir, tilts, config, resume=False, overwrite=True)
    return memory.slices, reconstruct(tilts, memory, plugins, config, device=torch.device("cpu"), run_dir=run_dir)


def too_small_for(rows: int, project):
    def limited(projector, slices: torch.Tensor) -> torch.Tensor:
        if len(slices) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return project(projector, slices)

    return limited


@pytest.mark.parametrize("settings", [{}, {"method": "stack", "passes": 4}, {"tune": ["blur_voxels"], "hold_out": 0.2}])
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
