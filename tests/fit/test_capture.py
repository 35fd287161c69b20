"""Laws of recorded steps: they are the steps that they stand for, and where they are not, the fit goes on without.

The recorder of these tests does what was recorded again, with the same tensors for its inputs and for what it finds, as a GPU's does.
"""

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.defaults import reconstruct_settings
from wedge.fit import loop
from wedge.fit.build import build_fit, build_projectors, close_projectors
from wedge.fit.capture import UNTIL_RECORDED, Captured, gradient_of, record_graph
from wedge.fit.data_term import whole_part
from wedge.fit.gradient import slabs_of_step
from wedge.fit.kept import Kept
from wedge.fit.loop import Fit, take_step
from wedge.fit.memory import MemoryPlan
from wedge.fit.normalization import Normalization
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.lattice import Lattice
from wedge.registry import Registry

CPU = torch.device("cpu")
SHAPE = (6, 40, 12)
SETTINGS = {
    "projector": {"name": "torch", "options": {"cache": False}},
    "regularizers": [{"name": "tv", "weight": 0.01, "final_weight": 0.1}, {"name": "crowther", "weight": 0.01, "start": 0.3}],
    "oversampling": 2,
    "oversampling_start": 0.6,
    "batch_rows": 5,
    "passes": 12,
}


class Recorder:
    """Counts what is recorded, and how often it is done again."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Callable[[], list[torch.Tensor]]) -> tuple[list[torch.Tensor], Callable[[], None]]:
        self.recorded += 1
        found = work()

        def replay() -> None:
            self.replayed += 1
            for mine, anew in zip(found, work(), strict=True):
                mine.copy_(anew)

        return found, replay


@pytest.fixture
def make() -> Iterator[Callable[..., Fit]]:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 15)), SHAPE[1:], SHAPE)
    views, weights = np.random.default_rng(0).uniform(size=(2, 15, *SHAPE[1:])).astype(np.float32)
    tilts = TiltSeries(views, geometry, "views", simulated=True, weights=weights)
    built = []

    def fit(network: str = "voxel", slab_rows: int = 3, resident: bool = True, **settings) -> Fit:
        told = validate(SETTINGS | {"network": {"name": network}} | settings)
        config, plugins = resolve_plugins(told, Registry.load({"WEDGE_PLUGINS": ""}))
        parts = build_projectors([whole_part(tilts)], plugins, {1, 2}, CPU)
        built.append(parts)
        plan = MemoryPlan(slab_rows, resident, 0, 0)
        return build_fit(tilts, plugins, config, Normalization(0.1, 0.9, True), parts, CPU, 0, 0, plan=plan)

    yield fit
    for parts in built:
        close_projectors(parts)


def outcome(fit: Fit) -> list[torch.Tensor]:
    scalars = [torch.stack(list(take_step(fit, step).values())) for step in range(fit.num_steps)]
    return [*scalars, *(parameter.detach() for parameter in fit.field.parameters())]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(a, b, strict=True))


WHOLE = {"batch_rows": 40, "slab_rows": 16, "blur_voxels": 0.8, "passes": 30}


@pytest.mark.parametrize(("network", "settings"), [("voxel", {}), ("voxel", WHOLE), ("feature-grid", {"resident": False}), ("siren", {})])
def test_recorded_steps_are_the_steps(make, network, settings):
    expected, fit, recorder = outcome(make(network, **settings)), make(network, **settings), Recorder()
    fit.gradient = Captured(fit, recorder)
    assert same(outcome(fit), expected)
    # Until the second penalty begins, until the lattice becomes finer, and to the end.
    assert recorder.recorded == 3
    assert recorder.replayed > 0.4 * fit.num_steps


ONE_PENALTY = {"oversampling_start": 0.0, "regularizers": [{"name": "tv", "weight": 0.01}], "slab_rows": 8}


def test_rows_at_the_edges_are_recorded_too(make):
    settings = {**ONE_PENALTY, "batch_rows": 1}
    expected, fit, recorder = outcome(make(**settings)), make(**settings), Recorder()
    fit.gradient = Captured(fit, recorder)
    assert same(outcome(fit), expected)
    # Within the volume, at its first row and at its last; of each the first steps, and the one that is recorded, are done as ever.
    assert (recorder.recorded, recorder.replayed) == (3, fit.num_steps - 3 * (UNTIL_RECORDED - 1))


def test_few_layouts_are_recorded_at_a_time_however_many_there_are(make):
    fit, recorder = make(**ONE_PENALTY, batch_rows=3, passes=60), Recorder()
    fit.gradient = Captured(fit, recorder)
    layouts = set()
    for step in range(fit.num_steps):
        layouts.add(tuple((slab.halo_stop - slab.halo_start, slab.rows, slab.interior.start) for slab in slabs_of_step(fit, step)))
        take_step(fit, step)
    assert recorder.recorded == 4 < len(layouts)


def test_what_is_not_a_function_of_its_tensors_is_found_out(make):
    expected, fit, recorder, known = outcome(make()), make(), Recorder(), []
    plain = fit.field.network.forward

    def forgetful(lattice: Lattice) -> torch.Tensor:
        # An axis is known again by its tensor, whatever is in it meanwhile.
        for axis, values in known:
            if axis is lattice.y:
                return plain(replace(lattice, y=values))
        known.append((lattice.y, lattice.y.clone()))
        return plain(lattice)

    fit.field.network.forward = forgetful
    fit.gradient = Captured(fit, recorder)
    with pytest.warns(UserWarning, match=r"steps are not recorded \(one came out differently\)"):
        assert same(outcome(fit), expected)
    assert (recorder.recorded, recorder.replayed) == (1, 1)


def test_what_cannot_be_recorded_is_told_in_a_line_and_once(make):
    def fails(work: Callable[[], list[torch.Tensor]]):
        work()
        raise RuntimeError("operation not permitted\n  when stream is capturing")

    expected, fit = outcome(make()), make()
    fit.gradient = Captured(fit, fails)
    with pytest.warns(UserWarning, match="steps are not recorded") as warned:
        assert same(outcome(fit), expected)
    told = "steps are not recorded (operation not permitted when stream is capturing): the fit goes on as without capture"
    assert [str(warning.message) for warning in warned] == [told]


def test_a_recording_that_fails_leaves_the_stream_as_it_was(monkeypatch):
    """As in torch, whose context leaves its stream only where the recording ends well."""
    streams = ["usual"]

    @contextmanager
    def within(stream: str) -> Iterator[None]:
        before = streams[-1]
        streams.append(stream)
        try:
            yield
        finally:
            streams.append(before)

    @contextmanager
    def recording(graph: object, capture_error_mode: str) -> Iterator[None]:
        streams.append("side")
        yield
        streams.append("usual")

    def work() -> list[torch.Tensor]:
        assert streams[-1] == "side"
        raise RuntimeError("not permitted")

    fakes = {"CUDAGraph": SimpleNamespace, "graph": recording, "stream": within, "current_stream": lambda device: streams[-1]}
    fakes |= dict.fromkeys(("memory_allocated", "max_memory_allocated"), lambda device: 0) | {"device": lambda device: nullcontext()}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    with pytest.raises(RuntimeError, match="not permitted"):
        record_graph(torch.device("cuda"), 1, work)
    assert streams[-1] == "usual"


def test_where_memory_runs_out_there_is_none_for_a_recording(make):
    fit, recorder = make(oversampling_start=0.0), Recorder()
    fit.gradient = Captured(fit, recorder)
    for step in range(20):
        take_step(fit, step)
    before = recorder.replayed
    assert before
    fit.plan.slab_rows = 2
    with pytest.warns(UserWarning, match="memory ran out"):
        take_step(fit, 20)
    take_step(fit, 21)
    assert (recorder.recorded, recorder.replayed) == (1, before)


def test_scalars_of_a_step_stay_when_others_come(make):
    fit, recorder = make(oversampling_start=0.0), Recorder()
    fit.gradient = Captured(fit, recorder)
    told = [take_step(fit, step)["loss"] for step in range(25)]
    assert recorder.replayed > 5
    assert len({float(loss) for loss in told}) == 25


@pytest.mark.parametrize("recorded", [False, True])
def test_a_fit_that_is_done_with_leaves_memory_at_once(make, monkeypatch, recorded):
    """A stack makes many, one after another, in a plan for one."""
    if recorded:
        monkeypatch.setattr(loop, "gradient_of", lambda fit: Captured(fit, Recorder()))
    fit = make()
    for step in range(10):
        take_step(fit, step)
    assert isinstance(fit.gradient, Captured) == recorded
    left = [weakref.ref(fit), *(weakref.ref(parameter) for parameter in fit.field.parameters())]
    gc.disable()
    try:
        del fit
        assert [reference() for reference in left] == [None] * len(left)
    finally:
        gc.enable()


class Cuda(SimpleNamespace):
    """So much of a fit as tells whether its steps may be recorded."""

    def __init__(self, capture: str = "auto", device: str = "cuda", *regularizers: object, rows: int = 1) -> None:
        config, plan = SimpleNamespace(capture=capture, oversampling=2), MemoryPlan(8, True, 0, 0)
        penalties = [(None, each) for each in regularizers]
        box = SimpleNamespace(shape=(256, 1024, 1024))
        super().__init__(config=config, device=torch.device(device), regularizers=penalties, plan=plan, box=box, rows_per_step=rows)


@pytest.mark.parametrize(
    ("fit", "recorded"),
    [
        (Cuda(), True),
        (Cuda("off"), False),
        (Cuda("auto", "cpu"), False),
        (Cuda("auto", "cuda", SimpleNamespace(of_slices_alone=True)), True),
        (Cuda(rows=4), True),
        (Cuda(rows=128), False),
        (Cuda("auto", "cuda", SimpleNamespace(of_slices_alone=True), SimpleNamespace()), False),
    ],
)
def test_steps_are_recorded_on_a_gpu_where_asked_for_and_penalties_are_of_the_slices_alone(fit, recorded):
    assert isinstance(gradient_of(fit), Captured) == recorded


def test_steps_are_recorded_unless_told_not_to():
    assert reconstruct_settings()["capture"] == "auto"


def test_what_a_recorded_step_reads_is_kept_and_what_it_makes_is_not():
    matrix, vector, unread = torch.eye(3, requires_grad=True), torch.ones(3), torch.ones(3)
    sparse = torch.eye(3).to_sparse_csr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Kept() as kept:
            ((sparse @ (matrix @ vector)) * 2).sum().backward()
    places = [tensor.data_ptr() for tensor in kept.tensors if tensor.layout is torch.strided]
    assert {matrix.data_ptr(), vector.data_ptr()} == set(places)
    assert any(tensor is sparse for tensor in kept.tensors)
    assert unread.data_ptr() not in places
