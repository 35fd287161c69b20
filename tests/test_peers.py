"""Other people's programs are handed the halves as they are meant, and what they give is read back the same way round."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mrcfile
import numpy as np
import pytest

from wedge import store
from wedge.slabs import read_slices

BENCHMARKS = Path(__file__).resolve().parents[1] / "examples" / "benchmarks"
SHAPE = (32, 32, 48)
STAND_IN = """
import json, pathlib, sys
import mrcfile
folder = pathlib.Path(sys.argv[1])
with open(folder / "runs.txt", "a") as file:
    file.write("run\\n")
points = []
for done in json.loads((folder / "setting.json").read_text())["points"]:
    half = mrcfile.read(folder / "half1.mrc")
    with mrcfile.new(folder / f"{done}.mrc", overwrite=True) as file:
        file.set_data(done * half)
    points.append({"done": done, "volume": f"{done}.mrc", "fit_seconds": done, "seconds": done + 0.5, "peak_mib": 7})
(folder / "points.json").write_text(json.dumps(points))
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a noisy case in a folder of its own; the benchmarks can be imported meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        made = importlib.import_module("casefolder").Case(tmp_path_factory.mktemp("cryo"), "cryo", SHAPE, snr=10.0, seed=100)
        made.make()
        yield made


@pytest.fixture(scope="module")
def peers(case: Any) -> ModuleType:
    return importlib.import_module("peers")


@pytest.fixture(scope="module")
def inputs(case: Any, peers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    peers.write_inputs(case, folder)
    return folder


@pytest.fixture
def stand_in(peers: ModuleType, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a peer that gives multiples of the first half."""
    monkeypatch.setattr(peers, "write_inputs", lambda _, folder: shutil.copytree(inputs, folder, dirs_exist_ok=True))
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    told = {
        "name": "stand-in",
        "title": "Stand-in",
        "home": "nowhere",
        "module": "mrcfile",
        "variable": "STAND_IN_PYTHON",
        "unit": "epochs",
    }
    return peers.Peer(**told, script=str(script), setting=lambda _: {"points": [1, 2]}, note=lambda given: str(given["points"]))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def volume_of(path: Path) -> np.ndarray:
    return read_slices(store.open_volume(path), 0, SHAPE[1]).transpose(1, 0, 2)


@pytest.mark.parametrize("name", ["deepdewedge", "icecream_cryo"])
@pytest.mark.parametrize("python", [sys.executable, "no-such-python"])
def test_a_program_that_is_not_there_is_told_in_a_line(peers: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, python: str) -> None:
    module = importlib.import_module(name)
    (peer,) = (value for value in vars(module).values() if isinstance(value, peers.Peer))
    monkeypatch.setenv(peer.variable, python)
    with pytest.raises(SystemExit) as told:
        peers.python_of(peer)
    message = str(told.value)
    assert "\n" not in message
    assert all(word in message for word in (python, peer.home, peer.variable))


def test_halves_are_written_with_the_axes_and_the_sign_of_the_truth(peers: ModuleType, case: Any, inputs: Path, tmp_path: Path) -> None:
    halves = [mrcfile.read(inputs / f"half{number}.mrc") for number in (1, 2)]
    truth = volume_of(case.truth)
    for half in halves:
        assert half.shape == SHAPE
        found = correlation(half, truth)
        assert found > 0.4
        assert all(found > 2 * correlation(half, np.flip(truth, axis)) for axis in range(3))
    assert 0.2 < correlation(halves[0], halves[1]) < 0.99
    peers.wedge("fbp", case.tilts, "-o", tmp_path / "sum.mrc", "--filter", peers.FILTER)
    np.testing.assert_allclose((halves[0] + halves[1]) / 2, mrcfile.read(tmp_path / "sum.mrc"), atol=1e-5)
    assert (mrcfile.read(inputs / "mask.mrc") == 1).all()


def test_what_is_missing_is_a_wedge_around_z(inputs: Path) -> None:
    # Both peers are told 60 degrees, in the plane of the first and the last axis, around the first.
    power = np.abs(np.fft.fftn(mrcfile.read(inputs / "half1.mrc"))) ** 2
    z, y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in SHAPE), indexing="ij")
    fine = np.sqrt(x**2 + y**2 + z**2) > 0.1
    missing = np.abs(x) < np.abs(z) * np.tan(np.deg2rad(25))
    assert power[missing & fine].mean() < 0.2 * power[~missing & fine].mean()


def test_the_last_volume_is_read_back_as_it_was_written(peers: ModuleType, case: Any, stand_in: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    told = peers.make_peer(stand_in, case, out, False)
    assert told == {"seconds": 2.5, "peak_mib": 7, "note": "[1, 2]"}
    np.testing.assert_array_equal(volume_of(out), 2 * mrcfile.read(stand_in.folder(case) / "half1.mrc"))


def test_a_run_is_taken_up_only_where_told(peers: ModuleType, case: Any, stand_in: Any) -> None:
    folder = stand_in.folder(case)
    record = folder / "runs.txt"
    for reuse in (False, True, False):
        folder.mkdir(exist_ok=True)
        (folder / "earlier").touch()
        assert [point["done"] for point in peers.points_of(stand_in, case, reuse)] == [1, 2]
        assert len(record.read_text().split()) == 1
        assert (folder / "earlier").exists() == reuse
    (folder / "points.json").write_text("[]")
    peers.points_of(stand_in, case, True)
    assert len(record.read_text().split()) == 2


def test_a_volume_of_another_shape_is_refused(peers: ModuleType, case: Any, tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "turned.mrc") as file:
        file.set_data(np.zeros(SHAPE[::-1], dtype=np.float32))
    with pytest.raises(SystemExit, match="not the case's"):
        peers.take_volume(tmp_path / "turned.mrc", case, tmp_path / "out.zarr", {})


def test_a_case_without_halves_is_refused(peers: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--snr"):
        peers.write_inputs(importlib.import_module("casefolder").Case(tmp_path, "cryo", SHAPE), tmp_path)


@pytest.mark.parametrize("shape", [(64, 64, 128), (64, 160, 160), (200, 400, 400)])
def test_turned_cubes_fit_into_the_volume(case: Any, shape: tuple[int, int, int]) -> None:
    deepdewedge = importlib.import_module("deepdewedge")
    given = deepdewedge.setting(shape)
    assert given["cube"] % 8 == 0
    assert deepdewedge.turned_size(given["cube"]) <= min(shape)
    assert all(1 <= stride <= 20 for stride in given["strides"])


def test_peers_run_only_when_asked_for(case: Any) -> None:
    methods = importlib.import_module("methods")
    assert not {"deepdewedge", "icecream"} & set(methods.methods_for(case))
    assert {"deepdewedge", "icecream"} < set(methods.METHODS)
