"""``wedge demo``: the whole pipeline, its table, its picture, and what happens where a step fails."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from wedge import store
from wedge.cli import demo
from wedge.provenance import peak_memory_bytes

TINY = ["--shape", "8", "16", "24", "--num-tilts", "9", "--passes", "2"]
COLUMNS = ["method", "PSNR", "SSIM", "VIF", "FSC cone", "FSC wedge", "seconds", "peak MiB"]
METHODS = ["FBP (ramp)", "network, seed 0", "network, seed 1", "average of both"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run the demo as a user does; its folder and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "results"
    command = [sys.executable, "-m", "wedge", "demo", "-o", str(folder), *TINY, "--json"]
    return folder, subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_json_has_a_row_for_every_method_with_every_number(done):
    folder, told = done
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert (result["shape"], result["num_tilts"]) == ([8, 16, 24], 9)
    assert [row["method"] for row in result["rows"]] == METHODS
    for row in result["rows"]:
        assert set(row) == {"method", "psnr", "ssim", "vif", "fsc.cone", "fsc.wedge", "seconds", "peak_memory_bytes"}
        assert all(isinstance(value, float) and np.isfinite(value) for key, value in row.items() if "." in key or key == "psnr")
        assert row["seconds"] > 0
        assert row["peak_memory_bytes"] > 50e6
    assert result["picture"] == str(folder / "demo.png")


def test_average_costs_what_it_averages(done):
    rows = {row["method"]: row for row in json.loads(done[1].stdout)["rows"]}
    seeds = [rows["network, seed 0"], rows["network, seed 1"]]
    assert rows["average of both"]["seconds"] > sum(row["seconds"] for row in seeds)
    assert rows["average of both"]["peak_memory_bytes"] >= max(row["peak_memory_bytes"] for row in seeds)


def test_outputs_are_what_their_names_say(done):
    folder, told = done
    result = json.loads(told.stdout)
    kept = json.loads((folder / "demo.json").read_text())
    assert kept["rows"] == result["rows"]
    assert len(kept["evaluation"]["volumes"]) == len(METHODS)
    seeds = [np.asarray(store.open_volume(folder / f"seed-{seed}.zarr").array[:]) for seed in (0, 1)]
    assert not np.array_equal(*seeds)
    average = np.asarray(store.open_volume(folder / "average.zarr").array[:])
    assert np.allclose(average, (seeds[0] + seeds[1]) / 2, atol=1e-6)
    for seed in (0, 1):
        assert store.open_volume(folder / f"seed-{seed}.zarr").provenance["config"]["fit"]["seed"] == seed
    assert store.open_tilts(folder / "tilts.zarr").geometry.tilt_angles_deg == pytest.approx(np.linspace(-60, 60, 9))


def test_commands_are_told_as_a_user_would_type_them(done):
    folder, told = done
    lines = [line.split("] wedge ", 1)[1] for line in told.stderr.splitlines() if "] wedge " in line]
    assert [line.split()[0] for line in lines] == ["simulate-spheres", "fbp", "reconstruct", "reconstruct", "average", "evaluate", "report"]
    assert all(str(folder) in line for line in lines)


def test_picture_is_a_png_of_a_size_to_look_at(done):
    from matplotlib.image import imread

    folder, _ = done
    picture = imread(folder / "demo.png")
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width = picture.shape[:2]
    # Four columns: the truth and three reconstructions.
    assert 1000 < width < 3000
    assert 400 < height < 3000
    assert float(picture[..., :3].std()) > 0.05


def test_report_shows_truth_and_methods(done):
    folder, told = done
    page = (folder / "demo.html").read_text()
    assert '"labels":["volume","fbp","seed-0","seed-1","average"]' in page
    assert json.loads(told.stdout)["report"] == str(folder / "demo.html")


def test_existing_results_are_kept(done, wedge):
    folder, _ = done
    before = (folder / "demo.json").read_bytes()
    refused = wedge("demo", "-o", folder, *TINY)
    assert refused.code == 5
    assert "--overwrite" in refused.error
    assert (folder / "demo.json").read_bytes() == before


def test_other_files_in_the_folder_are_no_results(tmp_path, wedge, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(demo, "_run_pipeline", lambda *arguments: pytest.fail("reached"))
    with pytest.raises(pytest.fail.Exception, match="reached"):
        demo.command(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


class Steps:
    """Stands for the processes of the demo: copies what a run before has left, or fails with a code."""

    def __init__(self, source, fail: str = "", code: int = 0) -> None:
        self.kept, self.fail, self.code, self.commands = json.loads((source / "demo.json").read_text()), fail, code, []

    def run(self, command) -> subprocess.CompletedProcess:
        self.commands.append(command[3:])
        if command[3] == self.fail:
            return subprocess.CompletedProcess(command, self.code, "", None)
        told = self.kept["evaluation"] if command[3] == "evaluate" else {"seconds": 1.5, "peak_memory_bytes": 3 * 2**20}
        return subprocess.CompletedProcess(command, 0, json.dumps(told), None)


def test_table_has_its_columns_and_rows(done, wedge, monkeypatch):
    folder, _ = done
    steps = Steps(folder)
    monkeypatch.setattr("wedge.cli.steps._execute", steps.run)
    told = wedge("demo", "-o", folder, *TINY, "--overwrite")
    assert told.code == 0, told.err
    head, rule, *rows = told.out.split("\n\n")[0].splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == COLUMNS
    assert set(rule) <= set("|-: ")
    assert [row.strip("|").split("|")[0].strip() for row in rows] == METHODS
    # A table that lines up.
    assert len({len(line) for line in (head, rule, *rows)}) == 1
    assert [cell.strip() for cell in rows[3].strip("|").split("|")][-2:] == ["4.5", "3"]
    assert told.out.endswith(f"picture: {folder / 'demo.png'}\nreport: {folder / 'demo.html'}\n")


def test_every_step_may_replace_what_is_there(done, wedge, monkeypatch):
    folder, _ = done
    steps = Steps(folder)
    monkeypatch.setattr("wedge.cli.steps._execute", steps.run)
    assert wedge("demo", "-o", folder, *TINY, "--overwrite", "--seed", 5).code == 0
    assert all("--overwrite" in command for command in steps.commands if command[0] != "evaluate")
    assert steps.commands[0][-4:-2] == ["--seed", "5"]


@pytest.mark.parametrize(
    ("step", "code", "name"),
    [("simulate-spheres", 3, "simulate"), ("fbp", 4, "fbp"), ("reconstruct", 7, "reconstruct 1 of 2"), ("average", 3, "average")],
)
def test_failing_step_ends_the_demo_with_its_code(done, wedge, tmp_path, monkeypatch, step, code, name):
    steps = Steps(done[0], step, code)
    monkeypatch.setattr("wedge.cli.steps._execute", steps.run)
    told = wedge("demo", "-o", tmp_path / "new", *TINY)
    assert told.code == code
    # The step itself has said what is wrong; the demo adds where.
    assert f"[{name}]" in told.err
    assert "wedge: error" not in told.err
    assert told.out == ""
    assert steps.commands[-1][0] == step
    assert not (tmp_path / "new" / "demo.json").exists()


def test_step_is_ended_with_the_demo(tmp_path):
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "wedge", "demo", "-o", str(folder), "--passes", "100000", *TINY[:4]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "signal to noise" in line:  # the first fit has begun
                break
        process.terminate()
        process.stderr.read()
    assert process.returncode == 143
    assert not list(folder.glob("*.partial"))


def test_real_failure_of_a_step_is_told_once_and_passed_on(tmp_path):
    command = [sys.executable, "-m", "wedge", "demo", "-o", str(tmp_path / "demo"), "--shape", "2", "2", "2"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert told.returncode == 2
    assert "too small for spheres" in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_folder_that_cannot_be_written_is_refused(wedge, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    told = wedge("demo", "-o", tmp_path / "locked" / "demo", *TINY)
    assert told.code == 3


def test_folder_below_a_file_is_refused(wedge, tmp_path):
    (tmp_path / "file").write_text("")
    told = wedge("demo", "-o", tmp_path / "file" / "demo", *TINY)
    assert told.code == 3
    assert "-o" in told.error


@pytest.mark.parametrize("options", [["--num-tilts", "3"], ["--shape", "8", "16"], ["--passes", "many"]])
def test_wrong_options_are_usage_errors(wedge, tmp_path, options):
    assert wedge("demo", "-o", tmp_path / "demo", *options).code == 2
    assert not (tmp_path / "demo").exists()


def test_steps_have_memory_of_their_own(done):
    # Each step is a process: its peak is not that of the tests.
    assert peak_memory_bytes() > 0
    fbp, first, *_ = json.loads(done[1].stdout)["rows"]
    assert fbp["peak_memory_bytes"] < first["peak_memory_bytes"]
