"""Laws of whole reconstructions by a stack of fits."""

from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import InputError, StoppedError, UsageError
from wedge.fit import build, members, stack_finish
from wedge.fit.begin import begin
from wedge.fit.emptied import Emptying, bright_density, emptied
from wedge.fit.halves import pair_halves
from wedge.fit.loop import StopRequest
from wedge.fit.memory import MemoryPlan
from wedge.fit.radial import RadialFilter
from wedge.fit.reconstruct import Reconstruction, reconstruct
from wedge.fit.run_dir import prepare_run_dir
from wedge.fit.settings import resolve_plugins, validate
from wedge.fit.stack import knots
from wedge.fit.stack_sum import StackRun, bytes_beside_fits
from wedge.geometry import TiltGeometry
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres, rasterize

SHAPE = (12, 40, 24)
STACK = {
    "method": "stack",
    "network": {"name": "voxel"},
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.1}],
    "passes": 8,
    "learning_rate": 0.02,
    "adam_betas": [0.95, 0.99],
    "gradient_floor": 0.01,
}
ALL_PASSES = 11 * 4 + 8  # of the fits of a stack with these settings: one of them takes twice as many


class Memory:
    """Takes the rows that a store would."""

    def __init__(self) -> None:
        self.slices = np.full((SHAPE[1], SHAPE[0], SHAPE[2]), np.nan, dtype=np.float32)

    def write_rows(self, y_start: int, block: torch.Tensor) -> None:
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


class StopAfter(StopRequest):
    """Asks to stop after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def count(self, done: int, total: int, loss: float) -> None:
        if done >= self.steps:
            self.reason = "SIGTERM"


def run(tilts: TiltSeries, run_dir: Path, settings: dict, **options) -> tuple[np.ndarray, Reconstruction]:
    config, plugins = resolve_plugins(validate(settings), Registry.load({"WEDGE_PLUGINS": ""}))
    memory = Memory()
    prepare_run_dir(run_dir, tilts, config, resume=options.get("resume", False), overwrite=True)
    result = reconstruct(tilts, memory, plugins, config, device=torch.device("cpu"), run_dir=run_dir, **options)
    return memory.slices, result


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def spheres():
    return make_spheres(SHAPE, seed=5)


@pytest.fixture(scope="module")
def truth(spheres) -> np.ndarray:
    return rasterize(spheres, 0, SHAPE[1])


@pytest.fixture(scope="module")
def tilts(spheres) -> TiltSeries:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 25)), SHAPE[1:], SHAPE)
    array = np.ascontiguousarray(chords(spheres, geometry, 0, SHAPE[1]).transpose(1, 0, 2), dtype=np.float32)
    return TiltSeries(array, geometry, "spheres", simulated=True)


@pytest.fixture(scope="module")
def noisy(tilts) -> TiltSeries:
    """The same views with noise as strong as the signal."""
    noise = np.random.default_rng(0).normal(0, tilts.array.std(), tilts.array.shape)
    return replace(tilts, array=(tilts.array + noise).astype(np.float32))


@dataclass
class Whole:
    """A run, and what it came through: estimates as they were added, its stack, and the spread."""

    slices: np.ndarray
    result: Reconstruction
    estimates: list[torch.Tensor]
    stack: StackRun
    std: np.ndarray


@pytest.fixture(scope="module")
def whole(noisy, tmp_path_factory):
    estimates, stacks, std = [], [], Memory()
    add, finished = RadialFilter.add, StackRun.finished

    def spy(self, into, read, weights):
        estimates.append(read(0, SHAPE[1]))
        add(self, into, read, weights)

    def keep(self, *rows):
        stacks.append(self)
        return finished(self, *rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RadialFilter, "add", spy)
        patch.setattr(StackRun, "finished", keep)
        found, result = run(noisy, tmp_path_factory.mktemp("whole") / "run", STACK, std_writer=std)
    # Before, those of the rows that the weights are found on.
    return Whole(found, result, estimates[-36:], stacks[0], std.slices)


def test_stack_is_closer_to_the_truth_than_one_fit(noisy, whole, truth, tmp_path):
    one = run(noisy, tmp_path / "run", {**STACK, "method": "network", "blur_voxels": 0.8, "data_term": {"weighting": "plain"}})[0]
    assert relative(whole.slices, truth) < relative(one, truth)
    told = whole.result.chosen
    assert told["held_out_error"] < told["best"]["held_out_error"]
    assert (whole.slices >= 0).all()


def test_nothing_stands_where_the_best_single_fit_is_empty(whole):
    base = whole.result.chosen["base"]
    assert base != 0
    assert whole.result.chosen["emptied"]["by"] == base, "there is no network"
    assert torch.equal(whole.stack.by, whole.estimates[base])
    stack = copy(whole.stack)
    stack.by = whole.stack.by.clone()
    stack.by[:, 2:5] = 0
    found = stack.finished(0, SHAPE[1], 1.0)
    assert float(found[:, 3].abs().max()) == 0
    assert float(found[:, 4].abs().max()) > 0
    # Whichever rows are asked for together.
    assert torch.allclose(torch.cat([stack.finished(y, y + 5, 1.0) for y in range(0, SHAPE[1], 5)]), found, atol=1e-6)


def test_spread_is_that_of_the_fits_as_they_end(whole):
    ends = torch.stack(whole.estimates)[2::3]
    assert len(ends) == whole.result.chosen["fits"]
    expected = ends.std(dim=0, correction=1).numpy() * abs(whole.result.normalization.scale)
    assert np.allclose(whole.std, expected, atol=1e-4 * expected.max())


def test_stopped_stack_keeps_its_spread(noisy, whole, tmp_path):
    std = Memory()
    stop = StopAfter(ALL_PASSES + 10)
    with pytest.raises(StoppedError, match="2 of 12 fits"):
        run(noisy, tmp_path / "run", STACK, stop=stop, on_progress=stop.count, std_writer=std)
    run(noisy, tmp_path / "run", STACK, resume=True, std_writer=std)
    assert np.array_equal(std.slices, whole.std)


def test_spread_cannot_be_asked_for_later(noisy, tmp_path):
    stop = StopAfter(ALL_PASSES + 10)
    with pytest.raises(StoppedError):
        run(noisy, tmp_path / "run", STACK, stop=stop, on_progress=stop.count)
    with pytest.raises(InputError, match="begun without --std"):
        run(noisy, tmp_path / "run", STACK, resume=True, std_writer=Memory())


def test_one_fit_has_no_spread(tilts, tmp_path):
    with pytest.raises(UsageError, match=r"--std .* gets the network method"):
        run(tilts, tmp_path / "run", {**STACK, "method": "network"}, std_writer=Memory())


def test_noise_decides_for_a_stack(noisy, tilts, tmp_path):
    settings = {**STACK, "method": "auto", "tune": ["stack"]}
    assert run(noisy, tmp_path / "noisy", settings)[1].config.method == "stack"
    assert run(tilts, tmp_path / "clean", settings)[1].config.method == "network"
    assert run(noisy, tmp_path / "one", {**settings, "tune": []})[1].config.method == "network"


def test_halves_tell_how_strong_noise_of_any_colour_is(tilts):
    def half(seed: int) -> TiltSeries:
        # Its power falls to a tenth at Nyquist.
        frequency = np.hypot(np.fft.fftfreq(SHAPE[1])[:, None], np.fft.rfftfreq(SHAPE[2]))
        white = np.random.default_rng(seed).normal(size=tilts.array.shape)
        noise = np.fft.irfft2(np.fft.rfft2(white) * 0.1 ** np.minimum(frequency, 0.5), s=SHAPE[1:])
        return replace(tilts, array=(tilts.array + tilts.array.std() / noise.std() * noise).astype(np.float32))

    config, plugins = resolve_plugins(validate({**STACK, "method": "auto", "tune": ["stack"]}), Registry.load({"WEDGE_PLUGINS": ""}))
    both = pair_halves(half(1), half(2))
    known = begin(both.first, both.second, plugins, config, torch.device("cpu"), None)
    unknown = begin(both.mean, None, plugins, config, torch.device("cpu"), None)
    # Either half has a signal to noise of 1, their mean one of 2.
    assert known.chosen["signal_to_noise"] == pytest.approx(2, rel=0.25), unknown.chosen["signal_to_noise"]
    assert unknown.chosen["signal_to_noise"] > 1.5 * known.chosen["signal_to_noise"]


@pytest.fixture
def saves(monkeypatch) -> list[int]:
    """After which fits the sums are kept."""
    kept, save = [], StackRun.save
    monkeypatch.setattr(StackRun, "save", lambda self, path: (kept.append(self.progress.step), save(self, path)))
    return kept


def put_beside_fits(monkeypatch) -> None:
    monkeypatch.setattr("wedge.fit.stack_sum.bytes_beside_fits", lambda job, spread: 1)


@pytest.mark.parametrize("beside_fits", [False, True])
def test_stopped_stack_goes_on_where_it_was(noisy, whole, tmp_path, monkeypatch, saves, beside_fits):
    if beside_fits:
        put_beside_fits(monkeypatch)
    # After a look at the third fit: what it has added is taken back.
    stop = StopAfter(ALL_PASSES + 10)
    with pytest.raises(StoppedError, match="2 of 12 fits"):
        run(noisy, tmp_path / "run", STACK, stop=stop, on_progress=stop.count)
    assert saves == ([0, 2] if beside_fits else [0, 1, 2])
    with pytest.raises(UsageError, match="no result before its last fit"):
        run(noisy, tmp_path / "run", STACK, resume=True, stop_now=True)
    resumed, result = run(noisy, tmp_path / "run", STACK, resume=True)
    assert np.array_equal(resumed, whole.slices)
    assert result.chosen == whole.result.chosen


def test_sums_beside_the_fits_are_kept_now_and_then_and_where_the_volume_cannot_be_written(noisy, whole, tmp_path, monkeypatch, saves):
    put_beside_fits(monkeypatch)
    assert np.array_equal(run(noisy, tmp_path / "seldom", STACK)[0], whole.slices)
    assert saves == [0]
    run(noisy, tmp_path / "often", STACK, checkpoint_seconds=0.0)
    assert saves == [0, *range(13)]

    def refuse(self, y_start, block):
        raise InputError("the disk is full")

    monkeypatch.setattr(Memory, "write_rows", refuse)
    with pytest.raises(InputError, match="disk is full"):
        run(noisy, tmp_path / "full", STACK)
    assert saves[14:] == [0, 12]


def test_what_is_not_believed_is_taken_from_the_sharpest_fit(noisy, tmp_path, monkeypatch):
    """As a whole, by rows, and after a stop."""
    share, rest = np.clip(np.linspace(1.4, -0.4, len(knots())), 0, 1), np.linspace(0, 0.3, len(knots()))
    told, stacks, estimates, settings = [], [], [], STACK
    add, init = RadialFilter.add, StackRun.__init__

    def tell(stack, believed, rest_of, strength):
        told.append((believed, rest_of, strength))
        return replace(stack, believed=share, rest=rest, rest_of=rest_of)

    def spy(self, into, read, weights):
        estimates.append((read(0, SHAPE[1]), weights))
        add(self, into, read, weights)

    monkeypatch.setattr(stack_finish, "with_share", tell)
    monkeypatch.setattr(RadialFilter, "add", spy)
    monkeypatch.setattr(StackRun, "__init__", lambda self, *args: (init(self, *args), stacks.append(self))[0])
    found, result = run(noisy, tmp_path / "whole", settings)
    (believed, rest_of, strength) = told[0]
    # The least smoothed fit: ramp-weighted, without a blur, as it ends.
    assert rest_of == 3 * 6 + 2
    assert believed[:4] == pytest.approx(1.0)
    assert 0.001 < strength < 0.03
    assert "rest" not in result.summary()["chosen"]
    [density] = [density for density, weights in estimates if np.array_equal(weights, rest)]
    radial, expected = RadialFilter((SHAPE[0], SHAPE[1], SHAPE[2]), torch.device("cpu")), torch.zeros(SHAPE[1], SHAPE[0], SHAPE[2])
    stack = stacks[0]
    bright, how = bright_density(stack.by), Emptying(**result.chosen["emptied"])
    whole = emptied(stack.total, stack.by, 0, SHAPE[1], bright, how)
    add(radial, expected, lambda low, high: whole[low:high], share)
    add(radial, expected, lambda low, high: density[low:high], rest)
    assert np.allclose(found, expected.numpy() * result.normalization.scale, atol=1e-5 * np.abs(found).max())
    rows = torch.cat([stack.finished(y, min(y + 7, SHAPE[1]), bright) for y in range(0, SHAPE[1], 7)])
    assert np.allclose(rows.numpy() * result.normalization.scale, found, atol=1e-5 * np.abs(found).max())
    stop = StopAfter(ALL_PASSES + 35)
    with pytest.raises(StoppedError, match="8 of 12 fits"):
        run(noisy, tmp_path / "run", settings, stop=stop, on_progress=stop.count)
    assert np.array_equal(run(noisy, tmp_path / "run", settings, resume=True)[0], found)


def test_sums_stay_on_a_gpu_where_they_leave_the_fits_their_room():
    def job(limit, device="cuda"):
        geometry = SimpleNamespace(volume_shape=(256, 1024, 1024))
        return SimpleNamespace(device=torch.device(device), limit=limit, wide=SimpleNamespace(geometry=geometry))

    voxels = 4 * 256 * 1024 * 1024
    assert bytes_beside_fits(job(21 * voxels), False) == 4 * voxels
    assert bytes_beside_fits(job(19 * voxels), False) == 0
    assert bytes_beside_fits(job(21 * voxels), True) == 0
    assert bytes_beside_fits(job(100 * voxels), True) == 6 * voxels
    assert bytes_beside_fits(job(100 * voxels, "cpu"), False) == 0


def test_a_sum_of_other_fits_is_not_gone_on_with(noisy, tmp_path, monkeypatch):
    """As a version leaves it whose stacks are of others."""
    stop, settings = StopAfter(ALL_PASSES + 10), STACK
    with pytest.raises(StoppedError):
        run(noisy, tmp_path / "run", settings, stop=stop, on_progress=stop.count)
    monkeypatch.setattr("wedge.fit.members._NOISY_FITS", members._NOISY_FITS[:5])
    with pytest.raises(
        InputError, match="of another version, whose stacks are of other fits, or emptied otherwise: start again with --overwrite"
    ):
        run(noisy, tmp_path / "run", settings, resume=True)


def test_a_fit_that_was_stopped_at_its_end_is_kept(noisy, whole, tmp_path):
    stop = StopAfter(ALL_PASSES + 2 * 4)
    with pytest.raises(StoppedError, match="2 of 12 fits"):
        run(noisy, tmp_path / "run", STACK, stop=stop, on_progress=stop.count)
    assert np.array_equal(run(noisy, tmp_path / "run", STACK, resume=True)[0], whole.slices)


def test_stack_does_not_depend_on_memory(noisy, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "plan_memory", lambda *args: MemoryPlan(11, False, 0, 0))
    assert relative(run(noisy, tmp_path / "run", STACK)[0], whole.slices) < 0.02


def test_stack_tells_the_error_of_views_that_the_user_holds_out(noisy, tmp_path):
    result = run(noisy, tmp_path / "run", {**STACK, "passes": 8, "hold_out": 0.2})[1]
    assert result.held_out_error is not None
    assert result.held_out_error > 0


def test_stack_is_refused_where_no_view_can_judge(tilts, tmp_path):
    few = replace(tilts, array=tilts.array[:8], geometry=tilts.geometry.with_views(range(8)))
    with pytest.raises(InputError, match="--method network"):
        run(few, tmp_path / "run", STACK)
