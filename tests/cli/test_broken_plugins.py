"""A chosen plugin that fails, wherever it fails: one line that names it, exit code 4, and nothing left behind."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WRECK = """
    from wedge.plugin_api import Component, hookimpl

    @hookimpl
    def wedge_projectors():
        return [
            Component("unimportable", "Cannot be imported", "no_such_module:Projector"),
            Component("unbuildable", "Cannot be built", "wreck_body:Unbuildable"),
            Component("exploding", "Fails when used", "wreck_body:Exploding"),
            Component("absent", "Is not for here", "wreck_body:Unbuildable", probe="wreck_body:probe"),
            Component("torch", "Has the name of another", "wreck_body:Unbuildable"),
        ]

    @hookimpl
    def wedge_networks():
        return [
            Component("unbuildable", "Cannot be built", "wreck_body:Unbuildable"),
            Component("exploding", "Fails when used", "wreck_body:ExplodingNetwork"),
        ]

    @hookimpl
    def wedge_regularizers():
        return [
            Component("unbuildable", "Cannot be built", "wreck_body:Unbuildable"),
            Component("exploding", "Fails when used", "wreck_body:ExplodingRegularizer"),
        ]

    @hookimpl
    def wedge_metrics():
        return [
            Component("unbuildable", "Cannot be built", "wreck_body:Unbuildable"),
            Component("exploding", "Fails when used", "wreck_body:ExplodingMetric"),
        ]

    @hookimpl
    def wedge_observers():
        return [
            Component("unbuildable", "Cannot be built", "wreck_body:Unbuildable"),
            Component("exploding", "Fails when used", "wreck_body:ExplodingObserver"),
        ]
"""
BODY = """
import torch

def probe():
    return "needs a machine of another kind"

class Unbuildable:
    def __init__(self, *args):
        raise ValueError("kaboom")

class Exploding:
    adjoint_tolerance = 1e-6

    def __init__(self, *args):
        pass

    def project(self, slices):
        raise ValueError("kaboom")

    backproject = project

    def memory_bytes(self, n_slices):
        return 1000

    def close(self):
        pass

class ExplodingNetwork(torch.nn.Module):
    def __init__(self, *args):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(1))

    def forward(self, lattice):
        raise ValueError("kaboom")

    def memory_bytes(self, lattice_shape):
        return 1000

class ExplodingRegularizer:
    halo_rows = 0

    def __init__(self, *args):
        pass

    def __call__(self, slices, context):
        raise ValueError("kaboom")

class ExplodingMetric:
    scope, better = "slice", "higher"

    def __init__(self, options):
        pass

    def __call__(self, slices, references, data_range):
        raise ValueError("kaboom")

class ExplodingObserver:
    def __init__(self, options):
        pass

    def start(self, *args):
        raise ValueError("kaboom")

    step = preview = end = failed = start
"""
FIT = ["--passes", "1", "--device", "cpu"]


@pytest.fixture
def wreck(make_distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a distribution of components that fail."""
    site = make_distribution("wreck", WRECK)
    make_distribution("shut", "raise RuntimeError('no licence')")
    (site / "wreck_body.py").write_text(BODY)
    monkeypatch.syspath_prepend(site)
    yield
    for name in ("wreck", "wreck_body", "shut"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def spheres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny simulated tilt series and its truth."""
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("spheres")
    assert run(["simulate-spheres", "-o", str(folder), "--shape", "16", "16", "16", "--num-tilts", "5"]) == 0
    return folder


@pytest.mark.parametrize("command", ["fbp", "reconstruct", "simulate-spheres"])
@pytest.mark.parametrize(
    ("projector", "words"),
    [
        ("unimportable", ["'unimportable'", "of wreck 1.0", "no_such_module"]),
        ("unbuildable", ["'unbuildable'", "of wreck 1.0", "kaboom"]),
        ("exploding", ["projector 'exploding'", "of wreck 1.0", "ValueError: kaboom", "--debug"]),
        ("absent", ["'absent'", "of wreck 1.0", "needs a machine of another kind"]),
        ("torch", ["2 owners", "of wedge-tomo", "of wreck 1.0", "WEDGE_PLUGINS"]),
        ("shut", ["'shut'", "no licence", "uninstall shut"]),
    ],
)
def test_a_projector_that_fails(
    wedge: Callable, wreck: None, spheres: Path, tmp_path: Path, command: str, projector: str, words: list[str]
) -> None:
    out = tmp_path / ("out" if command == "simulate-spheres" else "out.zarr")
    if command == "simulate-spheres":
        arguments = ["--shape", "16", "16", "16", "--num-tilts", "5"]
    else:
        arguments = [str(spheres / "tilts.zarr"), *(FIT if command == "reconstruct" else [])]
    done = wedge(command, *arguments, "-o", out, "--projector", projector)
    assert (done.code, done.out) == (4, ""), done.err
    assert all(word in done.error for word in words), done.error
    assert not out.exists() or not list(out.rglob("*.zarr"))


@pytest.mark.parametrize("option", ["--network", "--regularizer"])
@pytest.mark.parametrize("name", ["unbuildable", "exploding"])
def test_a_part_of_the_fit_that_fails(wedge: Callable, wreck: None, spheres: Path, tmp_path: Path, option: str, name: str) -> None:
    choice = f"{name}:weight=1" if option == "--regularizer" else name
    done = wedge("reconstruct", spheres / "tilts.zarr", "-o", tmp_path / "out.zarr", "--projector", "astra", option, choice, *FIT)
    assert (done.code, done.out) == (4, ""), done.err
    assert name in done.error
    assert "kaboom" in done.error
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("name", ["unbuildable", "exploding"])
def test_a_metric_that_fails(wedge: Callable, wreck: None, spheres: Path, name: str) -> None:
    volume = spheres / "volume.zarr"
    done = wedge("evaluate", volume, "--reference", volume, "--metric", name)
    assert (done.code, done.out) == (4, ""), done.err
    assert name in done.error
    assert "kaboom" in done.error


@pytest.mark.filterwarnings("default:observer 'exploding' failed")
def test_an_observer_that_fails_warns_and_ends_nothing(wedge: Callable, wreck: None, spheres: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    done = wedge("reconstruct", spheres / "tilts.zarr", "-o", out, "--projector", "astra", "--observer", "exploding", *FIT)
    assert done.code == 0, done.err
    assert "exploding" in done.err
    assert "kaboom" in done.err
    assert out.exists()


def test_the_rest_goes_on_beside_a_wreck(
    wedge: Callable, wreck: None, spheres: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tilts = spheres / "tilts.zarr"
    assert wedge("fbp", tilts, "-o", tmp_path / "a.zarr", "--projector", "astra").code == 0
    monkeypatch.setenv("WEDGE_PLUGINS", "")
    assert wedge("fbp", tilts, "-o", tmp_path / "b.zarr").code == 0
