"""Several devices at one fit: two CPUs do what one does."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import zarr


@pytest.fixture(scope="module")
def tilts(tmp_path_factory):
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("tilts")
    assert run(["simulate-spheres", "-o", str(folder), "--shape", "8", "20", "24", "--num-tilts", "30"]) == 0
    return folder / "tilts.zarr"


def array(path) -> np.ndarray:
    return np.asarray(zarr.open_group(path, mode="r")["0"])


@pytest.mark.parametrize(
    "options",
    [["--tune", "regularizer", "--passes", "6", "--hold-out", "0.1"], ["--method", "stack", "--passes", "8"], ["--method", "adaptive"]],
    ids=lambda options: options[1],
)
def test_two_processes_make_what_one_makes(wedge, tilts, tmp_path, options):
    one = wedge("reconstruct", tilts, "-o", tmp_path / "one.zarr", *options, "--json")
    two = wedge("reconstruct", tilts, "-o", tmp_path / "two.zarr", *options, "--devices", "cpu,cpu", "--json")
    assert (one.code, two.code) == (0, 0)
    expected, found = array(tmp_path / "one.zarr"), array(tmp_path / "two.zarr")
    assert np.abs(expected).max() > 0
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    fits = [json.loads(outcome.out)["fit"] for outcome in (one, two)]
    assert fits[1]["held_out_error"] == (pytest.approx(fits[0]["held_out_error"], rel=1e-4) if fits[0]["held_out_error"] else None)
    assert "on 2 devices: cpu, cpu" in two.err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--devices", "cpu,cuda:0"], 6, "no GPU"),
        (["--devices", "tpu,cpu"], 2, "unknown device 'tpu'"),
        (["--devices", ","], 2, "expected all, or a list"),
        (["--devices", "all"], 6, "no GPU"),
        (["--devices", "cpu,cpu", "--device", "cpu"], 2, "contradict each other"),
    ],
)
def test_devices_that_cannot_be_are_refused(wedge, tilts, tmp_path, options, code, words):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = wedge("reconstruct", tilts, "-o", tmp_path / "o.zarr", *options)
    assert done.code == code
    assert words in done.error
    assert not (tmp_path / "o.zarr").exists()


def test_a_stopped_team_leaves_a_checkpoint_and_no_noise(tilts, tmp_path):
    command = [sys.executable, "-m", "wedge", "reconstruct", str(tilts), "-o", str(tmp_path / "o.zarr"), "--devices", "cpu,cpu"]
    options = ["--tune", "none", "--method", "network", "--passes", "100000"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = ""
        while "from step 0" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGTERM)
        told += process.stderr.read()
    assert process.returncode == 75, told
    assert "continue with --resume" in told
    assert "Warning" not in told
    assert "Traceback" not in told
    assert (tmp_path / "o.zarr.run" / "checkpoint.safetensors").exists()
