"""Every example runs, on a copy, with as little work as it can be given.

Those of the top folder run as a user runs them; the others in processes that have imported torch, together with the commands of ``wedge``
that they start (`in_one_process.py`).
"""

import filecmp
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("in_one_process", Path(__file__).with_name("in_one_process.py"))
in_one_process = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(in_one_process)

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
TINY = ["spheres", "--shape", "16", "24", "32"]
ARGUMENTS = {
    "needle.py": ["-o", "{out}", "--passes", "1"],
    "real/needle.py": ["-o", "{out}", "--passes", "1", "--bin", "8"],
    "benchmarks/projectors.py": ["--quick"],
    "benchmarks/kernels.py": ["--networks", "feature-grid 32 x 2", "siren 64 x 4"],
    "benchmarks/floors.py": ["--size", "16", "32", "--rows", "4", "--rounds", "1"],
    "benchmarks/network_step.py": ["--cube", "16", "--channels", "2", "--rounds", "1"],
    "benchmarks/full_size.py": ["--shape", "16", "24", "32", "--device", "cpu", "--work", "{out}"],
    "benchmarks/cut.py": ["-o", "{out}", "--shape", "16", "24", "32", "--rows", "8", "16", "--compare", "{out}/volume.zarr"],
    "benchmarks/networks.py": ["--networks", "voxel", "--shape", "16", "24", "32", "--work", "{out}"],
    "benchmarks/needle.py": ["--networks", "voxel", "--work", "{out}"],
    "benchmarks/settings.py": ["--variants", "voxel", "--work", "{out}"],
    "benchmarks/cases.py": ["proteins", "--shape", "32", "32", "48", "--seed", "100", "-o", "{out}"],
    "benchmarks/quality.py": [*TINY, "--methods", "fbp-ramp", "sirt", "average-2", "--work", "{out}"],
    "benchmarks/waves.py": [*TINY, "--methods", "fbp-ramp", "sirt", "--work", "{out}"],
    "benchmarks/uncertainty.py": [*TINY, "--seeds", "2", "--work", "{out}"],
    "benchmarks/forecasts.py": ["--cases", "5", "--shape", "16", "24", "32", "--work", "{out}"],
    "benchmarks/alignment.py": ["--cases", "spheres", "--shape", "8", "16", "24", "--snr", "none", "--work", "{out}"],
    "benchmarks/sizes.py": ["--shape", "16", "24", "32", "--work", "{out}"],
    "benchmarks/slabs.py": ["--shape", "16", "24", "32", "--batches", "16", "--limits", "1GB", "--work", "{out}"],
    "benchmarks/lamella.py": ["--shape", "24", "24", "32", "--work", "{out}"],
    "benchmarks/ranking.py": ["--tiny", "--seed", "100", "--phantom", "spheres", "--work", "{out}"],
    "benchmarks/gold.py": ["--tiny", "--methods", "fbp", "--work", "{out}"],
    "benchmarks/watch.py": ["--shape", "16", "24", "300", "--work", "{out}"],
    "benchmarks/time_to_quality.py": [*TINY, "--passes", "1", "--target", "fbp-ramp", "--weight", "0.001", "--work", "{out}"],
}
"""Scripts, and what makes them quick; ``WEDGE_PASSES=1`` and ``WEDGE_TUNE=none`` shorten every fit beside."""
NEED_LARGER_DATA = {"data/make_needle.py", "data/make_raw_needle.py"}
NEED_OTHER_PROGRAMS = {"benchmarks/peer_curves.py", "benchmarks/peer_runs/deepdewedge_run.py", "benchmarks/peer_runs/icecream_run.py"}
REPORT = "benchmarks/report.py"
SCRIPTS = [path for path in sorted(EXAMPLES.rglob("*.py")) if 'if __name__ == "__main__"' in path.read_text()]


def run(script: Path, *arguments: str) -> str:
    environ = {**os.environ, "WEDGE_PASSES": "1", "WEDGE_TUNE": "none", "MPLBACKEND": "agg"}
    if script.parent.name == "examples":
        done = subprocess.run([sys.executable, script, *arguments], env=environ, capture_output=True, text=True, check=False)
    else:
        done = in_one_process.run_script(script, arguments, environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the examples, which may write beside themselves."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


def test_every_script_is_run_by_a_test() -> None:
    names = {str(path.relative_to(EXAMPLES)) for path in SCRIPTS}
    assert names == ARGUMENTS.keys() | NEED_LARGER_DATA | NEED_OTHER_PROGRAMS | {REPORT}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_script_runs(copy: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    printed = run(copy / name, *(argument.format(out=out) for argument in ARGUMENTS[name]))
    assert printed.strip()
    assert any(out.iterdir()) or not any("{out}" in argument for argument in ARGUMENTS[name])


def test_the_page_of_results_says_what_the_data_say(copy: Path) -> None:
    page = copy / "benchmarks" / "RESULTS.md"
    before = page.read_text()
    run(copy / REPORT)
    assert page.read_text() == before
    assert before.count("<!-- end -->") >= 6


@pytest.mark.parametrize("path", sorted((EXAMPLES / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_say_by_which_command_and_nothing_of_where(path: Path) -> None:
    words = json.loads(path.read_text())["command"]
    assert words[0] == "python"
    assert Path(words[1]).suffix == ".py"
    assert not [word for word in words if word.startswith(("/", "--work", "--reuse"))]


def test_the_small_needle_series_is_made_from_the_full_one(copy: Path, shared_data: Path) -> None:
    folder = copy / "data" / "needle"
    carried = {path.name: path for path in (EXAMPLES / "data" / "needle").iterdir()}
    for path in folder.glob("needle_bin4.*"):
        path.unlink()
    run(copy / "data" / "make_needle.py", str(shared_data / "needle" / "needle.mrc"))
    made = {path.name for path in folder.glob("needle_bin4.*")}
    assert made
    for name in made - {"needle_bin4.mrc"}:
        assert filecmp.cmp(folder / name, carried[name], shallow=False)
    import mrcfile

    with mrcfile.open(folder / "needle_bin4.mrc") as ours, mrcfile.open(carried["needle_bin4.mrc"]) as theirs:
        assert (ours.data == theirs.data).all()
        assert ours.voxel_size == theirs.voxel_size


def test_spread_of_fits_is_measured(copy: Path, tmp_path: Path) -> None:
    printed = run(copy / "benchmarks/uncertainty.py", *TINY, "--eta", "1", "--fits", "--options=--method stack", "--work", str(tmp_path))
    assert "rms spread" in printed
    assert (copy / "benchmarks/results/uncertainty_spheres_16x24x32_eta1_method_stack_fits_calibration.json").exists()


def test_the_published_rival_goes_on_from_the_pairs_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "benchmarks")
    import wucon

    from wedge import store
    from wedge.cli import run as wedge

    monkeypatch.setattr(wucon, "FIRST", (4, 1e-3))
    monkeypatch.setattr(wucon, "OTHERS", (2, 1e-4))
    assert wedge(["simulate-spheres", "-o", str(tmp_path), "--shape", "8", "8", "12", "--num-tilts", "9"]) == 0
    out = tmp_path / "wucon.zarr"
    told = wucon.fit_wucon(tmp_path / "tilts.zarr", out, 0.0, 1.0)
    volume = store.open_volume(out)
    assert volume.array.shape == (8, 8, 12)
    pairs = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "wucon.pairs").iterdir()}
    assert sorted(pairs) == ["0.pt", "2.pt", "4.pt", "6.pt", "first.pt"]
    (tmp_path / "wucon.pairs" / "0.pt").unlink()
    assert wucon.fit_wucon(tmp_path / "tilts.zarr", out, 0.0, 1.0)["note"] == told["note"]
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "wucon.pairs").iterdir()}
    assert {name for name in pairs if again[name] != pairs[name]} == {"0.pt"}
