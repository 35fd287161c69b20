"""Laws of the fit: what may not change its result."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import DeviceError, DivergedError, InputError, OutputExistsError, StoppedError
from wedge.fit import loop
from wedge.fit.checkpoint import CHECKPOINT_NAME
from wedge.fit.loop import StopRequest
from wedge.fit.reconstruct import Reconstruction, reconstruct
from wedge.fit.run_dir import prepare_run_dir, stored_config
from wedge.fit.settings import merge, resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres, rasterize

SHAPE = (12, 20, 24)
SETTINGS = {
    "network": {"name": "feature-grid", "options": {"levels": 2, "coarsest": 4.0, "width": 8}},
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.1}],
    "passes": 40,
    "batch_rows": 8,
    "learning_rate": 0.03,
}
CPU = torch.device("cpu")


class Memory:
    """Takes the rows that a store would."""

    def __init__(self) -> None:
        self.slices = np.full((SHAPE[1], SHAPE[0], SHAPE[2]), np.nan, dtype=np.float32)

    def write_rows(self, y_start: int, block: torch.Tensor) -> None:
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


@pytest.fixture(scope="module")
def spheres():
    return make_spheres(SHAPE, seed=5)


@pytest.fixture(scope="module")
def tilts(spheres) -> TiltSeries:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 25)), SHAPE[1:], SHAPE)
    array = chords(spheres, geometry, 0, SHAPE[1]).transpose(1, 0, 2)
    return TiltSeries(np.ascontiguousarray(array), geometry, "spheres", simulated=True)


def run(tilts: TiltSeries, run_dir: Path, settings: dict | None = None, **options) -> tuple[np.ndarray, Reconstruction]:
    config, plugins = resolve_plugins(validate(merge([SETTINGS, settings or {}])), Registry.load({"WEDGE_PLUGINS": ""}))
    memory = Memory()
    prepare_run_dir(run_dir, tilts, config, resume=options.get("resume", False), overwrite=True)
    result = reconstruct(tilts, memory, plugins, config, device=CPU, run_dir=run_dir, **options)
    return memory.slices, result


@pytest.fixture(scope="module")
def reference(tilts, tmp_path_factory) -> np.ndarray:
    return run(tilts, tmp_path_factory.mktemp("reference") / "run")[0]


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def with_array(tilts: TiltSeries, array: np.ndarray, simulated: bool) -> TiltSeries:
    return TiltSeries(array.astype(np.float32), tilts.geometry, tilts.name, simulated)


def test_fit_comes_nearer_to_the_truth_than_empty_space(reference, spheres):
    truth = rasterize(spheres, 0, SHAPE[1])
    assert relative(reference, truth) < 0.6


def test_same_seed_gives_the_same_result(tilts, reference, tmp_path):
    again, _ = run(tilts, tmp_path / "run")
    assert np.array_equal(again, reference)


def test_another_seed_gives_another_result(tilts, reference, tmp_path):
    other, _ = run(tilts, tmp_path / "run", {"seed": 1})
    assert 1e-4 < relative(other, reference) < 0.5


def test_scaled_intensities_give_the_scaled_result(tilts, reference, tmp_path):
    scaled, _ = run(with_array(tilts, 1000 * tilts.array, True), tmp_path / "run")
    assert relative(scaled / 1000, reference) < 2e-2


def test_a_constant_added_changes_nothing_where_the_offset_is_estimated(tilts, reference, tmp_path):
    # Whole numbers in float32 keep the sum exact: the estimate is what is tested.
    rounded = np.round(tilts.array * 64) / 64
    plain, first = run(with_array(tilts, rounded, False), tmp_path / "a")
    shifted, second = run(with_array(tilts, rounded + 4096, False), tmp_path / "b")
    assert second.normalization.offset - first.normalization.offset == pytest.approx(4096, abs=1e-6)
    assert relative(shifted, plain) < 1e-5
    assert relative(plain, reference) < 0.1


def test_offset_can_be_given_or_refused(tilts, tmp_path):
    raw = with_array(tilts, tilts.array + 7, False)
    assert run(raw, tmp_path / "a", {"offset": 7.0, "passes": 0.1})[1].normalization.offset == 7.0
    assert run(raw, tmp_path / "b", {"offset": "none", "passes": 0.1})[1].normalization.offset == 0.0


@pytest.mark.parametrize("slab_rows", [1, 3])
def test_result_does_not_depend_on_slab_height(tilts, reference, tmp_path, monkeypatch, slab_rows):
    from wedge.fit import build as module
    from wedge.fit.memory import MemoryPlan

    plan = MemoryPlan(slab_rows, slab_rows == 3, 0, 0)
    monkeypatch.setattr(module, "plan_memory", lambda *args: plan)
    slices, result = run(tilts, tmp_path / "run")
    assert result.plan["slab_rows"] == slab_rows
    # Sums in another order: rounding grows along the fit's path.
    assert relative(slices, reference) < 2e-2


def test_one_step_is_the_same_for_every_slab_height(tilts, tmp_path, monkeypatch):
    from wedge.fit import build as module
    from wedge.fit.memory import MemoryPlan

    results = []
    for slab_rows in (1, 5, 8):
        monkeypatch.setattr(module, "plan_memory", lambda *args, rows=slab_rows: MemoryPlan(rows, True, 0, 0))
        results.append(run(tilts, tmp_path / str(slab_rows), {"passes": 0.4, "warmup": 0.0}))
    for slices, result in results[1:]:
        assert result.steps == 2
        assert result.final["loss"] == pytest.approx(results[0][1].final["loss"], rel=1e-5)
        assert relative(slices, results[0][0]) < 1e-4


class StopAfter(StopRequest):
    """Asks to stop after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def count(self, done: int, total: int, loss: float) -> None:
        if done >= self.steps:
            self.reason = "SIGTERM"


def interrupted(tilts: TiltSeries, run_dir: Path, steps: int) -> None:
    stop = StopAfter(steps)
    with pytest.raises(StoppedError, match="--resume"):
        run(tilts, run_dir, stop=stop, on_progress=stop.count)


def test_resumed_fit_ends_as_an_uninterrupted_one(tilts, reference, tmp_path):
    interrupted(tilts, tmp_path / "run", 40)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["passes"] == 40
    resumed, result = run(tilts, tmp_path / "run", resume=True)
    assert result.steps == 120
    assert np.array_equal(resumed, reference)


def test_a_fit_whose_volume_cannot_be_written_is_kept_and_another_leaves_no_checkpoint(tilts, reference, tmp_path, monkeypatch):
    def full(self, y_start, block):
        raise InputError("disk is full")

    def nowhere(*_):
        raise InputError("cannot write checkpoint")

    run(tilts, tmp_path / "whole")
    assert not (tmp_path / "whole" / CHECKPOINT_NAME).exists()
    with monkeypatch.context() as patched:
        patched.setattr(Memory, "write_rows", full)
        with pytest.raises(InputError, match="disk is full"):
            run(tilts, tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(Memory, "write_rows", full)
        patched.setattr("wedge.fit.reconstruct.save_checkpoint", nowhere)
        with pytest.raises(InputError, match="disk is full"):
            run(tilts, tmp_path / "lost")
    # All of it is there: what goes on has nothing left but to write.
    monkeypatch.setattr(loop, "take_step", None)
    assert np.array_equal(run(tilts, tmp_path / "run", resume=True)[0], reference)


def test_oversampled_fit_resumes_and_keeps_the_voxels(tilts, spheres, reference, tmp_path):
    finer = {"oversampling": 2, "oversampling_start": 0.5}
    whole, _ = run(tilts, tmp_path / "whole", finer)
    stop = StopAfter(80)
    with pytest.raises(StoppedError):
        run(tilts, tmp_path / "run", finer, stop=stop, on_progress=stop.count)
    resumed, _ = run(tilts, tmp_path / "run", finer, resume=True)
    assert np.array_equal(resumed, whole)
    truth = rasterize(spheres, 0, SHAPE[1])
    # Edges within a voxel are told apart: nearer to the truth, and not beside it.
    assert relative(whole, truth) < relative(reference, truth)


def test_resumed_fit_goes_on_with_what_was_chosen(tilts, tmp_path, monkeypatch):
    tuned = {"network": {"name": "voxel"}, "tune": ["blur_voxels", "regularizer", "weighting"], "passes": 8, "perturbation": 0.1}
    noisy = with_array(tilts, tilts.array + np.random.default_rng(0).normal(0, tilts.array.std(), tilts.array.shape), True)
    whole, first = run(noisy, tmp_path / "whole", tuned)
    stop = StopAfter(10)
    with pytest.raises(StoppedError):
        run(noisy, tmp_path / "run", tuned, stop=stop, on_progress=stop.count)
    # What was chosen is known: nothing is tried again.
    monkeypatch.delattr("wedge.fit.reconstruct.tune_network")
    resumed, second = run(noisy, tmp_path / "run", tuned, resume=True)
    assert np.array_equal(resumed, whole)
    assert first.chosen["blur_voxels"] > 0
    assert second.chosen == first.chosen
    assert second.config == first.config


def test_stop_while_settings_are_chosen_leaves_nothing_half_done(tilts, tmp_path):
    tuned = {"network": {"name": "voxel"}, "tune": ["blur_voxels"], "passes": 8}
    stop = StopRequest()
    stop.reason = "SIGTERM"
    with pytest.raises(StoppedError, match="after 0 of"):
        run(tilts, tmp_path / "run", tuned, stop=stop)


@pytest.mark.parametrize("method", ["network", "adaptive"])
def test_margin_is_cut_off(tilts, tmp_path, method):
    settings = {"method": method, "network": {"name": "voxel"}, "passes": 10}
    plain, _ = run(tilts, tmp_path / "a", settings)
    wide, result = run(tilts, tmp_path / "b", settings | {"margin": 8})
    assert result.config.margin == 8
    assert np.isfinite(wide).all()
    # Memory takes no other shape; what is left is the middle: the same specimen in the same place.
    assert np.corrcoef(wide.ravel(), plain.ravel())[0, 1] > 0.9


def test_dark_specimen_is_the_bright_one_turned_over(tilts, reference, tmp_path):
    dark, result = run(with_array(tilts, -tilts.array, True), tmp_path / "run")
    assert result.normalization.positive
    assert result.normalization.scale < 0
    assert relative(-dark, reference) < 1e-5


def test_stop_now_writes_the_checkpoint_as_it_is(tilts, reference, tmp_path):
    interrupted(tilts, tmp_path / "run", 40)
    early, result = run(tilts, tmp_path / "run", resume=True, stop_now=True)
    assert result.stopped_early
    assert result.steps == 40
    assert np.isfinite(early).all()
    assert not np.array_equal(early, reference)


def test_unfinished_fit_is_not_lost_by_a_new_one(tilts, tmp_path):
    interrupted(tilts, tmp_path / "run", 3)
    with pytest.raises(OutputExistsError, match="--resume"):
        prepare_run_dir(tmp_path / "run", tilts, stored_config(tmp_path / "run"), resume=False, overwrite=False)


def test_resume_refuses_other_data(tilts, tmp_path):
    interrupted(tilts, tmp_path / "run", 3)
    with pytest.raises(InputError, match="other data"):
        run(with_array(tilts, tilts.array + 1, True), tmp_path / "run", resume=True)


def test_damaged_checkpoint_is_refused(tilts, tmp_path):
    interrupted(tilts, tmp_path / "run", 3)
    path = tmp_path / "run" / CHECKPOINT_NAME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        run(tilts, tmp_path / "run", resume=True)


def test_diverging_fit_stops(tilts, tmp_path):
    with pytest.raises(DivergedError, match="learning-rate"):
        run(tilts, tmp_path / "run", {"learning_rate": 1e6, "positivity": "off", "warmup": 0.0})


def test_memory_too_small_for_one_slice_names_what_suffices(tilts, tmp_path):
    with pytest.raises(DeviceError, match=r"too small for one slice.*at least \d+ MiB"):
        run(tilts, tmp_path / "run", max_memory=1000)


def test_held_out_views_are_not_fitted_but_measured(tilts, reference, tmp_path):
    slices, result = run(tilts, tmp_path / "run", {"hold_out": 0.2})
    assert result.held_out_error is not None
    assert result.final["held_out"] == pytest.approx(result.held_out_error, rel=1e-6)
    assert not np.array_equal(slices, reference)


@pytest.mark.parametrize("loss", ["l1", "huber"])
@pytest.mark.parametrize("weighting", ["plain", "ramp"])
def test_every_data_term_lowers_its_loss(tilts, tmp_path, loss, weighting):
    _, result = run(tilts, tmp_path / "run", {"data_term": {"loss": loss, "weighting": weighting}})
    history = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert result.final["data"] < 0.5 * history[0]["data"]


def test_density_of_both_signs_is_fitted_without_positivity(tilts, spheres, tmp_path):
    mean = tilts.array.mean(axis=(1, 2), keepdims=True)
    slices, result = run(with_array(tilts, mean - tilts.array, True), tmp_path / "run")
    assert not result.normalization.positive
    truth = rasterize(spheres, 0, SHAPE[1])
    assert np.corrcoef(slices.ravel(), -truth.ravel())[0, 1] > 0.7


def test_observer_that_fails_is_left_out(tilts, tmp_path):
    class Broken:
        def start(self, run):
            raise RuntimeError("no")

    config, plugins = resolve_plugins(validate(SETTINGS | {"passes": 0.1}), Registry.load({"WEDGE_PLUGINS": ""}))
    plugins.observers = {"broken": Broken()}
    prepare_run_dir(tmp_path / "run", tilts, config, resume=False, overwrite=False)
    with pytest.warns(UserWarning, match="observer 'broken' failed in start"):
        reconstruct(tilts, Memory(), plugins, config, device=CPU, run_dir=tmp_path / "run")
