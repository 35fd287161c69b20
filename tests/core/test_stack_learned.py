"""Laws of the estimate of a stack that a network learns from halves of the views."""

import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import InputError, StoppedError
from wedge.fit import members, stack_finish, stack_run
from wedge.fit.begin import begin
from wedge.fit.checkpoint import CHECKPOINT_NAME
from wedge.fit.emptied import Emptying
from wedge.fit.job import Job
from wedge.fit.loop import StopRequest
from wedge.fit.reconstruct import Reconstruction, reconstruct
from wedge.fit.restore_halves import halves_of_views, voxels_to_learn_from
from wedge.fit.run_dir import prepare_run_dir, read_settled, write_settled
from wedge.fit.sample import rows_of
from wedge.fit.settings import resolve_plugins, validate
from wedge.fit.stack import RingEquations, Stack, knots
from wedge.fit.stack_learned import NUM_LEARNED, add_learned, learned_estimates
from wedge.fit.stack_sum import StackRun
from wedge.fit.trials import views_to_judge_by
from wedge.formats.views import views_of
from wedge.geometry import TiltGeometry
from wedge.registry import Registry
from wedge.restore.memory import Footprint
from wedge.restore.run import pair_on
from wedge.restore.training import Learning
from wedge.spheres import chords, make_spheres

CPU = torch.device("cpu")
SHAPE = (18, 40, 32)
SETTINGS = {
    "method": "stack",
    "tune": ["stack", "restore"],
    "network": {"name": "voxel"},
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.1}],
    "passes": 4,
    "learning_rate": 0.02,
    "restore": {"steps": 40, "cube": 16, "channels": 3, "learning_rate": 3e-3, "clear_above": 1.0},
}


@pytest.fixture(autouse=True)
def enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small volumes be learned from."""
    monkeypatch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", math.prod(SHAPE))


@pytest.fixture(scope="module")
def noisy() -> TiltSeries:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 41)), SHAPE[1:], SHAPE)
    views = chords(make_spheres(SHAPE, seed=5), geometry, 0, SHAPE[1]).transpose(1, 0, 2)
    noise = np.random.default_rng(1).normal(0, 0.5 * views.std(), views.shape)
    return TiltSeries(np.ascontiguousarray(views + noise, dtype=np.float32), geometry, "spheres", simulated=True)


class Memory:
    """Takes the rows that a store would."""

    def __init__(self) -> None:
        self.slices = np.full((SHAPE[1], SHAPE[0], SHAPE[2]), np.nan, dtype=np.float32)

    def write_rows(self, y_start: int, block: torch.Tensor) -> None:
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


def begun(tilts: TiltSeries, settings: dict | None = None, half: TiltSeries | None = None) -> Job:
    config, plugins = resolve_plugins(validate(SETTINGS | (settings or {})), Registry.load({"WEDGE_PLUGINS": ""}))
    return begin(tilts, half, plugins, config, CPU, None)


def run(tilts: TiltSeries, run_dir: Path, settings: dict | None = None, **options) -> tuple[np.ndarray, Reconstruction]:
    config, plugins = resolve_plugins(validate(SETTINGS | (settings or {})), Registry.load({"WEDGE_PLUGINS": ""}))
    memory = Memory()
    prepare_run_dir(run_dir, tilts, config, resume=options.get("resume", False), overwrite=True)
    return memory.slices, reconstruct(tilts, memory, plugins, config, device=CPU, run_dir=run_dir, **options)


@pytest.fixture(scope="module")
def whole(noisy, tmp_path_factory) -> tuple[np.ndarray, Reconstruction, Path]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", 1)
        return *run(noisy, folder), folder


def learn(job: Job, judges: list[int]):
    return learned_estimates(job, judges, range(5, 21), lambda: True, lambda message: None)


@pytest.fixture(scope="module")
def judged(noisy):
    """What is learned from the views that do not judge, as the weights see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", 1)
        return learn(begun(noisy), views_to_judge_by(noisy.geometry.tilt_angles_deg)).judged


def test_what_was_learned_are_two_more_estimates_whose_weights_are_the_last(noisy, whole) -> None:
    found, told, _ = whole
    assert np.isfinite(found).all()
    assert told.chosen["learned"] is True
    assert told.chosen["few_views"] is False
    estimates = 3 * told.chosen["fits"]
    assert len(told.chosen["weights"]) == estimates + NUM_LEARNED == estimates + 2
    assert np.abs(told.chosen["weights"][-NUM_LEARNED:]).max(1).min() > 0.05
    assert told.chosen["base"] < estimates


def test_views_that_judge_are_not_learned_from(noisy, judged) -> None:
    judges = views_to_judge_by(noisy.geometry.tilt_angles_deg)
    spoiled = np.array(noisy.array)
    spoiled[judges] *= 3
    second = learn(begun(TiltSeries(spoiled, noisy.geometry, "spoiled", simulated=True)), judges)
    measured = (np.array(noisy.array)[judges, 5:21] / begun(noisy).units.scale).transpose(1, 0, 2)
    for one, other in zip(judged, second.judged, strict=True):
        prediction = one.prediction
        assert prediction.shape == (16, len(judges), SHAPE[2])
        # The units of a fit are of all views.
        ratio = float((prediction * other.prediction).sum() / (other.prediction**2).sum())
        assert np.allclose(other.prediction * ratio, prediction, atol=1e-3 * prediction.std())
        assert np.corrcoef(prediction.ravel(), measured.ravel())[0, 1] > 0.7
        # What noise hides is left out of it.
        assert 0.8 < float((prediction * measured).sum() / (prediction**2).sum()) < 2


def test_halves_of_the_frames_are_learned_from_in_turn_with_every_other_view_of_their_mean(noisy, monkeypatch) -> None:
    """But for the views that judge; where views are few, or there is one stack, there is one way to halve it."""
    learnings: list[Learning] = []

    def kept(*given):
        learnings.append(Learning(*given))
        return learnings[-1]

    monkeypatch.setattr("wedge.fit.stack_learned.Learning", kept)
    noise = np.random.default_rng(7).normal(0, 0.5, noisy.array.shape).astype(np.float32)
    first, second = (replace(noisy, array=noisy.array + sign * noise) for sign in (1, -1))
    job, judges = begun(first, half=second), views_to_judge_by(noisy.geometry.tilt_angles_deg)
    said: list[str] = []
    learned_estimates(job, judges, range(5, 21), lambda: True, said.append)
    assert any("learns from both halves and every other view of their mean: 60 steps" in line for line in said)
    others = [view for view in range(41) if view not in judges]
    both = [half for pair in learnings[0]._pairs for half in pair.halves]
    expected = [(first, others), (second, others), (noisy, others[::2]), (noisy, others[1::2])]
    for half, (series, views) in zip(both, expected, strict=True):
        alone = replace(job, tilts=views_of(series, views), halves=None)
        with ExitStack() as opened:
            even, odd = halves_of_views(alone, opened)[0].read(0, SHAPE[1])
        weight = len(views[::2]) / len(views)
        fitting = (weight * even + (1 - weight) * odd).flatten()
        assert np.corrcoef(half.flatten(), fitting)[0, 1] > 0.99
    learn(begun(noisy), judges)
    assert len(learnings[1]._pairs) == 1
    few = [replace(half, array=half.array[::3], geometry=noisy.geometry.with_views(range(0, 41, 3))) for half in (first, second)]
    learn(begun(few[0], half=few[1]), [])
    assert len(learnings[2]._pairs) == 1


def test_the_first_is_the_cautious_one(judged) -> None:
    """It has less of what is faint, and so less power."""
    cautious, bold = judged
    assert float(cautious.density.float().std()) < 0.99 * float(bold.density.float().std())
    assert np.corrcoef(cautious.prediction.ravel(), bold.prediction.ravel())[0, 1] > 0.95


def test_the_cautious_one_is_what_halves_alone_have_taught(noisy, monkeypatch) -> None:
    """The other one has learned from what was made of them since."""
    learnings, init = [], Learning.__init__
    monkeypatch.setattr(Learning, "__init__", lambda learning, *rest: learnings.append(learning) or init(learning, *rest))
    cautious, bold = learn(begun(noisy), []).restorations
    (learning,) = learnings
    assert (cautious.network, bold.network) == (learning.by_halves, learning.network)
    assert cautious.network is not bold.network
    alone = learn(begun(noisy, {"restore": {**SETTINGS["restore"], "own_rounds": 0, "steps": 20}}), []).restorations
    assert alone[0].network is alone[1].network
    assert all(torch.equal(one, same) for one, same in zip(alone[0].network.parameters(), cautious.network.parameters(), strict=True))


def test_what_is_added_is_the_density_filtered_by_its_weights(noisy) -> None:
    job = begun(noisy)
    estimate = learn(job, [])
    once, twice = torch.zeros(SHAPE[1], SHAPE[0], SHAPE[2]), torch.ones(SHAPE[1], SHAPE[0], SHAPE[2])
    weights = np.linspace(1.5, 0.2, len(knots()))
    restoration = estimate.restorations[0]
    add_learned(job, restoration, [(once, weights), (twice, 2 * weights)])
    assert torch.allclose(twice - 1, 2 * once, atol=1e-4 * float(once.std()))
    as_it_is = torch.zeros_like(once)
    add_learned(job, restoration, [(as_it_is, np.ones(len(knots())))])
    with ExitStack() as opened:
        blocks = restoration.blocks(halves_of_views(job, opened)[0])
        expected = torch.cat([density for _, density in blocks]) / job.units.scale
    assert torch.allclose(as_it_is, expected, atol=1e-3 * float(expected.std()))


def test_it_stands_where_the_sum_is_not_believed_and_tells_what_is_empty(noisy, tmp_path, monkeypatch) -> None:
    share, rest = np.linspace(0.9, 0.1, len(knots())), np.linspace(0.2, 0.7, len(knots()))
    told, runs, learned = [], [], []
    init, add = StackRun.__init__, stack_run.add_learned

    def tell(stack, believed, *rest_of):
        told.append(rest_of)
        return replace(stack, believed=share, rest=rest, rest_of=rest_of[0])

    def by_the_last(total, sources, *views):
        told.append(list(sources))
        return Emptying(max(sources), 0.3, 0.9)

    monkeypatch.setattr(stack_finish, "with_share", tell)
    monkeypatch.setattr(stack_finish, "find_emptying", by_the_last)
    monkeypatch.setattr(StackRun, "__init__", lambda self, *args: (init(self, *args), runs.append(self))[0])
    weights = []

    def add_and_tell(job, each, sums):
        learned.append((job, each))
        weights.append(sums[0][1])
        add(job, each, sums)

    monkeypatch.setattr(stack_run, "add_learned", add_and_tell)
    _, result = run(noisy, tmp_path / "run")
    estimates = 3 * result.chosen["fits"] + NUM_LEARNED
    assert told == [[result.chosen["base"], estimates - 1], (estimates - 2,)]
    assert result.chosen["emptied"] == {"by": estimates - 1, "below": 0.3, "scale": 0.9}
    assert np.array_equal(weights, result.chosen["weights"][-NUM_LEARNED:])
    # The first is the cautious one.
    assert float(learned[0][1].share.sum()) < float(learned[1][1].share.sum())
    expected = torch.zeros_like(runs[0].rest)
    add_learned(*learned[0], [(expected, rest)])
    assert float(expected.std()) > 0
    assert torch.equal(runs[0].rest, expected)
    by = torch.zeros_like(expected)
    add_learned(*learned[1], [(by, np.ones_like(rest))])
    assert torch.equal(runs[0].by, by)


def test_without_it_the_stack_is_as_it_was(noisy, whole, tmp_path) -> None:
    """Where it is not left to the data, where halves have nothing in common, and where there is little to learn from."""
    plain, told = run(noisy, tmp_path / "plain", {"tune": ["stack"]})
    assert told.chosen["learned"] is False
    assert not np.allclose(plain, whole[0], atol=1e-3 * plain.std())
    noise = np.random.default_rng(3).normal(1, 1, noisy.array.shape).astype(np.float32)
    said: list[str] = []
    _, told = run(TiltSeries(noise, noisy.geometry, "noise", simulated=True), tmp_path / "noise", say=said.append)
    assert told.chosen["learned"] is False
    assert any("the stack does without a network" in line for line in said)


def test_few_voxels_are_not_learned_from(noisy, monkeypatch) -> None:
    monkeypatch.setattr("wedge.fit.restore_halves.ENOUGH_VOXELS", math.prod(SHAPE) + 1)
    assert learn(begun(noisy), []) is None


def test_stopped_it_goes_on_where_it_was(noisy, whole, tmp_path) -> None:
    stop = StopRequest()

    def count(done: int, total: int, loss: float) -> None:
        # The second half are the fits of all rows.
        stop.reason = "SIGTERM" if done > 0.6 * total else None

    with pytest.raises(StoppedError, match="fits of the stack, which are kept"):
        run(noisy, tmp_path / "run", stop=stop, on_progress=count)
    found, _ = run(noisy, tmp_path / "run", resume=True)
    assert np.array_equal(found, whole[0])


def test_a_stop_as_the_weights_are_found_does_not_lose_it(noisy, whole, tmp_path) -> None:
    stop = StopRequest()

    def count(done: int, total: int, loss: float) -> None:
        stop.reason = "SIGTERM" if 2 * done >= total else None

    with pytest.raises(StoppedError, match="after 0 of"):
        run(noisy, tmp_path / "run", stop=stop, on_progress=count)
    found, _ = run(noisy, tmp_path / "run", resume=True)
    assert np.array_equal(found, whole[0])


def test_a_stop_while_it_is_learned_with_known_weights_keeps_nothing(noisy, whole, tmp_path) -> None:
    _, told, folder = whole
    write_settled(folder, told)
    stop = StopRequest()
    stop.reason = "SIGTERM"
    with pytest.raises(StoppedError, match="nothing is kept"):
        run(noisy, tmp_path / "run", settled=read_settled(folder), stop=stop)
    assert not (tmp_path / "run" / CHECKPOINT_NAME).exists()


def test_what_is_made_with_known_weights_learns_of_its_own_views(noisy, whole) -> None:
    """As either half of a whole does."""
    found, told, folder = whole
    write_settled(folder, told)
    again, _ = run(noisy, folder.with_name("again"), settled=read_settled(folder))
    # All views are learned from, without those that judged before.
    assert not np.array_equal(again, found)
    assert np.corrcoef(again.ravel(), found.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("otherwise", [lambda chosen: chosen["weights"].pop(), lambda chosen: chosen["emptied"].update(times=1.5)])
def test_what_another_version_chose_is_refused_before_anything_is_learned(noisy, whole, tmp_path, otherwise) -> None:
    """As it leaves it in a half's record: of other fits, or emptied otherwise."""
    _, told, folder = whole
    write_settled(folder, told)
    settled, said = read_settled(folder), []
    otherwise(settled.chosen)
    with pytest.raises(InputError, match="what is to be repeated is of another version"):
        run(noisy, tmp_path / "run", settled=settled, say=said.append)
    assert not any("learns" in line for line in said)


def test_known_weights_are_of_the_fits_of_the_whole_however_few_views_a_half_has(noisy) -> None:
    job = begun(noisy)
    half = SimpleNamespace(config=job.config, tilts=noisy, chosen={"signal_to_noise": 4.0})
    for few in (False, True):
        expected = members.members_for(job.config, 4.0, noisy.geometry, few_views=few)
        weights = [[0.0]] * sum(len(member.looks) for member in expected)
        progress = SimpleNamespace(chosen={"few_views": few, "learned": False, "weights": weights})
        assert stack_run._members(SimpleNamespace(job=half, progress=progress), "", "") == expected


def test_the_sum_leans_towards_what_was_learned(noisy, judged, monkeypatch) -> None:
    """The last estimate, and in fine detail the cautious one before it; where nothing was learned, no sum leans."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(Stack, "leaning_towards", lambda stack, *estimates: (asked.append(estimates), stack)[1])
    job = begun(noisy)
    some = members.members_for(job.config, 1.0, job.tilts.geometry)[:1]
    rows = rows_of(job.wide, range(5, 21))
    for estimates, ratio in ((judged, 0.5), (judged, 7.9), (judged, 9.0), ([], 0.5)):
        found = {"further": estimates, "signal_to_noise": ratio}
        members.find_weights(rows, job.plugins, some, job.units, CPU, job.limit, 0, lambda: True, **found)
    looks = len(some[0].looks)
    assert asked == [(looks + 1, looks)] * 2, "where noise is strong, and where it is faint"


def test_rays_beside_the_volume_count_less_in_how_a_sum_is_finished(noisy, monkeypatch) -> None:
    """Views of a density are those of its sum of rays, weighted as what was measured is."""
    job, rows = begun(noisy), range(5, 21)
    some, sample = members.members_for(job.config, 1.0, job.tilts.geometry)[:1], rows_of(job.wide, rows)
    density = torch.rand(len(rows), SHAPE[0], SHAPE[2], generator=torch.Generator().manual_seed(0))
    seen = []

    def spy(stack, densities, num_learned, sharpest, unseen, *rest):
        seen.append((unseen.predicted(density), unseen.measured))
        return stack

    monkeypatch.setattr(members, "with_finish", spy)
    for weights in (np.ones((1, 1, SHAPE[2])), np.linspace(1, 3, SHAPE[2])[None, None] ** 2):
        monkeypatch.setattr(members, "judging_weights", lambda geometry, margin, weights=weights: weights)
        members.find_weights(sample, job.plugins, some, job.units, CPU, job.limit, 0, lambda: True, signal_to_noise=1.0)
    factor = np.linspace(1, 3, SHAPE[2]) / np.sqrt(np.mean(np.linspace(1, 3, SHAPE[2]) ** 2))
    for plain, weighted in zip(*seen, strict=True):
        assert np.allclose(plain * factor, weighted, atol=1e-4 * np.abs(weighted).max())
    judges = views_to_judge_by(noisy.geometry.tilt_angles_deg)
    projector = job.plugins.projector.build(views_of(noisy, judges).geometry, CPU)
    assert np.allclose(seen[0][0], projector.project(density).numpy(), atol=1e-3 * np.abs(seen[0][0]).max())


def test_memory_is_planned_for_all_ways_of_halving_and_the_precision_of_the_network(noisy, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("wedge.fit.restore_halves.in_half_precision", lambda job: job.halves is None)
    monkeypatch.setattr(Footprint, "voxels_within", lambda self, *args: (asked.append((self.half_precision, self.pairs)), 1)[1])
    for half in (None, noisy):
        job = begun(noisy, half=half)
        with ExitStack() as opened:
            voxels_to_learn_from(job, halves_of_views(job, opened)[0])
    assert asked == [(True, 1), (False, 2)]


def test_where_every_other_view_has_nothing_in_common_frames_alone_are_learned_from(noisy, monkeypatch) -> None:
    calls, said = [], []

    def only_once(*given):
        calls.append(given)
        if len(calls) > 1:
            raise InputError("nothing in common")
        return pair_on(*given)

    monkeypatch.setattr("wedge.fit.restore_halves.pair_on", only_once)
    noise = np.random.default_rng(7).normal(0, 0.5, noisy.array.shape).astype(np.float32)
    first, second = (replace(noisy, array=noisy.array + sign * noise) for sign in (1, -1))
    learned_estimates(begun(first, half=second), [], range(0), lambda: True, said.append)
    assert len(calls) == 2
    assert any("learns from both halves: 40 steps" in line for line in said)


def test_single_best_is_one_of_those_that_are_said_to_be(noisy) -> None:
    random = np.random.default_rng(0)
    measured = random.normal(size=(24, 5, 24))
    near, nearest = (measured + random.normal(scale=scale, size=measured.shape) for scale in (0.5, 0.1))
    equations = RingEquations([near, nearest], measured)
    assert (equations.best().base, equations.best(1).base) == (1, 0)
