"""Laws of observing: it changes nothing, it shows what is there, and who fails is left out."""

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.fit.model import Field
from wedge.fit.observers import ObserverGroup, field_previews
from wedge.fit.reconstruct import reconstruct
from wedge.fit.run_dir import prepare_run_dir
from wedge.fit.settings import resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.lattice import FieldBox, Lattice
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres

CPU = torch.device("cpu")
SHAPE = (8, 9, 10)


class Formula(torch.nn.Module):
    """A field that tells z, y and x apart: ``100 iz + 10 iy + ix`` by the indices of the box's voxels."""

    def __init__(self, box: FieldBox) -> None:
        super().__init__()
        self.shape, self.evaluated = box.shape, 0

    def forward(self, lattice: Lattice) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        self.evaluated += 1
        z, y, x = (
            axis * (max(self.shape) / 2) + (count - 1) / 2
            for axis, count in zip((lattice.z, lattice.y, lattice.x), self.shape, strict=True)
        )
        return 100 * z[None, :, None] + 10 * y[:, None, None] + x


@pytest.fixture
def previews():
    box = FieldBox(SHAPE)
    network = Formula(box)
    return network, field_previews(Field(network, positive=False, half_precision=False), box, CPU)


def test_previews_are_the_middle_planes(previews):
    _, made = previews
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SHAPE), indexing="ij")
    density = 100 * z + 10 * y + x
    middle = [(n - 1) // 2 for n in SHAPE]
    expected = {"ortho_xy": density[middle[0]], "ortho_xz": density[:, middle[1]], "ortho_yz": density[:, :, middle[2]]}
    for name, plane in expected.items():
        shown = made[name]()
        assert shown.shape == plane.shape, name
        assert torch.allclose(shown, plane, atol=1e-3), name


def test_the_volume_is_the_whole_field_at_most_192_long():
    box = FieldBox((8, 9, 384))
    slices = field_previews(Field(Formula(box), False, False), box, CPU)["volume"]()
    assert slices.shape == (4, 4, 192)  # cells of two voxels from the lower edges
    y, z, x = torch.meshgrid(*(2 * torch.arange(n, dtype=torch.float32) + 0.5 for n in slices.shape), indexing="ij")
    assert torch.allclose(slices, 100 * z + 10 * y + x, atol=1e-2)


def test_spectrum_is_log_power_with_zero_frequency_in_the_middle():
    class Wave(Formula):
        def forward(self, lattice):
            # Three periods along z, none along x.
            return torch.cos(6 * np.pi * (lattice.z * max(self.shape) / 2) / self.shape[0])[None, :, None].expand(lattice.shape).clone()

    box = FieldBox((24, 5, 32))
    spectrum = field_previews(Field(Wave(box), False, False), box, CPU)["spectrum_xz"]()
    assert spectrum.shape == (24, 32)
    peaks = {(int(i) // 32 - 12, int(i) % 32 - 16) for i in spectrum.flatten().topk(2).indices}
    assert peaks == {(-3, 0), (3, 0)}
    assert float(spectrum.max() - spectrum.median()) > 3


def test_previews_are_computed_when_asked_for_and_draw_no_random_numbers(previews):
    network, made = previews
    assert network.evaluated == 0
    torch.manual_seed(0)
    before = torch.get_rng_state()
    images = {name: compute() for name, compute in made.items()}
    assert torch.equal(torch.get_rng_state(), before)
    assert images.pop("volume").shape == (SHAPE[1], SHAPE[0], SHAPE[2])
    assert set(images) == {"ortho_xy", "ortho_xz", "ortho_yz", "spectrum_xz"}
    assert all(image.ndim == 2 and not image.requires_grad for image in images.values())


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 7), (1, 4, 2)])
def test_previews_of_the_smallest_boxes(shape):
    box = FieldBox(shape)
    made = field_previews(Field(Formula(box), False, False), box, CPU)
    sizes = {"ortho_xy": (shape[1], shape[2]), "ortho_xz": (shape[0], shape[2]), "ortho_yz": (shape[0], shape[1])}
    assert {name: tuple(made[name]().shape) for name in sizes} == sizes
    assert torch.isfinite(made["spectrum_xz"]()).all()


class Recorder:
    """Looks at everything, draws random numbers of its own, and fails where it is told to."""

    def __init__(self, fails_in: str = "") -> None:
        self.fails_in, self.calls, self.values = fails_in, [], []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        torch.rand(3)
        if name == self.fails_in:
            raise RuntimeError("observers are somebody else's code")

    def start(self, run):
        self._called("start")

    def step(self, step, scalars):
        self.values.append({"step": step} | {name: float(value) for name, value in scalars.items()})
        self._called("step")

    def preview(self, step, previews):
        for compute in previews.values():
            compute()
        self._called("preview")

    def end(self, summary):
        self._called("end")

    def failed(self, error):
        self._called("failed")


class Memory:
    def __init__(self) -> None:
        self.blocks: dict[int, torch.Tensor] = {}

    def write_rows(self, y_start, block):
        self.blocks[y_start] = block


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    """Run a short fit under some observers and return its density."""
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 9)), SHAPE[1:], SHAPE)
    array = chords(make_spheres(SHAPE, seed=5), geometry, 0, SHAPE[1]).transpose(1, 0, 2)
    tilts = TiltSeries(np.ascontiguousarray(array), geometry, "spheres", simulated=True)

    def run(observers: dict) -> torch.Tensor:
        settings = {
            "network": {"name": "feature-grid", "options": {"levels": 2, "coarsest": 4.0, "width": 8}},
            "projector": {"name": "torch", "options": {"cache": False}},
            "regularizers": [{"name": "tv", "weight": 0.1}],
            "passes": 4,
            "batch_rows": 5,
        }
        config, plugins = resolve_plugins(validate(settings), Registry.load({"WEDGE_PLUGINS": ""}))
        plugins.observers = observers
        run_dir, memory = tmp_path_factory.mktemp("fit") / "run", Memory()
        prepare_run_dir(run_dir, tilts, config, resume=False, overwrite=False)
        reconstruct(tilts, memory, plugins, config, device=CPU, run_dir=run_dir)
        return torch.cat([memory.blocks[start] for start in sorted(memory.blocks)])

    return run


@pytest.fixture(scope="module")
def unobserved(fit) -> torch.Tensor:
    return fit({})


def test_observer_is_told_everything_in_order_and_changes_nothing(fit, unobserved):
    recorder = Recorder()
    assert torch.equal(fit({"recorder": recorder}), unobserved)
    assert recorder.calls[0] == "start"
    assert recorder.calls[-1] == "end"
    assert recorder.calls.count("step") == 8
    assert [entry["step"] for entry in recorder.values] == list(range(1, 9))
    for entry in recorder.values:
        assert entry["loss"] == pytest.approx(entry["data"] + entry["regularization"], rel=1e-5)
    assert "preview" in recorder.calls
    assert "failed" not in recorder.calls


@pytest.mark.parametrize("method", ["start", "step", "preview", "end"])
def test_observer_that_fails_is_left_out_and_changes_nothing(fit, unobserved, method):
    broken, other = Recorder(method), Recorder()
    with pytest.warns(UserWarning, match=f"observer 'broken' failed in {method} and is left out: observers are") as told:
        found = fit({"broken": broken, "other": other})
    assert len(told) == 1
    assert torch.equal(found, unobserved)
    assert broken.calls[-1] == method
    assert broken.calls.count(method) == 1
    assert other.calls[-1] == "end"
    assert other.calls.count("step") == 8


def test_interruption_is_not_an_observers_to_swallow():
    class Interrupted(Recorder):
        def step(self, step, scalars):
            raise KeyboardInterrupt

    group = ObserverGroup({"interrupted": Interrupted()})
    with pytest.raises(KeyboardInterrupt):
        group.step(1, {})
