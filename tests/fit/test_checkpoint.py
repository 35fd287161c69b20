"""Laws of checkpoints: all state comes back to the bit, nothing in them runs, and a wrong one is refused in a line."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from wedge.errors import InputError
from wedge.fit.checkpoint import Progress, load_checkpoint, load_progress, save_checkpoint
from wedge.fit.model import Field, build_optimizer
from wedge.fit.normalization import Normalization

CPU = torch.device("cpu")
PROGRESS = Progress(17, Normalization(3.25, 1 / 3, True), 0.1, 12.5, [{"step": 1.0, "loss": 0.3}, {"step": 17.0, "loss": math.pi}])


class Network(torch.nn.Module):
    def __init__(self, width: int = 5, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.first = torch.nn.Parameter(torch.randn(width, 3, generator=random))
        self.second = torch.nn.Parameter(torch.randn(width, generator=random))
        self.register_buffer("mean", torch.randn(3, generator=random).double())

    def learning_rates(self) -> dict[str, float]:
        return {"second": 0.1}


class Memory:
    """A regularizer that remembers."""

    halo_rows = 0

    def __init__(self, value: float = 0.0) -> None:
        self.seen = torch.full((2, 2), value)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.seen = state["seen"]


class Plain:
    halo_rows = 0


def parts(seed: int = 0, width: int = 5) -> tuple[Field, torch.optim.Adam]:
    field = Field(Network(width, seed), positive=True, half_precision=False)
    return field, build_optimizer(field, 0.05, (0.9, 0.99))


def steps(field: Field, optimizer: torch.optim.Adam, count: int) -> None:
    for step in range(count):
        optimizer.zero_grad()
        ((field.network.first.sum(dim=1) - step) ** 2 + field.network.second**4).sum().backward()
        optimizer.step()


def state(field: Field) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in field.network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint after seven steps, of a network and of the last of two regularizers."""
    field, optimizer = parts()
    steps(field, optimizer, 7)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, field, optimizer, [Plain(), Memory(4.5)], PROGRESS)
    return path


def test_everything_comes_back_to_the_bit(saved):
    before, optimizer_before = parts()
    steps(before, optimizer_before, 7)
    after, optimizer = parts(seed=9)
    memory = Memory()
    assert load_checkpoint(saved, after, optimizer, [Plain(), memory], CPU) == PROGRESS
    assert load_progress(saved) == PROGRESS
    assert same(state(after), state(before))
    assert torch.equal(memory.seen, torch.full((2, 2), 4.5))
    for index, entry in optimizer_before.state_dict()["state"].items():
        assert same(entry, optimizer.state_dict()["state"][index])


def test_fit_goes_on_as_if_it_had_not_stopped(saved):
    straight, optimizer = parts()
    steps(straight, optimizer, 7)
    steps(straight, optimizer, 5)
    resumed, other = parts(seed=9)
    load_checkpoint(saved, resumed, other, [Plain(), Memory()], CPU)
    steps(resumed, other, 5)
    assert same(state(resumed), state(straight))


def test_optimizer_matters(saved):
    """Without Adam's moments the fit would go elsewhere; so the test above says something."""
    straight, optimizer = parts()
    steps(straight, optimizer, 12)
    forgetful, fresh = parts(seed=9)
    load_checkpoint(saved, forgetful, parts()[1], [Plain(), Memory()], CPU)
    steps(forgetful, fresh, 5)
    assert not same(state(forgetful), state(straight))


def test_learning_rates_are_those_of_the_run_not_of_the_file(saved):
    field = parts()[0]
    optimizer = build_optimizer(field, 0.7, (0.9, 0.99))
    load_checkpoint(saved, field, optimizer, [Plain(), Memory()], CPU)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.7, 0.07])


def test_file_is_read_by_safetensors_alone(saved):
    with safe_open(saved, framework="numpy") as file:
        header = json.loads(file.metadata()["wedge"])
        names = set(file.keys())
    assert header["progress"]["step"] == 17
    assert {"network.first", "network.mean", "optimizer.0.exp_avg", "regularizer.1.seen"} <= names
    # Safetensors: the length of a JSON header, then the header. No pickle, no zip.
    content = saved.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + length])["__metadata__"]["wedge"]
    assert not content.startswith((b"PK", b"\x80"))


def test_progress_without_a_reference_loss_survives(tmp_path):
    field, optimizer = parts()
    save_checkpoint(tmp_path / "c", field, optimizer, [], Progress(0, Normalization(0.0, 1.0, False)))
    progress = load_progress(tmp_path / "c")
    assert math.isnan(progress.reference_loss)
    assert progress.normalization == Normalization(0.0, 1.0, False)


def test_checkpoint_before_the_first_step_has_no_moments(tmp_path):
    field, optimizer = parts()
    save_checkpoint(tmp_path / "c", field, optimizer, [], PROGRESS)
    other, fresh = parts(seed=3)
    load_checkpoint(tmp_path / "c", other, fresh, [], CPU)
    steps(field, optimizer, 2)
    steps(other, fresh, 2)
    assert same(state(field), state(other))


def test_network_that_shares_parameters_is_saved(tmp_path):
    field, optimizer = parts()
    field.network.register_parameter("tied", field.network.first)
    field.network.register_buffer("view", field.network.mean[1:])
    save_checkpoint(tmp_path / "c", field, optimizer, [], PROGRESS)
    with safe_open(tmp_path / "c", framework="pt") as file:
        assert torch.equal(file.get_tensor("network.tied"), field.network.first)
        assert torch.equal(file.get_tensor("network.view"), field.network.mean[1:])


@pytest.mark.parametrize("damage", ["empty", "short", "header", "json", "foreign", "key"])
def test_damaged_file_is_refused_in_a_line(saved, damage):
    from safetensors.torch import save_file

    content = saved.read_bytes()
    if damage == "foreign":
        save_file({"a": torch.zeros(1)}, saved)
    elif damage == "json":
        save_file({"a": torch.zeros(1)}, saved, {"wedge": "{"})
    elif damage == "key":
        header = {"version": 1, "progress": dataclasses.asdict(PROGRESS) | {"mood": "good"}}
        save_file({"a": torch.zeros(1)}, saved, {"wedge": json.dumps(header)})
    else:
        saved.write_bytes({"empty": b"", "short": content[: len(content) // 2], "header": b"\xff" * 64}[damage])
    for read in (load_progress, lambda path: load_checkpoint(path, *parts(), [Plain(), Memory()], CPU)):
        with pytest.raises(InputError, match="is damaged") as refused:
            read(saved)
        assert "\n" not in str(refused.value)
        assert "--overwrite" in str(refused.value)


def test_missing_file_is_nothing_to_resume(tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        load_progress(tmp_path / "none")


def test_another_network_is_refused_in_a_line(saved):
    with pytest.raises(InputError, match="does not fit this network") as refused:
        load_checkpoint(saved, *parts(width=6), [Plain(), Memory()], CPU)
    assert "\n" not in str(refused.value)


def test_another_regularizer_is_refused(saved):
    with pytest.raises(InputError, match="does not fit"):
        load_checkpoint(saved, *parts(), [Memory(), Plain()], CPU)


def test_failed_write_keeps_the_checkpoint_before_it(saved, monkeypatch):
    before = saved.read_bytes()
    import wedge.fit.checkpoint as module

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(InputError, match=r"No space left.*free some disk space"):
        save_checkpoint(saved, *parts(), [], PROGRESS)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
