"""``wedge benchmark``: what it measures, and what it is shown beside."""

import json

import pytest

from wedge.cli import benchmark

TINY = ["--shape", 8, 16, 24, "--num-tilts", 15, "--passes", 2, "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work") / "benchmark"


def test_every_method_is_measured_clean_and_noisy(wedge, folder, monkeypatch, capfd):
    from wedge.cli import run

    def here(*words, step):
        capfd.readouterr()
        assert run([str(word) for word in words]) == 0
        return json.loads(capfd.readouterr().out)

    monkeypatch.setattr(benchmark, "run_step", here)
    done = wedge("benchmark", *TINY, "--work", folder, "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert [(row["method"], row["noise"]) for row in told["rows"]] == [
        ("fbp", 0.0),
        ("reconstruct", 0.0),
        ("fbp", 0.3),
        ("reconstruct", 0.3),
    ]
    for row in told["rows"]:
        assert row["seconds"] > 0
        assert row["peak_memory_bytes"] > 50e6
        assert row["psnr.volume"] > 0
    assert told["machine"]["device"] == "cpu"
    assert told["machine"]["cores"] >= 1
    assert told["stored"] is None
    assert (folder / "noise-0.3" / "reconstruct.zarr").exists()


def test_steps_are_processes_of_their_own(tmp_path):
    from wedge.cli.steps import cost_of, run_step

    run_step("simulate-spheres", "-o", tmp_path, "--shape", 8, 8, 8, "--num-tilts", 12, "--json", step="simulate")
    told = run_step("fbp", tmp_path / "tilts.zarr", "-o", tmp_path / "fbp.zarr", "--json", step="fbp")
    assert cost_of(told).peak_memory_bytes > 50e6
    assert cost_of(told).seconds > 0


def test_stored_rows_stand_beside_those_of_this_machine():
    mine = {"method": "fbp", "noise": 0.0, "psnr.volume": 20.0, "ssim": 0.5, "fsc.wedge": 0.25, "seconds": 2.0, "peak_memory_bytes": 2**21}
    stored = {
        "machine": {"name": "a processor", "cores": 4, "torch": "2.13"},
        "rows": [mine | {"seconds": 1.5, "peak_memory_bytes": 2**22}],
    }
    head, row, below = benchmark._text({"rows": [mine], "stored": stored}).splitlines()
    assert row.split() == ["fbp,", "noise", "0", "20", "0.5", "0.25", "2", "2", "20", "1.5", "4"]
    assert head.split()[-2:] == ["their", "MiB"]
    assert below == "theirs: a processor, 4 cores, torch 2.13"


def test_the_default_has_a_stored_table_that_knows_its_machine():
    stored = benchmark.stored_table((32, 128, 128), 60)
    assert stored is not None
    assert {"name", "cores", "torch"} <= stored["machine"].keys()
    assert [(row["method"], row["noise"]) for row in stored["rows"]] == [(m, n) for n in (0.0, 0.3) for m in ("fbp", "reconstruct")]
    assert benchmark.stored_table((32, 128, 64), 60) is None


def test_a_folder_that_cannot_be_is_refused(wedge, tmp_path):
    (tmp_path / "file").write_text("")
    done = wedge("benchmark", "--work", tmp_path / "file" / "below")
    assert done.code == 3
    assert "--work" in done.error
