"""A step of a fit never asks its device for a number: on a GPU it would be waited for."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wedge.data import TiltSeries
from wedge.fit import gradient as module
from wedge.fit.batches import Slab, batch_segments
from wedge.fit.build import build_fit, build_projectors, close_projectors
from wedge.fit.data_term import split_parts
from wedge.fit.gradient import gradient
from wedge.fit.loop import Fit, held_out_error, mean_over_rows
from wedge.fit.memory import MemoryPlan
from wedge.fit.normalization import Normalization
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

CPU = torch.device("cpu")
SHAPE = (8, 20, 16)
SETTINGS = {
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.01}, {"name": "crowther", "weight": 0.01, "final_weight": 0.1}],
    "oversampling": 2,
    "blur_voxels": 0.8,
    "hold_out": 0.2,
    "batch_rows": 7,
}


class Asked(TorchDispatchMode):
    """Counts how often a number is fetched from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.times += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["voxel", "feature-grid", "siren"])
def fit(request) -> Iterator[Fit]:
    config, plugins = resolve_plugins(validate(SETTINGS | {"network": {"name": request.param}}), Registry.load({"WEDGE_PLUGINS": ""}))
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 25)), SHAPE[1:], SHAPE)
    views = np.random.default_rng(0).uniform(size=(25, *SHAPE[1:])).astype(np.float32)
    tilts = TiltSeries(views, geometry, "views", simulated=True)
    parts = build_projectors(split_parts(tilts, config.hold_out), plugins, {1, 2}, CPU)
    yield build_fit(tilts, plugins, config, Normalization(0.1, 0.9, True), parts, CPU, 0, 0, plan=MemoryPlan(3, True, 0, 0))
    close_projectors(parts)


def test_gradients_ask_for_nothing(fit, monkeypatch):
    # Which rows they are of is drawn on the CPU, whatever the device.
    drawn = [batch_segments(0, step, SHAPE[1], 7) for step in range(9)]
    monkeypatch.setattr(module, "batch_segments", lambda seed, step, *sizes: drawn[step])
    with Asked() as asked:
        for step in range(9):
            gradient(fit, step)
    assert asked.times == 0
    assert any(len(segments) == 2 for segments in drawn)


def test_an_error_over_all_rows_is_asked_for_once(fit):
    with Asked() as asked:
        held_out_error(fit, 0)
    assert asked.times == 1


def test_a_mean_over_all_rows_is_summed_in_double_precision(fit):
    def value(slab: Slab) -> torch.Tensor:
        return torch.tensor(0.1) + slab.y_start

    assert mean_over_rows(fit, value) == sum(float(value(Slab(y, min(y + 3, 20), 0, 20))) * min(3, 20 - y) / 20 for y in range(0, 20, 3))
