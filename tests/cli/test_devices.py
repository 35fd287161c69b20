"""Several devices at one fit: two CPUs do what one does."""

import json
import os
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
    [
        ["--tune", "regularizer", "--passes", "3", "--batch-rows", "1", "--hold-out", "0.1"],
        ["--method", "stack", "--passes", "8"],
        ["--method", "adaptive"],
    ],
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
    assert fits[1]["final_loss"] == pytest.approx(fits[0]["final_loss"], rel=1e-4)
    assert "on 2 devices: cpu, cpu" in two.err


def test_two_processes_restore_what_one_restores(wedge, tmp_path):
    """One of them learns, and both use it."""
    assert wedge("simulate-spheres", "-o", tmp_path, "--shape", "16", "150", "20", "--num-tilts", "20").code == 0
    (tmp_path / "quick.toml").write_text("[restore]\nclear_steps = 5\ncube = 16\nchannels = 2\nrounds = 1\niterations = 5\n")
    options = [tmp_path / "tilts.zarr", "--method", "restore", "--config", tmp_path / "quick.toml"]
    assert wedge("reconstruct", *options, "-o", tmp_path / "one.zarr").code == 0
    assert wedge("reconstruct", *options, "-o", tmp_path / "two.zarr", "--devices", "cpu,cpu").code == 0
    expected, found = array(tmp_path / "one.zarr"), array(tmp_path / "two.zarr")
    assert np.abs(expected).max() > 0
    assert np.linalg.norm(found - expected) < 3e-2 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--devices", "cpu,cuda:0"], 6, "no GPU"),
        (["--devices", "tpu,cpu"], 2, "unknown device 'tpu'"),
        (["--devices", ","], 2, "expected all, or a list"),
        (["--devices", "all"], 6, "no GPU"),
        (["--devices", "cpu,cpu", "--device", "cpu"], 2, "contradict each other"),
        (["--devices", "cpu,cpu", "--dry-run"], 2, "leave --devices out"),
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


@pytest.mark.parametrize(
    ("options", "begun", "told"),
    [
        (["--tune", "none"], "from step 0", "continue with --resume"),
        ([], "signal to noise", "before the first step: nothing is kept"),
    ],
    ids=["steps", "trials"],
)
def test_a_team_that_is_stopped_as_a_group_ends_cleanly(tilts, tmp_path, options, begun, told):
    command = [sys.executable, "-m", "wedge", "reconstruct", str(tilts), "-o", str(tmp_path / "o.zarr"), "--devices", "cpu,cpu"]
    options = [*options, "--method", "network", "--passes", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *options], start_new_session=True, **pipes) as process:
        said = ""
        while begun not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        os.killpg(process.pid, signal.SIGTERM)
        said += process.stderr.read()
    assert process.returncode == 75, said
    assert told in said
    assert "Warning" not in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.zarr.run"]
    assert (tmp_path / "o.zarr.run" / "checkpoint.safetensors").exists() == bool(told.startswith("continue"))
