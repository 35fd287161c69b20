"""What a fit is told to take, before it begins."""

import inspect
import json
from dataclasses import replace

import pytest

from wedge.cli import plan, reconstruct
from wedge.fit import forecast
from wedge.fit.calibrate import StepCost


@pytest.fixture(scope="module")
def tilts(tmp_path_factory):
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("tilts")
    assert run(["simulate-spheres", "-o", str(folder), "--shape", "8", "24", "24", "--num-tilts", "30"]) == 0
    return folder / "tilts.zarr"


@pytest.mark.parametrize("method", ["network", "stack", "adaptive"])
def test_plan_tells_parts_that_add_up_and_leaves_nothing_behind(wedge, tilts, method):
    before = sorted(tilts.parent.iterdir())
    done = wedge("plan", tilts, "--method", method, "--json")
    told = json.loads(done.out)
    assert (done.code, told["method"], told["device"]) == (0, method, "cpu")
    assert sum(told["parts"].values()) == pytest.approx(told["seconds"])
    assert all(seconds >= 0 for seconds in told["parts"].values())
    assert told["parts"]["fit"] > 0
    assert 0 < told["memory_bytes"] < told["limit_bytes"]
    assert sorted(tilts.parent.iterdir()) == before


def test_plan_of_a_restored_density_knows_its_steps(wedge, tmp_path):
    assert wedge("simulate-spheres", "-o", tmp_path, "--shape", "16", "18", "20", "--num-tilts", "20").code == 0
    (tmp_path / "quick.toml").write_text("[restore]\nclear_steps = 5\ncube = 16\nchannels = 2\nrounds = 1\niterations = 5\n")
    options = ["--method", "restore", "--config", tmp_path / "quick.toml"]
    told = json.loads(wedge("plan", tmp_path / "tilts.zarr", *options, "--json").out)
    assert set(told["parts"]) == {"set-up", "learning", "restoring", "settings", "fit"}
    assert sum(told["parts"].values()) == pytest.approx(told["seconds"])
    assert all(seconds > 0 for seconds in told["parts"].values())
    assert (told["method"], told["steps"], told["rows_at_once"]) == ("restore", 5, 18), "those of clear halves"
    assert 0 < told["memory_bytes"] < told["limit_bytes"]
    assert "[restore]" in wedge("plan", tmp_path / "tilts.zarr", *options).out


def test_plan_knows_the_steps_and_the_slabs_of_the_run(wedge, tilts, tmp_path):
    options = ["--tune", "none", "--method", "network", "--passes", "3", "--json"]
    told = json.loads(wedge("plan", tilts, *options).out)
    fit = json.loads(wedge("reconstruct", tilts, "-o", tmp_path / "o.zarr", *options).out)["fit"]
    assert (told["steps"], told["rows_at_once"]) == (fit["steps"], fit["slab_rows"])
    assert told["parts"]["settings"] == 0


def test_plan_of_noisy_views_knows_that_every_step_takes_all_rows(wedge, tmp_path):
    options = ["--shape", "8", "24", "24", "--num-tilts", "30", "--noise", "poisson", "--eta", "1"]
    assert wedge("simulate-spheres", "-o", tmp_path, *options).code == 0
    one = ["--method", "network", "--passes", "3", "--json"]
    told = json.loads(wedge("plan", tmp_path / "tilts.zarr", *one).out)
    fit = json.loads(wedge("reconstruct", tmp_path / "tilts.zarr", "-o", tmp_path / "o.zarr", *one).out)["fit"]
    assert (told["steps"], told["rows_per_step"], told["rows_at_once"]) == (fit["steps"], 24, fit["slab_rows"])


def test_time_grows_with_passes_and_rows(monkeypatch, wedge, tilts):
    cost = StepCost(rows=2, gradient_seconds=0.5, update_seconds=0.25, predict_seconds=1.0, peak_bytes=9, base_bytes=5, parameter_bytes=0)
    assert cost.step_seconds(4, 8) == 0.5 * 2 + 0.25 * 4
    monkeypatch.setattr(forecast, "time_steps", lambda *args: cost)
    cost = replace(cost, seconds_per_other_row=0.1)
    assert cost.step_seconds(4, 8) == pytest.approx(0.5 * 2 + 0.25 * 4 + 0.1 * 4)
    monkeypatch.setattr(forecast, "in_whole_box", lambda job, config, timed: cost)
    options = ["--tune", "none", "--method", "network", "--batch-rows", 6, "--json"]
    parts = [json.loads(wedge("plan", tilts, *options, "--passes", passes).out)["parts"] for passes in (5, 10)]
    assert [part["fit"] for part in parts] == pytest.approx([5 * 4 * cost.step_seconds(6, 24), 10 * 4 * cost.step_seconds(6, 24)])
    assert [part["writing"] for part in parts] == [12.0, 12.0]


def test_dry_run_is_the_plan_and_needs_no_room_for_the_output(wedge, tilts, tmp_path):
    (tmp_path / "o.zarr").mkdir()
    done = wedge("reconstruct", tilts, "-o", tmp_path / "o.zarr", "--method", "network", "--tune", "none", "--dry-run")
    assert done.code == 0
    assert done.out.startswith("method  network, on cpu\ntime    about ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.zarr"]


def test_what_does_not_fit_is_refused_with_the_knob_to_turn(wedge, tilts):
    done = wedge("plan", tilts, "--method", "network", "--max-memory", "30MB")
    assert done.code == 6
    assert "allow at least" in done.error
    assert "--max-memory" in done.error


def test_plan_takes_the_options_of_reconstruct():
    of_run = {"output", "std", "observer", "resume", "stop_now", "checkpoint_seconds", "overwrite", "dry_run", "devices"}
    ours, theirs = (set(inspect.signature(command).parameters) for command in (plan.command, reconstruct.command))
    assert ours == theirs - of_run


def test_plan_of_nothing_is_refused(wedge, tmp_path):
    done = wedge("plan", tmp_path / "none.zarr")
    assert done.code == 3
    assert "none.zarr" in done.error
