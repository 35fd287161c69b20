"""A network that learns from halves of the views, and what they show beyond it: what it betters, and what it does not depend on."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import DeviceError, DivergedError, InputError, StoppedError
from wedge.fbp import fbp_slices
from wedge.fit.adaptive import smoothed
from wedge.fit.adaptive_run import AdaptiveRun
from wedge.fit.begin import begin
from wedge.fit.checkpoint import CHECKPOINT_NAME
from wedge.fit.config import FitConfig
from wedge.fit.known import COARSE_VOXELS, KnownDensity
from wedge.fit.loop import StopRequest
from wedge.fit.reconstruct import Plugins, reconstruct
from wedge.fit.run_dir import prepare_run_dir
from wedge.fit.settings import validate
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

CPU = torch.device("cpu")
SHAPE = (20, 40, 32)  # z, y, x
GEOMETRY = TiltGeometry(tuple(np.linspace(-54, 54, 37)), SHAPE[1:], SHAPE)
QUICK = {"restore": {"steps": 12, "cube": 16, "channels": 2, "rounds": 2, "iterations": 4, "clear_above": 1.0}}


@pytest.fixture(scope="module")
def projector():
    return Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(GEOMETRY, CPU)


@pytest.fixture(scope="module")
def rods() -> torch.Tensor:
    """Short rods in all directions, their mean taken away as lenses do, ``(y, z, x)``."""
    random = np.random.default_rng(0)
    num_z, num_y, num_x = SHAPE
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (num_y, num_z, num_x)], indexing="ij"), -1)
    density = np.zeros((num_y, num_z, num_x))
    for _ in range(24):
        axis = random.normal(size=3)
        away = grid - random.uniform((4, 4, 8), (num_y - 4, num_z - 4, num_x - 8))
        along = away @ (axis / np.linalg.norm(axis))
        across = (away**2).sum(-1) - along**2
        density += np.exp(-across / 2 / 1.2**2) * (np.abs(along) < 5) - 0.4 * np.exp(-(away**2).sum(-1) / 2 / 3.5**2)
    return torch.from_numpy(density.astype(np.float32))


@pytest.fixture(scope="module")
def views(rods, projector) -> np.ndarray:
    return projector.project(rods).numpy()


def noisy(views: np.ndarray, signal_to_noise: float, seed: int = 1) -> TiltSeries:
    noise = np.random.default_rng(seed).normal(scale=views.std() / signal_to_noise**0.5, size=views.shape)
    return TiltSeries(np.ascontiguousarray((views + noise).transpose(1, 0, 2), dtype=np.float32), GEOMETRY, "rods")


class Collector:
    def __init__(self) -> None:
        self.rows: dict[int, torch.Tensor] = {}

    def write_rows(self, y_start: int, block) -> None:
        self.rows[y_start] = torch.as_tensor(block)

    @property
    def slices(self) -> torch.Tensor:
        return torch.cat([self.rows[start] for start in sorted(self.rows)])


def configured(**changes) -> FitConfig:
    return validate({"network": {"name": "voxel"}, "projector": {"name": "torch"}, "method": "restore", "positivity": "off", **changes})


def plugins() -> Plugins:
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    return Plugins(registry.resolve("network", "voxel"), registry.resolve("projector", "torch", {"cache": False}))


def run(folder: Path, series: TiltSeries, config: FitConfig, resume: bool = False, **options):
    prepare_run_dir(folder, series, config, half=options.get("half"), resume=resume, overwrite=True)
    out = Collector()
    result = reconstruct(series, out, plugins(), config, device=CPU, run_dir=folder, resume=resume, **options)
    return out.slices, result


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_it_is_nearer_to_the_truth_than_what_it_learns_from_and_than_the_network_alone(rods, views, projector, tmp_path) -> None:
    learned = {"steps": 100, "cube": 16, "channels": 4, "learning_rate": 3e-3, "clear_above": 1.0}
    series = noisy(views, 1)
    restored, told = run(tmp_path / "r", series, configured(restore=learned))
    network, _ = run(tmp_path / "n", series, configured(restore=learned | {"strength": 1e12}))
    measured = fbp_slices(torch.from_numpy(series.array.transpose(1, 0, 2).copy()), projector, GEOMETRY)
    assert likeness(measured, rods) + 0.15 < likeness(restored, rods)
    assert likeness(network, rods) + 0.01 < likeness(restored, rods)
    assert (told.steps, told.summary()["learned_steps"], told.config.tune) == (100, 100, ())


def test_the_method_is_taken_for_density_of_both_signs_that_something_can_be_learned_from(views, monkeypatch) -> None:
    def kind(series: TiltSeries, half: TiltSeries | None = None, **changes) -> str:
        told = {"method": "auto", "tune": ("strength", "restore")} | changes
        return begin(series, half, plugins(), configured(**told), CPU, None).config.method

    assert kind(noisy(views, 2)) == "adaptive", "too few voxels"
    monkeypatch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", math.prod(SHAPE))
    assert kind(noisy(views, 2)) == "restore"
    assert kind(noisy(views, 1e4)) == "restore"
    assert kind(noisy(views, 2), tune=("strength",)) == "adaptive"
    assert kind(noisy(views, 2), positivity="on") != "restore"
    few = replace(GEOMETRY, tilt_angles_deg=GEOMETRY.tilt_angles_deg[:12])
    first, second = (replace(noisy(views, 2, seed), array=noisy(views, 2, seed).array[:12], geometry=few) for seed in (1, 2))
    assert kind(first) == "adaptive"
    assert kind(first, second) == "restore", "halves of the frames need not be halved"
    assert kind(replace(noisy(views, 2), geometry=GEOMETRY.with_volume((15, 40, 32)))) == "adaptive"


def test_halves_of_the_frames_are_learned_from_in_two_ways(views, tmp_path) -> None:
    """In turn with every other view of their mean."""
    said: list[str] = []
    found, told = run(tmp_path / "two", noisy(views, 1), configured(**QUICK), half=noisy(views, 1, 2), say=said.append)
    assert told.steps == told.summary()["learned_steps"] == 18
    assert any("learns from both halves and every other view of their mean: 18 steps" in line for line in said)
    assert torch.isfinite(found).all()


def test_halves_with_nothing_in_common_teach_nothing(tmp_path, monkeypatch) -> None:
    """Who asked for it hears so; who left the method to the data gets the adaptive field."""
    monkeypatch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", 1)
    series = noisy(np.random.default_rng(5).normal(size=(SHAPE[1], 37, SHAPE[2])), 1e6)
    with pytest.raises(InputError, match="nothing in common"):
        run(tmp_path / "r", series, configured(**QUICK))
    said: list[str] = []
    auto = configured(**QUICK | {"method": "auto", "tune": ("restore",)})
    found, told = run(tmp_path / "a", series, auto, say=said.append)
    alone, _ = run(tmp_path / "b", series, configured(**QUICK | {"method": "adaptive"}))
    assert told.config.method == "adaptive"
    assert any("no network learns" in line for line in said)
    assert torch.allclose(found, alone, atol=1e-5 * float(alone.std()))


def test_stopped_and_resumed_it_ends_as_if_it_had_not_been(views, tmp_path) -> None:
    series, config = noisy(views, 2), configured(**QUICK)
    whole, _ = run(tmp_path / "whole", series, config)
    stop = StopRequest()

    def after_seven(done: int, total: int, loss: float) -> None:
        stop.reason = "SIGTERM"

    with pytest.raises(StoppedError, match="after 10 of 12 steps"):
        run(tmp_path / "part", series, config, stop=stop, on_progress=after_seven)
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == [CHECKPOINT_NAME, "config.json", "log.jsonl"]
    assert json.loads((tmp_path / "part" / "log.jsonl").read_text().splitlines()[-1])["step"] == 10
    early, told = run(tmp_path / "part", series, config, resume=True, stop_now=True)
    assert (told.steps, told.stopped_early) == (10, True)
    resumed, told = run(tmp_path / "part", series, config, resume=True)
    assert (told.steps, told.stopped_early) == (12, False)
    assert torch.equal(resumed, whole)
    assert not torch.equal(early, whole)
    stop.reason = None

    def in_the_end(done: int, total: int, loss: float) -> None:
        stop.reason = "SIGTERM" if done > 12 else None

    # While rows are solved: nothing but these is lost.
    with pytest.raises(StoppedError, match="learned is kept"):
        run(tmp_path / "end", series, config, stop=stop, on_progress=in_the_end)
    assert torch.equal(run(tmp_path / "end", series, config, resume=True)[0], whole)


class Told:
    """What an observer is told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.progresses: list[tuple[int, int]] = []
        self.steps: list[int] = []
        self.volumes: list[torch.Tensor] = []

    def stage(self, name: str, done: int, total: int) -> None:
        self.stages.append(name)

    def progress(self, done: int, total: int) -> None:
        self.progresses.append((done, total))

    def offer(self, step: int, previews) -> None:
        self.volumes.append(previews["volume"]())

    def start(self, run) -> None:
        assert (run.first_step, run.num_steps) == (0, 12 + SHAPE[1])

    def step(self, step: int, scalars) -> None:
        self.steps.append(step)

    def preview(self, step: int, previews) -> None:
        pass

    def end(self, summary) -> None:
        pass

    failed = end


def test_observers_are_told_of_every_part_and_shown_the_sum(views, tmp_path) -> None:
    told, made = Told(), plugins()
    made.observers = {"told": told}
    series, config, out = noisy(views, 2), configured(**QUICK), Collector()
    prepare_run_dir(tmp_path / "r", series, config, resume=False, overwrite=True)
    result = reconstruct(series, out, made, config, device=CPU, run_dir=tmp_path / "r")
    expected = ["learning from halves of the views", "restoring rows", "finding the local scales", "solving rows 0 to 39"]
    assert [name for name in dict.fromkeys(told.stages) if name in expected] == expected
    assert told.progresses == sorted(told.progresses)
    assert told.progresses[-1] == (52, 52)
    assert told.steps == [10, 12, 52]
    assert torch.allclose(told.volumes[-1] * result.normalization.scale, out.slices, atol=1e-4)


def test_seeds_differ_and_the_same_one_repeats(views, tmp_path) -> None:
    series = noisy(views, 2)
    first, again, other = (run(tmp_path / str(n), series, configured(seed=seed, **QUICK))[0] for n, seed in enumerate((0, 0, 1)))
    assert torch.equal(first, again)
    assert float((first - other).std()) > 1e-3 * float(first.std())


def test_units_of_the_views_are_those_of_the_density(views, tmp_path) -> None:
    series = noisy(views, 2)
    scaled = replace(series, array=7 * series.array + 100)
    first, second = (run(tmp_path / str(n), each, configured(**QUICK))[0] for n, each in enumerate((series, scaled)))
    assert torch.allclose(second / 7, first, atol=0.02 * float(first.std()))


def test_views_held_out_are_not_seen_and_their_error_is_told(views, tmp_path) -> None:
    series = noisy(views, 2)
    config = configured(hold_out=0.2, **QUICK)
    found, told = run(tmp_path / "a", series, config)
    spoiled = np.array(series.array)
    held = begin(series, None, plugins(), config, CPU, None).held_out
    assert held is not None
    spoiled[list(held.array.indices)] += 100  # type: ignore[attr-defined]
    again, worse = run(tmp_path / "b", replace(series, array=spoiled), config)
    assert torch.allclose(again, found, atol=1e-4 * float(found.std()))
    assert worse.held_out_error > told.held_out_error > 0


def test_thin_volumes_few_views_and_little_memory_are_refused_in_a_line(views, tmp_path) -> None:
    series = noisy(views, 2)
    thin = replace(series, geometry=GEOMETRY.with_volume((12, 40, 32)))
    with pytest.raises(InputError, match="12 voxels along one side is too thin"):
        run(tmp_path / "a", thin, configured(**QUICK))
    few = replace(series, array=series.array[:3], geometry=replace(GEOMETRY, tilt_angles_deg=GEOMETRY.tilt_angles_deg[:3]))
    with pytest.raises(InputError, match="3 views are too few"):
        run(tmp_path / "b", few, configured(**QUICK))
    with pytest.raises(DeviceError, match="--max-memory"):
        run(tmp_path / "c", series, configured(**QUICK), max_memory=10**6)


def test_a_network_that_diverges_is_told(views, tmp_path) -> None:
    with pytest.raises(DivergedError, match="diverged at step 10"):
        run(tmp_path / "a", noisy(views, 2), configured(restore=QUICK["restore"] | {"learning_rate": 1e30}))


def test_field_beyond_known_density_is_what_is_left(rods, views, projector) -> None:
    """Of the truth nothing is left but noise, and of nothing all of it."""
    series = noisy(views, 2)
    job = begin(series, None, plugins(), configured(method="adaptive"), CPU, None)

    def beyond(density: torch.Tensor | None) -> torch.Tensor:
        known = None if density is None else KnownDensity(lambda low, high: density[low:high], projector, 0, CPU)
        made = AdaptiveRun(series, None, job.plugins, job.config, job.units, CPU, known)
        made.calibrate(job.config.adaptive, projector, lambda: True)
        return made.block(range(4, 30), job.config.adaptive, projector, lambda: True)

    plain = beyond(None)
    of_nothing = beyond(torch.zeros_like(rods))
    # What is coarse is left to what is known.
    assert float((of_nothing - plain).std()) < 0.5 * float(plain.std())
    assert likeness(of_nothing - plain, smoothed(plain, COARSE_VOXELS)) < -0.97
    near = beyond(rods) - rods[4:30]
    assert float(near.std()) < 0.4 * float((plain - rods[4:30]).std())


def test_known_density_has_no_margins_and_shows_what_the_projector_sees(rods, views, projector) -> None:
    known = KnownDensity(lambda low, high: rods[low:high], projector, 5, CPU)
    wide = known.density(range(3, 9))
    assert wide.shape == (6, SHAPE[0], SHAPE[2] + 10)
    assert torch.equal(wide[:, :, 5:-5], rods[3:9])
    assert not wide[:, :, :5].any()
    assert np.allclose(known.views(range(3, 9)), views[3:9], atol=1e-4 * views.std())


def test_nothing_beyond_the_background_is_kept_unless_both_signs_are_asked_for(views, tmp_path) -> None:
    quick = {"restore": QUICK["restore"] | {"other_side": 0.5}}
    series, said = noisy(views, 1), []
    for positivity in ("auto", "off"):
        changes = quick | {"positivity": positivity, "offset": float(series.array.mean())}
        found, told = run(tmp_path / positivity, series, configured(**changes), say=said.append)
        flat = ((found == found.min()) | (found == found.max())).float().mean()
        if positivity == "auto":
            level = told.summary()["chosen"]["background"]
            assert level in (pytest.approx(float(found.min())), pytest.approx(float(found.max())))
            assert float(flat) > 0.05
            assert any("nothing" in line and "background" in line for line in said)
            said.clear()
        else:
            assert "background" not in told.summary()["chosen"]
            assert float(flat) < 0.001
            assert not any("background" in line for line in said)
