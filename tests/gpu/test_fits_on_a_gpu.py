"""A GPU makes what a CPU makes, with recorded steps and without, whatever memory there is, and after a stop."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

SHAPE = ("24", "48", "64")
QUICK = "[restore]\nsteps = 5\ncube = 16\nchannels = 4\nrounds = 1\niterations = 5\n"
METHODS = {
    "voxel": (["--method", "network", "--tune", "none", "--passes", "6"], 1e-3),
    "tuned": (["--method", "network", "--passes", "6"], 1e-3),
    "stack": (["--method", "stack", "--tune", "stack", "--passes", "8"], 1e-3),
    "adaptive": (["--method", "adaptive"], 2e-3),
    # Gradients that only the signs of count, or that go through many layers, part ways by rounding.
    "feature-grid": (["--network", "feature-grid", "--passes", "3"], 3e-2),
    "siren": (["--network", "siren", "--passes", "1"], 3e-2),
    "study": (["--preset", "study", "--passes", "1"], 3e-2),
    "wucon": (["--preset", "wucon", "--passes", "1"], 3e-2),
    # Their network computes in half precision on the GPU, and has learned next to nothing here.
    "restore": (["--method", "restore"], 5e-2),
    "learned stack": (["--method", "stack", "--passes", "8"], 1e-1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("gpu")
    for eta in ("0", "0.3"):
        noise = ["--noise", "poisson", "--eta", eta] if eta != "0" else []
        assert run(["simulate-spheres", "-o", str(folder / eta), "--shape", *SHAPE, "--num-tilts", "41", *noise]) == 0
    (folder / "quick.toml").write_text(QUICK)
    return folder


def array(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_group(path, mode="r")["0"])


def difference(found: Path, expected: Path) -> float:
    one, other = array(found), array(expected)
    assert np.abs(other).max() > 0
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def reconstruct(wedge: Callable, folder: Path, out: Path, *options: object, eta: str = "0.3") -> tuple[dict, str]:
    told = wedge("reconstruct", folder / eta / "tilts.zarr", "-o", out, "--config", folder / "quick.toml", *options, "--json")
    assert told.code == 0, told.err
    return json.loads(told.out), told.err


@pytest.mark.parametrize("options", [[], ["--projector", "triton"], ["--projector", "torch", "--filter", "hann"]], ids=str)
def test_backprojection_is_that_of_a_cpu(wedge, folder, tmp_path, options):
    plain = [word for word in options if word not in ("--projector", "triton", "torch")]
    for device, words in (("cuda", options), ("cpu", plain)):
        assert wedge("fbp", folder / "0.3" / "tilts.zarr", "-o", tmp_path / f"{device}.zarr", "--device", device, *words).code == 0
    assert difference(tmp_path / "cuda.zarr", tmp_path / "cpu.zarr") < 1e-4


@pytest.mark.parametrize("eta", ["0", "0.3"])
@pytest.mark.parametrize("method", METHODS)
def test_a_reconstruction_is_that_of_a_cpu(wedge, folder, tmp_path, method, eta):
    options, tolerance = METHODS[method]
    if eta == "0" and method not in ("tuned", "stack"):
        pytest.skip("noise tells as much")
    on_gpu, said = reconstruct(wedge, folder, tmp_path / "cuda.zarr", *options, "--device", "cuda", eta=eta)
    reconstruct(wedge, folder, tmp_path / "cpu.zarr", *options, "--device", "cpu", eta=eta)
    assert difference(tmp_path / "cuda.zarr", tmp_path / "cpu.zarr") < tolerance
    record = on_gpu
    assert record["device_peak_memory_bytes"] > 0
    assert "wedge: warning" not in said


@pytest.mark.parametrize("method", ["voxel", "stack", "feature-grid", "siren"])
def test_recorded_steps_make_the_same(wedge, folder, tmp_path, method):
    options, tolerance = METHODS[method]
    for capture in ("auto", "off"):
        settings = tmp_path / f"{capture}.toml"
        settings.write_text(f'capture = "{capture}"\n')
        words = ["--config", settings, *options, "--device", "cuda"]
        _, said = reconstruct(wedge, folder, tmp_path / f"{capture}.zarr", *words)
        assert "not recorded" not in said
    assert difference(tmp_path / "auto.zarr", tmp_path / "off.zarr") < tolerance


@pytest.mark.parametrize("projector", ["triton", "astra"])
def test_other_projectors_make_nearly_the_same(wedge, folder, tmp_path, projector):
    if projector == "astra":
        from wedge_astra.options import probe_cuda

        if reason := probe_cuda():
            pytest.skip(reason)
    options = METHODS["voxel"][0]
    reconstruct(wedge, folder, tmp_path / "torch.zarr", *options)
    reconstruct(wedge, folder, tmp_path / "other.zarr", *options, "--projector", projector)
    assert difference(tmp_path / "other.zarr", tmp_path / "torch.zarr") < (0.2 if projector == "astra" else 1e-3)


def test_a_stopped_fit_goes_on(wedge, folder, tmp_path):
    options = ["--method", "network", "--tune", "none", "--passes", "40", "--device", "cuda"]
    reconstruct(wedge, folder, tmp_path / "whole.zarr", *options)
    words = [sys.executable, "-m", "wedge", "reconstruct", folder / "0.3" / "tilts.zarr", "-o", tmp_path / "o.zarr", *options]
    code = (
        "import os, signal, sys, wedge.fit.loop as loop\n"
        "plain, done = loop.take_step, []\n"
        "def step(fit, number):\n"
        "    done.append(number)\n"
        "    if len(done) == 7: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return plain(fit, number)\n"
        "loop.take_step = step\n"
        "from wedge.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    stopped = subprocess.run([sys.executable, "-c", code, *map(str, words[3:])], capture_output=True, text=True)
    assert stopped.returncode == 75, stopped.stderr
    assert wedge(*words[3:], "--resume").code == 0
    assert difference(tmp_path / "o.zarr", tmp_path / "whole.zarr") < 1e-4


@pytest.mark.parametrize("method", ["voxel", "adaptive", "fbp"])
def test_where_memory_runs_out_the_rest_is_done_in_smaller_pieces(wedge, tmp_path, method):
    """Another program has taken what was free when the plan was made."""
    assert wedge("simulate-spheres", "-o", tmp_path, "--shape", "64", "160", "128", "--num-tilts", "41").code == 0
    options = ["reconstruct", *METHODS[method][0], "--tune", "none"] if method != "fbp" else ["fbp"]
    options = [options[0], tmp_path / "tilts.zarr", *options[1:], "--device", "cuda"]
    assert wedge(*options, "-o", tmp_path / "whole.zarr").code == 0
    code = (
        "import sys, torch\n"
        "free, total = torch.cuda.mem_get_info()\n"
        "torch.zeros(1, device='cuda')\n"
        "torch.cuda.set_per_process_memory_fraction(float(sys.argv[1]) * 2**20 / total)\n"
        "from wedge.cli import run\n"
        "sys.exit(run(sys.argv[2:]))\n"
    )
    limit = {"voxel": 110, "adaptive": 110, "fbp": 12}[method]
    words = [sys.executable, "-c", code, limit, *options, "-o", tmp_path / "less.zarr"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "out of memory: going on with" in done.stderr
    assert difference(tmp_path / "less.zarr", tmp_path / "whole.zarr") < 3e-2


def test_memory_that_was_planned_is_not_exceeded(wedge, folder, tmp_path):
    for method in ("voxel", "adaptive", "stack", "restore"):
        options = [*METHODS[method][0], "--device", "cuda"]
        planned = wedge("plan", folder / "0.3" / "tilts.zarr", "--config", folder / "quick.toml", *options, "--json")
        assert planned.code == 0, planned.err
        taken, _ = reconstruct(wedge, folder, tmp_path / f"{method}.zarr", *options)
        assert taken["device_peak_memory_bytes"] <= 1.3 * json.loads(planned.out)["memory_bytes"], method


@pytest.mark.skipif(torch.cuda.is_available() and torch.cuda.device_count() < 2, reason="there is one GPU alone")
def test_two_gpus_make_what_one_makes(wedge, folder, tmp_path):
    options = METHODS["voxel"][0]
    reconstruct(wedge, folder, tmp_path / "one.zarr", *options, "--device", "cuda:0")
    reconstruct(wedge, folder, tmp_path / "two.zarr", *options, "--devices", "cuda:0,cuda:1")
    assert difference(tmp_path / "two.zarr", tmp_path / "one.zarr") < 1e-3
