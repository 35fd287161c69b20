"""Volumes of either half: ``wedge reconstruct --halves`` and ``wedge fbp --halves``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.fit.checkpoint import CHECKPOINT_NAME
from wedge.fit.loop import StopRequest

QUICK = ["--method", "network", "--tune", "none", "--passes", "2", "--projector-opt", "cache=false"]
HALVES = ["--halves", "even.zarr", "odd.zarr"]


@pytest.fixture
def folder(tmp_path: Path, wedge, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sizes = ["--shape", "8", "12", "16", "--num-tilts", "15", "--noise", "poisson", "--eta", "0.1"]
    assert wedge("simulate-spheres", "-o", ".", *sizes).code == 0
    return tmp_path


def read(name: str) -> np.ndarray:
    return np.asarray(store.open_volume(name).array[:])


def test_halves_are_fits_of_every_other_view_that_is_fitted_with_the_settings_of_the_whole(folder: Path, wedge) -> None:
    done = wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, *HALVES, "--hold-out", "0.2", "--hold-out-views", "extremes")
    assert done.code == 0, done.err
    assert done.out.split() == ["v.zarr", "even.zarr", "odd.zarr"]
    whole, even, odd = (store.open_volume(name) for name in ("v.zarr", "even.zarr", "odd.zarr"))
    views = whole.provenance["views"]
    assert whole.tilt_angles_deg == tuple(views["seen_angles_deg"])
    assert {60.0, -60.0} <= set(views["held_out_angles_deg"])
    assert sorted(views["seen_places"] + views["held_out_places"]) == list(range(15))
    in_order = sorted(whole.tilt_angles_deg)
    assert (sorted(even.tilt_angles_deg), sorted(odd.tilt_angles_deg)) == (in_order[::2], in_order[1::2])
    fits = [volume.provenance["config"]["fit"] for volume in (whole, even, odd)]
    changed = ("seed", "hold_out", "hold_out_views", "tune")
    assert fits[1] == {**fits[0], **{key: fits[1][key] for key in changed}}
    assert fits[2] == {**fits[1], "seed": fits[1]["seed"] + 1}
    summaries = [volume.provenance["fit"] for volume in (whole, even, odd)]
    assert len({(told["offset"], told["scale"]) for told in summaries}) == 1
    # A half is what the same settings make of its views alone.
    assert not np.array_equal(read("even.zarr"), read("odd.zarr"))


@pytest.mark.parametrize("method", ["network", "adaptive"])
def test_a_half_is_made_again_alone_from_its_record(folder: Path, wedge, method: str) -> None:
    some = ["--method", method, *QUICK[2:], "--hold-out-views", "extremes", "--crop-y", "2", "9"]
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *some, *HALVES).code == 0
    for name in ("v.zarr", "v.zarr.run", "even.zarr.run", "odd.zarr.run"):
        shutil.rmtree(name)
    for name in ("even.zarr", "odd.zarr"):
        done = wedge("reconstruct", "tilts.zarr", "-o", "again.zarr", "--config", name, "--overwrite")
        assert done.code == 0, done.err
        assert "a half of v.zarr: this half alone is made again" in done.err
        assert np.array_equal(read("again.zarr"), read(name))
        first, second = (store.open_volume(each).provenance for each in (name, "again.zarr"))
        assert all(first[key] == second[key] for key in ("config", "views", "half_of", "half"))
    if method == "adaptive":
        return
    # The copy of a copy is the half too, and settings of its own can be given.
    assert wedge("reconstruct", "tilts.zarr", "-o", "copy.zarr", "--config", "again.zarr", "--passes", "1").code == 0
    assert store.open_volume("copy.zarr").provenance["config"]["fit"]["passes"] == 1
    assert not np.array_equal(read("copy.zarr"), read("odd.zarr"))


def test_a_half_of_aligned_views_is_made_again_of_views_that_moved_alike(folder: Path, wedge) -> None:
    tilts = store.open_tilts("tilts.zarr")
    shaken = np.asarray(tilts.array[:])
    shaken[::4] = np.roll(shaken[::4], 2, axis=2)
    with store.create_tilts("shaken.zarr", tilts.geometry) as writer:
        writer.write_rows(0, shaken.transpose(1, 0, 2))
        writer.commit({})
    assert wedge("reconstruct", "shaken.zarr", "-o", "v.zarr", *QUICK, *HALVES, "--refine-alignment").code == 0
    assert any(store.open_volume("odd.zarr").provenance["half"]["alignment"]["dx_pixels"])
    for name in ("v.zarr.run", "odd.zarr.run"):
        shutil.rmtree(name)
    assert wedge("reconstruct", "shaken.zarr", "-o", "again.zarr", "--config", "odd.zarr").code == 0
    assert np.array_equal(read("again.zarr"), read("odd.zarr"))


def test_a_half_made_again_goes_on_where_it_was_stopped(folder: Path, wedge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, *HALVES).code == 0
    from wedge.fit import reconstruct as module

    original = module.run_fit

    def stopping(fit, progress, *, stop: StopRequest, **options):
        stop.reason = "SIGTERM"
        return original(fit, progress, stop=stop, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "run_fit", stopping)
        assert wedge("reconstruct", "tilts.zarr", "-o", "again.zarr", "--config", "odd.zarr").code == 75
    assert wedge("reconstruct", "tilts.zarr", "-o", "again.zarr", "--resume").code == 0
    assert np.array_equal(read("again.zarr"), read("odd.zarr"))
    assert store.open_volume("again.zarr").provenance["half"] == store.open_volume("odd.zarr").provenance["half"]


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--views", "all"], "options of reading"), (["--half", "tilts.zarr"], "leave --half"), (HALVES, "is of a whole")],
)
def test_a_half_is_made_again_of_its_own_views_or_not_at_all(folder: Path, wedge, options: list[str], says: str) -> None:
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, "--halves", "first.zarr", "second.zarr").code == 0
    told = wedge("reconstruct", "tilts.zarr", "-o", "again.zarr", "--config", "first.zarr", *options)
    assert (told.code, says in told.error) == (2, True), told.err


def test_a_half_is_not_made_again_of_other_data_in_its_units(folder: Path, wedge) -> None:
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, *HALVES).code == 0
    assert wedge("simulate-spheres", "-o", "other", "--shape", "8", "12", "16", "--num-tilts", "15", "--seed", "5").code == 0
    told = wedge("reconstruct", "other/tilts.zarr", "-o", "again.zarr", "--config", "even.zarr")
    assert (told.code, "in units of tilts.zarr, and other/tilts.zarr holds other data" in told.error) == (3, True), told.err
    # The same under another name is the same.
    shutil.move("tilts.zarr", "moved.zarr")
    assert wedge("reconstruct", "moved.zarr", "-o", "again.zarr", "--config", "even.zarr").code == 0
    assert np.array_equal(read("again.zarr"), read("even.zarr"))


@pytest.mark.parametrize("lost", [["odd.zarr"], ["even.zarr", "odd.zarr"]])
def test_resuming_makes_what_is_missing_as_it_would_have_been(folder: Path, wedge, lost: list[str]) -> None:
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, *HALVES).code == 0
    before = {name: read(name) for name in ("v.zarr", "even.zarr", "odd.zarr")}
    made = (folder / "v.zarr" / "zarr.json").stat().st_mtime_ns
    told = wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", "--resume", *HALVES)
    assert told.code == 5
    assert "nothing to resume" in told.error
    for name in lost:
        shutil.rmtree(name)
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", "--resume", *HALVES).code == 0
    assert all(np.array_equal(read(name), array) for name, array in before.items())
    assert (folder / "v.zarr" / "zarr.json").stat().st_mtime_ns == made


def test_a_stopped_half_goes_on_from_its_checkpoint(folder: Path, wedge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, *HALVES).code == 0
    expected = read("odd.zarr")
    for name in ("v.zarr", "even.zarr", "odd.zarr"):
        shutil.rmtree(name)
    from wedge.fit import reconstruct as module

    original = module.run_fit
    calls: list[int] = []

    def stopping(fit, progress, *, stop: StopRequest, **options):
        calls.append(1)
        if len(calls) == 3:
            stop.reason = "SIGTERM"
        return original(fit, progress, stop=stop, **options)

    monkeypatch.setattr(module, "run_fit", stopping)
    told = wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *QUICK, *HALVES)
    assert told.code == 75
    assert "odd.zarr.run" in told.err
    assert (folder / "odd.zarr.run" / CHECKPOINT_NAME).exists()
    assert not (folder / "odd.zarr").exists()
    assert wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", "--resume", *HALVES).code == 0
    assert np.array_equal(read("odd.zarr"), expected)


def test_of_two_stacks_each_is_a_half(folder: Path, wedge) -> None:
    sizes = ["--shape", "8", "12", "16", "--num-tilts", "15", "--noise", "poisson", "--eta", "0.4"]
    assert wedge("simulate-spheres", "-o", "other", *sizes).code == 0
    shutil.move("other/tilts.zarr", "second.zarr")
    done = wedge("reconstruct", "tilts.zarr", "--half", "second.zarr", "-o", "v.zarr", *QUICK, *HALVES, "--hold-out", "0.1")
    assert done.code == 0, done.err
    whole, first, second = (store.open_volume(name) for name in ("v.zarr", "even.zarr", "odd.zarr"))
    assert whole.tilt_angles_deg == first.tilt_angles_deg == second.tilt_angles_deg
    assert [Path(volume.provenance["inputs"][0]["path"]).name for volume in (first, second)] == ["tilts.zarr", "second.zarr"]


def test_fbp_of_halves_is_fbp_of_their_views(folder: Path, wedge) -> None:
    done = wedge("fbp", "tilts.zarr", "-o", "v.zarr", *HALVES, "--exclude-views", "3", "--json")
    assert json.loads(done.out)["halves"] == ["even.zarr", "odd.zarr"]
    views = [view for view in range(15) if view != 3]
    for name, kept in (("even.zarr", views[::2]), ("odd.zarr", views[1::2])):
        assert wedge("fbp", "tilts.zarr", "-o", "again.zarr", "--views", ",".join(map(str, kept)), "--overwrite").code == 0
        assert np.array_equal(read(name), read("again.zarr"))
    assert wedge("fbp", "tilts.zarr", "-o", "again.zarr", "--exclude-views", "3", "--overwrite").code == 0
    assert np.array_equal(read("v.zarr"), read("again.zarr"))


@pytest.mark.parametrize("command", ["fbp", "reconstruct"])
@pytest.mark.parametrize(
    ("halves", "code", "says"),
    [
        (["v.zarr", "odd.zarr"], 2, "one path"),
        (["even.zarr", "./even.zarr"], 2, "one path"),
        (["tilts.zarr", "odd.zarr"], 5, "also an input"),
        (["even.zarr", "there.zarr"], 5, "output exists: there.zarr"),
    ],
)
def test_halves_that_cannot_be_are_refused_before_any_work(folder: Path, wedge, command: str, halves: list[str], code: int, says) -> None:
    shutil.copytree("volume.zarr", "there.zarr")
    before = sorted(folder.rglob("*"))
    told = wedge(command, "tilts.zarr", "-o", "v.zarr", "--halves", *halves)
    assert told.code == code
    assert says in told.error
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--hold-out-views", "99"], 2, "names view 99"),
        (["--hold-out-views", "outermost"], 2, "cannot read the views"),
        (["--hold-out-views", "0-12"], 2, "leaves 2 of 15 views"),
        (["--resume", "--stop-now", *HALVES], 2, "leave --halves out"),
        (["--resume", *HALVES], 3, "nothing to resume"),
    ],
)
def test_bad_choices_are_one_line(folder: Path, wedge, options: list[str], code: int, says: str) -> None:
    told = wedge("reconstruct", "tilts.zarr", "-o", "v.zarr", *(QUICK if "--resume" not in options else []), *options)
    assert told.code == code
    assert says in told.error
