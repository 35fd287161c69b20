"""Many series in one call: each gets what a call of its own gives it, and a failure ends that one alone."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from wedge.cli import run
from wedge.simulate import simulate_spheres


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    for seed, name in enumerate(("TS_01", "TS_03")):
        simulate_spheres(folder / "made", shape=(8, 16, 16), num_tilts=9, tilt_range_deg=(-60, 60), seed=seed, overwrite=True)
        shutil.move(folder / "made" / "tilts.zarr", folder / f"{name}.zarr")
    (folder / "TS_02.zarr").mkdir()
    return folder


def names(folder: Path) -> list[Path]:
    return [folder / f"TS_0{number}.zarr" for number in (1, 2, 3)]


def values(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(str(path / "0"), mode="r")[:])


class Within:
    """Stands for the process of one series: runs its command in this one."""

    def __init__(self, words: list[str], **options: object) -> None:
        assert words[:3] == [sys.executable, "-m", "wedge"]
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        with redirect_stdout(self.stdout), redirect_stderr(self.stderr):
            self.code = run(words[3:])
        self.stdout.seek(0)
        self.stderr.seek(0)

    def __enter__(self) -> "Within":
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def wait(self) -> int:
        return self.code


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wedge.cli.batch.subprocess", SimpleNamespace(Popen=Within, PIPE=subprocess.PIPE))


def test_a_failure_does_not_end_the_others_and_gives_the_exit_code(wedge: Callable, folder: Path, tmp_path: Path) -> None:
    done = wedge("batch", "fbp", *names(folder), "-o", tmp_path / "out", "--json", "--", "--filter", "hamming")
    assert done.code == 3
    outcomes = json.loads(done.out)["series"]
    assert [each["result"] for each in outcomes] == ["done", "failed", "done"]
    assert "TS_02.zarr has no zarr.json" in outcomes[1]["message"]
    assert outcomes[0]["seconds"] > 0
    assert wedge("fbp", folder / "TS_03.zarr", "-o", tmp_path / "alone.zarr", "--filter", "hamming").code == 0
    np.testing.assert_array_equal(values(tmp_path / "out" / "TS_03.zarr"), values(tmp_path / "alone.zarr"))


@pytest.mark.usefixtures("within")
def test_outputs_that_are_there_are_refused_or_kept(wedge: Callable, folder: Path, tmp_path: Path) -> None:
    series = folder / "TS_01.zarr"
    codes = [wedge("batch", "fbp", series, "-o", tmp_path, *options).code for options in ((), (), ("--resume",))]
    assert codes == [0, 5, 0]
    table = wedge("batch", "fbp", series, "-o", tmp_path, "--resume").out.splitlines()
    assert table[0].split() == ["series", "result", "seconds", "peak", "MiB", "output"]
    assert table[1].split() == ["TS_01.zarr", "kept", "-", "-", str(tmp_path / "TS_01.zarr")]


@pytest.mark.usefixtures("within")
def test_series_of_one_name_are_told_apart_by_their_folders(wedge: Callable, folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(folder / "TS_01.zarr", tmp_path / name / "tilts.zarr")
    both = [tmp_path / name / "tilts.zarr" for name in ("a", "b")]
    assert wedge("batch", "fbp", *both, "-o", tmp_path / "out", "--suffix", ".mrc").code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mrc")) == ["a_tilts.mrc", "b_tilts.mrc"]
    twice = wedge("batch", "fbp", both[0], both[0], "-o", tmp_path / "out")
    assert twice.code == 2
    assert "a_tilts.zarr" in twice.error


@pytest.mark.parametrize(
    "arguments", [("evaluate", "x.zarr", "-o"), ("fbp", "--suffix", "zarr", "x.zarr", "-o"), ("fbp", "-o", None, "--", "--filter", "ramp")]
)
def test_what_makes_no_batch_is_refused(wedge: Callable, tmp_path: Path, arguments: tuple[str | None, ...]) -> None:
    whole = [*arguments, None] if None not in arguments else arguments
    refused = wedge("batch", *(tmp_path / "out" if each is None else each for each in whole))
    assert refused.code == 2
    assert not (tmp_path / "out").exists()


def test_a_stopped_batch_leaves_a_checkpoint_and_goes_on(wedge: Callable, folder: Path, tmp_path: Path) -> None:
    options = ["--network", "voxel", "--passes", "100000", "--tune", "none", "--checkpoint-seconds", "0"]
    call = ["batch", "reconstruct", folder / "TS_01.zarr", folder / "TS_03.zarr", "-o", tmp_path, "--resume", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "wedge", *map(str, call), "--", *options], stderr=subprocess.PIPE)
    checkpoint = tmp_path / "TS_01.zarr.run" / "checkpoint.safetensors"
    deadline = time.monotonic() + 200
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=200)
    assert process.returncode == 143
    assert checkpoint.exists()
    assert not (tmp_path / "TS_03.zarr.run").exists()
    (tmp_path / "TS_03.zarr").mkdir()  # what is there is kept
    # Its settings are those of the checkpoint; a named set of them would be refused, the rest of the options counts.
    going_on = wedge(*call, "--", *options, "--quality", "fast", "--max-memory", "1")
    assert going_on.code == 6
    # Only a fit that goes on may stop now.
    assert wedge(*call, "--", *options, "--quality", "fast", "--stop-now").code == 0
    assert values(tmp_path / "TS_01.zarr").shape == (8, 16, 16)
