"""Laws of what a few timed steps stand for."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.fit import calibrate, capture, loop
from wedge.fit.calibrate import StepCost, in_whole_box
from wedge.fit.normalization import Normalization
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

SHAPE = (6, 30, 12)
COST = StepCost(
    rows=4, gradient_seconds=1.0, update_seconds=0.5, predict_seconds=2.0, peak_bytes=0, base_bytes=0, parameter_bytes=4 * 6 * 4 * 12
)


def job(network: str) -> SimpleNamespace:
    settings = {
        "network": {"name": network},
        "projector": {"name": "torch", "options": {"cache": False}},
        "regularizers": [{"name": "tv", "weight": 0.01}],
    }
    config, plugins = resolve_plugins(validate(settings), Registry.load({"WEDGE_PLUGINS": ""}))
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 15)), SHAPE[1:], SHAPE)
    tilts = TiltSeries(np.random.default_rng(0).uniform(size=(15, *SHAPE[1:])).astype(np.float32), geometry, "views")
    return SimpleNamespace(
        wide=tilts, plugins=plugins, config=config, units=Normalization(0.0, 1.0, True), device=torch.device("cpu"), limit=0
    )


@pytest.fixture
def steps(monkeypatch) -> list[tuple[int, int, int]]:
    """Rows of the box, of a step and of the views of each gradient; each takes 3.6 s, each update 1.2 s."""
    seen = []
    real = capture.gradient

    def gradient(fit, step):
        seen.append((fit.box.shape[1], fit.rows_per_step, fit.field.network.values.shape[0]))
        return real(fit, step)

    def seconds_of(work, device, repeats):
        work()
        return 1.2 if getattr(work, "__name__", "") == "step" else 3.6

    monkeypatch.setattr(capture, "gradient", gradient)
    monkeypatch.setattr(calibrate, "seconds_of", seconds_of)
    return seen


def test_steps_of_the_whole_box_are_timed_on_as_many_rows(steps):
    this = job("voxel")
    found = in_whole_box(this, this.config, COST)
    assert steps == [(30, 4, 30)] * 2
    assert found.seconds_per_other_row == pytest.approx(2.6 / 26)
    # What was timed is what is told, and a larger batch costs more.
    assert found.step_seconds(4, 30) == pytest.approx(3.6 + 1.2)
    assert found.step_seconds(8, 30) == pytest.approx(2.0 + 0.1 * 22 + 1.2)


@pytest.mark.parametrize(("network", "rows"), [("siren", 4), ("voxel", 30)])
def test_a_field_that_grows_with_no_row_and_one_of_all_rows_cost_what_was_timed(steps, network, rows):
    this = job(network)
    cost = StepCost(rows, 1.0, 0.5, 2.0, 0, 0, 10**9)
    assert in_whole_box(this, this.config, cost) is cost
    assert steps == []


def test_steps_that_will_be_recorded_are_timed_as_recorded(monkeypatch):
    this, recorders, timed = job("voxel"), [], []

    class Recorder:
        replayed = 0

        def __call__(self, work):
            found = work()

            def replay():
                self.replayed += 1
                for mine, anew in zip(found, work(), strict=True):
                    mine.copy_(anew)

            return found, replay

    def gradient_of(fit):
        recorders.append(Recorder())
        return capture.Captured(fit, recorders[-1])

    def seconds_of(work, device, repeats=1):
        before = recorders[-1].replayed
        work()
        timed.append(recorders[-1].replayed - before)
        return 1.0

    monkeypatch.setattr(loop, "gradient_of", gradient_of)
    monkeypatch.setattr(calibrate, "seconds_of", seconds_of)
    calibrate.time_steps(this, this.config, 4)
    assert timed == [1, 0, 0]  # the gradient; the update and the prediction are not recorded
    in_whole_box(this, this.config, COST)
    assert timed[3:] == [0, 1, 0]  # the first step of all, as ever, then the same
