"""Laws of the observer that writes what is watched: it costs little, changes nothing, and tells all there is of any kind of fit."""

import json
import time
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from wedge_watch.budget import Budget
from wedge_watch.curves import MOST_POINTS, Curves
from wedge_watch.observer import WatchObserver
from wedge_watch.options import WatchOptions
from wedge_watch.pace import Pace

from wedge.contracts import RunInfo
from wedge.data import TiltSeries
from wedge.errors import StoppedError
from wedge.fit.loop import StopRequest
from wedge.fit.reconstruct import reconstruct
from wedge.fit.run_dir import prepare_run_dir
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.pages.run_files import RunFiles
from wedge.preview import Preview
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres

CPU = torch.device("cpu")
SHAPE = (8, 10, 12)
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 13)), SHAPE[1:], SHAPE, pixel_size_angstrom=10.0)
METHODS = {
    "network": {"passes": 12, "hold_out": 0.2},
    "stack": {"method": "stack", "passes": 8},
    "adaptive": {"method": "adaptive", "adaptive": {"rounds": 2, "iterations": 3}},
}
SETTINGS = {
    "network": {"name": "voxel"},
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.1}],
    "perturbation": 0.05,
}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Memory:
    def __init__(self):
        self.slices = np.zeros((SHAPE[1], SHAPE[0], SHAPE[2]), np.float32)

    def write_rows(self, y_start, block):
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


@pytest.fixture(scope="module")
def tilts():
    views = chords(make_spheres(SHAPE, seed=5), GEOMETRY, 0, SHAPE[1]).transpose(1, 0, 2)
    noise = np.random.default_rng(1).normal(0, 0.3 * views.std(), views.shape)
    return TiltSeries(np.ascontiguousarray(views + noise, dtype=np.float32), GEOMETRY, "spheres", simulated=True)


def fit(tilts, run_dir, method, observer=None, stop=None, resume=False, **options):
    config, plugins = resolve_plugins(validate(SETTINGS | METHODS[method]), Registry.load({"WEDGE_PLUGINS": ""}))
    plugins.observers = {"watch": observer} if observer else {}
    prepare_run_dir(run_dir, tilts, config, resume=resume, overwrite=False)
    memory = Memory()
    reconstruct(tilts, memory, plugins, config, device=CPU, run_dir=run_dir, stop=stop, resume=resume, **options)
    return memory.slices


def test_what_the_thread_takes_counts(tmp_path, monkeypatch):
    """It writes signs of life while the fit goes on, in the fit's own process."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("wedge_watch.observer.time.thread_time", lambda: float(next(ticks)))
    made = observer(beat_seconds=0.05)
    made.prepare(str(tmp_path))
    deadline = time.monotonic() + 120
    while made._budget.spent < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    made.end({})
    assert made._budget.spent >= 3
    assert not made._budget.has_room_for(0.0)


def observer(**options):
    return WatchObserver(WatchOptions(**({"seconds": 0.0, "beat_seconds": 60.0} | options)))


def generous(made):
    """Let it look as often as it is offered something; the real times of a fit of milliseconds leave room for nothing."""
    made._budget._share = 1e9
    return made


class Told(WatchObserver):
    """Keeps what it was told of."""

    def __init__(self):
        super().__init__(WatchOptions(seconds=0, beat_seconds=60))
        self.stages, self.done = [], []

    def stage(self, name, done, total):
        self.stages.append((name, done, total))
        super().stage(name, done, total)

    def progress(self, done, total):
        self.done.append(done / total)
        super().progress(done, total)


STAGES = {
    "network": ["measuring noise and units", "fitting", "writing the volume"],
    "stack": ["finding the weights of the stack on some rows", "fits of the stack", "writing the sum of the stack"],
    "adaptive": ["finding the local scales", "solving rows 0 to 9"],
}


def check_stages(told, method):
    names = [name for name, _, _ in told.stages]
    assert [name for name in dict.fromkeys(names) if name in STAGES[method]] == STAGES[method]
    assert told.done == sorted(told.done)
    assert told.done[-1] == 1
    if method == "stack":
        count = sum(name == "fits of the stack" for name in names)
        assert [(done, total) for name, done, total in told.stages if name == STAGES[method][0]] == [(n, count) for n in range(count + 1)]
        # The weights take the first half.
        assert 0.5 in told.done


@pytest.mark.parametrize("method", METHODS)
def test_watching_changes_nothing_and_shows_every_part_of_the_fit(tilts, tmp_path, method):
    plain = fit(tilts, tmp_path / "plain.run", method)
    told = generous(Told())
    watched = fit(tilts, tmp_path / "watched.run", method, told)
    assert np.array_equal(plain, watched)
    check_stages(told, method)
    files = RunFiles(tmp_path / "watched.run" / "watch")
    state = files.state()
    assert (state["state"], state["method"], state["step"]) == ("ended", method, state["num_steps"])
    assert state["progress"][0] == state["progress"][1] > 0
    assert any("signal to noise" in line for line in state["said"])
    preview = Preview.from_bytes(files.preview())
    assert preview.codes.shape == SHAPE
    assert preview.voxel_size_angstrom == 10.0
    # What was last shown is what was written, up to the last step.
    shown = preview.low + preview.codes / 255.0 * (preview.high - preview.low)
    assert np.corrcoef(shown.ravel(), watched.swapaxes(0, 1).ravel())[0, 1] > 0.99
    assert np.isclose(shown.std(), watched.std(), rtol=0.2)
    assert files.spectrum()["shape"] == [SHAPE[0], SHAPE[2]]
    assert files.spectrum()["tilt_range_deg"] == [-60.0, 60.0]
    if method == "network":
        assert {"loss", "held_out"} <= set(files.curves())
        assert state["scalars"]["held_out"] == files.curves()["held_out"][1][-1]


def test_margins_are_not_shown_and_dark_particles_are_dark(tilts, tmp_path):
    tilts = replace(tilts, array=-tilts.array)
    settings = METHODS["network"] | {"margin": 8}
    try:
        METHODS["wide"] = settings
        written = fit(tilts, tmp_path / "run", "wide", generous(observer()))
    finally:
        del METHODS["wide"]
    preview = Preview.from_bytes(RunFiles(tmp_path / "run" / "watch").preview())
    assert preview.codes.shape == SHAPE
    assert np.corrcoef(preview.codes.ravel(), written.swapaxes(0, 1).ravel())[0, 1] > 0.98
    assert preview.low < -0.1
    assert preview.high < 0.01


def test_curves_that_are_damaged_begin_anew(tmp_path):
    watching = observer()
    watching.prepare(str(tmp_path))
    (tmp_path / "watch" / "curves.json").write_text("nonsense")
    watching.start(RunInfo(str(tmp_path), 10, 5, GEOMETRY))
    watching.step(6, {"loss": 1.0})
    watching.end({})
    assert RunFiles(tmp_path / "watch").curves() == {"loss": [[6.0], [1.0]]}


class StopAfter(StopRequest):
    def count(self, done, total, loss):
        self.reason = "SIGTERM" if done >= total // 2 else None


def test_a_fit_that_goes_on_goes_on_with_its_curves(tilts, tmp_path):
    stop = StopAfter()
    with pytest.raises(StoppedError):
        fit(tilts, tmp_path / "run", "network", observer(), stop, on_progress=stop.count)
    files = RunFiles(tmp_path / "run" / "watch")
    state, before = files.state(), files.curves()["loss"]
    assert state["state"] == "interrupted"
    assert "continue with --resume" in state["error"]
    fit(tilts, tmp_path / "run", "network", observer(), resume=True)
    steps, values = files.curves()["loss"]
    assert files.state()["state"] == "ended"
    assert (steps[: len(before[0])], values[: len(before[1])]) == tuple(before)
    assert steps == sorted(set(steps))
    assert steps[-1] == files.state()["num_steps"]


def test_a_fit_that_fails_says_why(tilts, tmp_path):
    class Full(Memory):
        def write_rows(self, y_start, block):
            raise OSError(28, "No space left on device")

    config, plugins = resolve_plugins(validate(SETTINGS | METHODS["network"]), Registry.load({"WEDGE_PLUGINS": ""}))
    plugins.observers = {"watch": observer()}
    prepare_run_dir(tmp_path / "run", tilts, config, resume=False, overwrite=False)
    with pytest.raises(OSError, match="No space"):
        reconstruct(tilts, Full(), plugins, config, device=CPU, run_dir=tmp_path / "run")
    state = RunFiles(tmp_path / "run" / "watch").state()
    assert state["state"] == "failed"
    assert "No space left" in state["error"]


def test_what_cannot_be_written_never_ends_a_fit(tilts, tmp_path):
    class Buried(WatchObserver):
        def start(self, run):
            super().start(run)
            for path in (Path(run.run_dir) / "watch").iterdir():
                path.unlink()
            (Path(run.run_dir) / "watch").rmdir()

    plain = fit(tilts, tmp_path / "plain.run", "network")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watched = fit(tilts, tmp_path / "watched.run", "network", generous(Buried(WatchOptions(seconds=0))))
    assert np.array_equal(plain, watched)


def test_a_preview_that_fails_is_noted_and_the_signs_of_life_go_on(tmp_path):
    clock = Clock()
    watching = generous(WatchObserver(WatchOptions(seconds=0, beat_seconds=0.05), clock))
    watching.prepare(str(tmp_path))
    watching.start(RunInfo(str(tmp_path), 10, 0, GEOMETRY, volume_shape=SHAPE))
    tried = []

    def volume():
        tried.append(clock.now)
        if len(tried) == 1:
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return torch.zeros(SHAPE[1], SHAPE[0], SHAPE[2])

    files = RunFiles(tmp_path / "watch")
    for clock.now in (10.0, 20.0, 80.0):
        watching.offer(1, {"volume": volume})
        watching._write_state()
        if clock.now < 80:
            assert files.state()["note"] == "no preview: CUDA out of memory. Tried to allocate"
    assert tried == [10.0, 80.0]
    assert "note" not in files.state()
    assert files.state()["preview"] == {"step": 1, "what": "the field at step 1"}
    watching.end({})


@pytest.mark.parametrize(("slice_seconds", "voxel_seconds"), [(0.02, 1.0), (0.15, 7.5), (0.01, 0.5)])
def test_previews_never_take_more_than_a_twentieth_of_the_fits_time(tmp_path, slice_seconds, voxel_seconds):
    """A fit of many short steps, whose previews are dear: what they took is within the share after every step."""
    clock, spent, made = Clock(), [0.0], []
    watching = WatchObserver(WatchOptions(seconds=0.0, beat_seconds=60), clock)
    watching.prepare(str(tmp_path))
    watching.start(RunInfo(str(tmp_path), 4000, 0, GEOMETRY, volume_shape=(50, 4, 4)))

    def cost(seconds, answer):
        clock.now += seconds
        spent[0] += seconds
        if answer.ndim == 3:
            made.append(clock.now)
        return answer

    previews = {
        "volume": lambda: cost(voxel_seconds, torch.zeros(4, 50, 4)),
        "spectrum_xz": lambda: cost(slice_seconds, torch.zeros(4, 4)),
    }
    for step in range(1, 4001):
        clock.now += 0.5
        watching.step(step, {"loss": 1.0})
        watching.offer(step, previews)
        assert spent[0] <= 0.05 * 0.5 * step + 1e-9
    watching.end({})
    # And it is used: most of what is allowed, where previews are wanted all the time.
    assert len(made) > 3
    assert spent[0] > 0.025 * 2000


def test_previews_come_by_the_clock_and_not_by_the_step(tmp_path):
    clock, made = Clock(), []
    watching = generous(WatchObserver(WatchOptions(seconds=10.0, beat_seconds=60), clock))
    watching.prepare(str(tmp_path))
    watching.start(RunInfo(str(tmp_path), 1000, 0, GEOMETRY, volume_shape=(2, 2, 2)))
    for step in range(1, 1001):
        clock.now += 0.1
        watching.step(step, {"loss": 1.0})
        watching.offer(step, {"volume": lambda: made.append(clock.now) or torch.zeros(2, 2, 2)})
    watching.end({})
    assert 9 <= len(made) <= 11
    assert all(later - earlier >= 10 for earlier, later in pairwise(made))


def test_a_budget_counts_what_is_spent_anywhere():
    clock = Clock()
    budget = Budget(0.05, clock)
    clock.now = 100.0
    assert budget.has_room_for(3.9)
    assert not budget.has_room_for(4.1)
    with budget.spending():
        clock.now += 2.0
    budget.add(1.0)
    assert budget.spent == 3.0
    assert budget.fit_seconds == 99.0
    assert not budget.has_room_for(1.6)


def test_curves_of_any_length_stay_small_and_keep_their_ends():
    curves = Curves()
    for step in range(1, 100_001):
        curves.add(step, {"loss": 1 / step, "held_out": float("nan")})
    steps, values = curves.to_json()["loss"]
    assert set(curves.to_json()) == {"loss"}
    assert MOST_POINTS / 2 <= len(steps) <= MOST_POINTS
    assert (steps[0], steps[-1]) == (1, 100_000)
    assert values == [1 / step for step in steps]
    again = Curves()
    again.load(curves.to_json() | {"bad": 3, "worse": [[1], ["x"]], "uneven": [[1, 2], [1.0]]}, before=1000)
    assert max(again.to_json()["loss"][0]) <= 1000


def test_time_left_follows_the_pace_since_a_resumed_fit_went_on():
    clock = Clock()
    pace = Pace(clock)
    clock.now = 50.0
    pace.begin(600, 1000)
    assert pace.to_json()["seconds_left"] is None
    clock.now = 60.0
    pace.reach(700, 1000)
    assert pace.to_json() == {"progress": [700, 1000], "seconds": 60.0, "seconds_left": 30.0}


def test_signs_of_life_come_while_the_fit_is_silent(tmp_path):
    watching = observer(beat_seconds=0.05)
    watching.prepare(str(tmp_path))
    files = RunFiles(tmp_path / "watch")
    first, waited = files.state()["beat"], 0.0
    while files.state()["beat"] < first + 3 and waited < 10:
        time.sleep(0.05)
        waited += 0.05
    assert files.state()["beat"] >= first + 3
    assert json.dumps(files.state()["command"])
    watching.failed(RuntimeError("a\nb"))
    last = files.state()
    time.sleep(0.2)
    assert files.state() == last
    assert (last["state"], last["error"]) == ("failed", "a b")
