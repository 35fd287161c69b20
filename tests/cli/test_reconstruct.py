"""``wedge reconstruct`` from the command line: options, records, interruptions, exit codes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge import store

QUICK = ["--network", "voxel", "--passes", "20", "--batch-rows", "8", "--tune", "none", "--projector-opt", "cache=false"]
LONG = ["--network", "voxel", "--tune", "none", "--passes", "100000", "--projector-opt", "cache=false", "--checkpoint-seconds", "0.2"]


@pytest.fixture(scope="module")
def tilts(tmp_path_factory):
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("phantom")
    sizes = ["--shape", "12", "16", "24", "--num-tilts", "15", "--tilt-range", "-60", "60"]
    assert run(["simulate-spheres", "-o", str(folder), *sizes, "--seed", "3"]) == 0
    return folder / "tilts.zarr"


def array(path) -> np.ndarray:
    return np.asarray(store.open_volume(path).array[:])


def test_offset_is_finite(wedge, tilts, tmp_path):
    told = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", "--offset", "nan")
    assert told.code == 2
    assert "--offset 'nan'" in told.error


def test_output_says_how_it_was_made_and_what_it_is(wedge, tilts, tmp_path):
    out = tmp_path / "out.zarr"
    done = wedge("reconstruct", tilts, "-o", out, *QUICK, "--seed", 4, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["output"] == str(out)
    assert told["fit"]["steps"] == 40
    volume = store.open_volume(out)
    assert volume.array.shape == (12, 16, 24)
    assert volume.voxel_size_angstrom == store.open_tilts(tilts).geometry.voxel_size_angstrom
    record = volume.provenance
    assert record["config"]["fit"]["network"]["name"] == "voxel"
    assert record["config"]["fit"]["seed"] == 4
    assert record["fit"]["offset"] == 0.0
    assert "memory plan" in done.err
    assert "offset" in done.err
    assert not (tmp_path / "out.zarr.run" / "checkpoint.safetensors").exists()


def test_plain_output_is_the_path_alone(wedge, tilts, tmp_path):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK)
    assert done.out == f"{tmp_path / 'out.zarr'}\n"


def test_config_of_an_output_repeats_it(wedge, tilts, tmp_path):
    first, second = tmp_path / "a.zarr", tmp_path / "b.zarr"
    options = ["--regularizer", "tv:weight=0.2,final_weight=0.1", "--loss", "huber", "--seed", "7"]
    assert wedge("reconstruct", tilts, "-o", first, *QUICK, *options).code == 0
    assert wedge("reconstruct", tilts, "-o", second, "--config", first).code == 0
    assert np.array_equal(array(first), array(second))


def test_options_are_stronger_than_a_file_and_a_file_than_a_preset(wedge, tilts, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('network = "voxel"\npasses = 2\nseed = 8\n[data_term]\nloss = "l1"\n')
    done = wedge("reconstruct", tilts, "-o", tmp_path / "o.zarr", "--preset", "study", "--config", file, "--seed", 9)
    assert done.code == 0, done.err
    fit = store.open_volume(tmp_path / "o.zarr").provenance["config"]["fit"]
    assert (fit["seed"], fit["passes"], fit["network"]["name"]) == (9, 2, "voxel")
    assert fit["data_term"]["loss"] == "l1"
    assert fit["data_term"]["weighting"] == "plain"
    assert [choice["name"] for choice in fit["regularizers"]] == ["crowther"]


def test_environment_stands_for_options(wedge, tilts, tmp_path, monkeypatch):
    monkeypatch.setenv("WEDGE_SEED", "11")
    assert wedge("reconstruct", tilts, "-o", tmp_path / "o.zarr", *QUICK).code == 0
    assert store.open_volume(tmp_path / "o.zarr").provenance["config"]["fit"]["seed"] == 11


def start(tilts, out, *options) -> subprocess.Popen:
    command = [sys.executable, "-m", "wedge", "reconstruct", str(tilts), "-o", str(out), *LONG, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoint = out.with_name(out.name + ".run") / "checkpoint.safetensors"
    deadline = time.monotonic() + 200
    while not checkpoint.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.fixture(scope="module")
def stopped(tilts, tmp_path_factory):
    """Runs that a signal ended: their output, exit code and words."""

    @cache
    def stop(number: signal.Signals) -> tuple[Path, int, str]:
        out = tmp_path_factory.mktemp("stopped") / "out.zarr"
        process = start(tilts, out)
        process.send_signal(number)
        _, err = process.communicate(timeout=200)
        return out, process.returncode, err

    return stop


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_signal_leaves_a_checkpoint_that_can_be_taken(wedge, tilts, tmp_path, stopped, number, code):
    out, returncode, err = stopped(number)
    assert returncode == code
    assert "Traceback" not in err
    assert "--resume --stop-now" in err
    assert not out.exists()
    assert not list(out.parent.glob("*.partial"))
    shutil.copytree(out.parent, tmp_path, dirs_exist_ok=True)
    out = tmp_path / out.name
    done = wedge("reconstruct", tilts, "-o", out, "--resume", "--stop-now", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["fit"]["stopped_early"]
    assert np.isfinite(array(out)).all()


def test_killed_run_can_be_resumed(wedge, tilts, tmp_path):
    """By the same words as before, too."""
    out = tmp_path / "out.zarr"
    process = start(tilts, out)
    process.kill()
    process.communicate()
    assert wedge("info", out).code == 3
    done = wedge("reconstruct", tilts, "-o", out, *LONG, "--resume", "--stop-now")
    assert done.code == 0, done.err


def test_resume_takes_no_other_settings(wedge, tilts, stopped):
    done = wedge("reconstruct", tilts, "-o", stopped(signal.SIGTERM)[0], "--resume", "--seed", 5)
    assert done.code == 2
    assert "--resume continues the fit as" in done.error


def test_terminated_before_the_fit_is_143(tilts, tmp_path):
    code = (
        "import os, signal, sys, wedge.fit.run_dir as r\n"
        "r.prepare_run_dir = lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM)\n"
        "from wedge.cli import run\nsys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "reconstruct", str(tilts), "-o", str(tmp_path / "out.zarr"), *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--network", "voxle"], 2, "voxel"),
        (["--projector", "tortch"], 2, "torch"),
        (["--regularizer", "tw:weight=1"], 2, "tv"),
        (["--network-opt", "spacng=3"], 2, "spacing"),
        (["--projector-opt", "modell=strip"], 2, "model"),
        (["--regularizer", "tv:wait=1"], 2, "wait"),
        (["--regularizer", "tv:weight=heavy"], 2, "weight"),
        (["--preset", "studdy"], 2, "study"),
        (["--passes", "-1"], 2, "passes"),
        (["--loss", "l3"], 2, "loss"),
        (["--offset", "much"], 2, "--offset"),
        (["--stop-now"], 2, "--resume"),
        (["--resume"], 3, "nothing to resume"),
        (["--config", "nowhere.toml"], 3, "nowhere.toml"),
        (["--max-memory", "1MB"], 6, "too small for one slice"),
        (["--max-memory", "lots"], 2, "lots"),
        (["--learning-rate", "1e9", "--method", "network", "--positivity", "off", "--passes", "40", "--tune", "none"], 7, "diverged"),
    ],
)
def test_bad_options_are_one_line(wedge, tilts, tmp_path, options, code, words):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *options)
    assert done.code == code, done.err
    assert words in done.error
    assert done.out == ""
    assert not (tmp_path / "out.zarr").exists()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_device_without_a_gpu(wedge, tilts, tmp_path):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", "--device", "cuda")
    assert done.code == 6
    assert "--device cpu" in done.error


def test_existing_output_is_kept(wedge, tilts, tmp_path):
    out = tmp_path / "out.zarr"
    assert wedge("reconstruct", tilts, "-o", out, *QUICK).code == 0
    before = array(out)
    done = wedge("reconstruct", tilts, "-o", out, *QUICK, "--seed", 5)
    assert done.code == 5
    assert "--overwrite" in done.error
    assert np.array_equal(array(out), before)
    assert wedge("reconstruct", tilts, "-o", out, *QUICK, "--seed", 5, "--overwrite").code == 0


def test_volume_given_for_a_tilt_series(wedge, tilts, tmp_path):
    done = wedge("reconstruct", tilts.with_name("volume.zarr"), "-o", tmp_path / "out.zarr", *QUICK)
    assert done.code == 3
    assert "expected a tilt series" in done.error


def test_mrc_output_has_its_record_beside_it(wedge, tilts, tmp_path):
    out = tmp_path / "out.mrc"
    done = wedge("reconstruct", tilts, "-o", out, *QUICK)
    assert done.code == 0, done.err
    import mrcfile

    assert mrcfile.validate(out)
    assert len(list(tmp_path.glob("out*.json"))) == 1
