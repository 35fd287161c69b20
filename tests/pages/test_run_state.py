"""Laws of looking at a run: what is said is so, whatever files there are and whatever state they are in."""

import os
import time
from pathlib import Path

import pytest

from wedge.errors import InputError
from wedge.pages.heartbeat import Heartbeat
from wedge.pages.run_state import RunState, resumed, run_state_of
from wedge.pages.subject import Subject, find_subject
from wedge.preview import Preview


def look(watched):
    watched.look()
    watched.settle(20)
    return watched.look()


def shown(watched):
    return Preview.from_bytes(watched.data("preview")[1])


def test_a_running_fit_is_shown_as_its_files_say(fake):
    fake.tell()
    fake.show()
    watched = run_state_of(fake.run_dir)
    state = look(watched)
    assert (state["state"], state["title"], state["progress"], state["notes"]) == ("running", "o.zarr", [3, 10], [])
    assert state["scalars"] == {"loss": 0.5, "held_out": 0.25}
    assert all(state["versions"].values())
    assert shown(watched).codes.shape == (12, 20, 24)
    assert watched.data("spectrum")[1]["tilt_range_deg"] == [-60, 60]
    assert watched.data("curves")[1]["loss"][0] == [1, 2, 3]
    assert "place" not in state


def test_versions_and_stamp_change_with_what_is_new_alone(fake):
    fake.tell()
    fake.show(3)
    watched = run_state_of(fake.output)
    first, stamp = look(watched)["versions"], watched.stamp()
    assert (look(watched)["versions"], watched.stamp()) == (first, stamp)
    fake.tell()
    assert look(watched)["versions"] == first
    assert watched.stamp() != stamp
    fake.show(4)
    assert all(value != first[name] for name, value in look(watched)["versions"].items())


@pytest.mark.parametrize(("how", "resumable"), [("failed", False), ("failed", True), ("interrupted", True), ("interrupted", False)])
def test_a_fit_that_ended_early_says_why_and_how_to_go_on(fake, how, resumable):
    fake.tell(how, error="the fit diverged at step 3")
    if resumable:
        fake.checkpoint()
    state = look(run_state_of(fake.run_dir))
    assert (state["state"], state["error"]) == (how, "the fit diverged at step 3")
    assert state.get("resume") == ("wedge reconstruct t.zarr -o o.zarr --resume" if resumable else None)


def test_settings_that_a_resumed_fit_refuses_are_left_out_of_its_command():
    words = "wedge reconstruct t.zarr -o o.zarr --quality high --config=a.toml --preset study --overwrite --resume --watch"
    assert resumed(words.split()) == ["wedge", "reconstruct", "t.zarr", "-o", "o.zarr", "--watch"]


def test_a_fit_without_signs_of_life_is_stalled(fake):
    fake.tell(written=time.time() - 30)
    state = look(run_state_of(fake.run_dir))
    assert state["state"] == "stalled"
    assert "no sign of life" in state["text"]
    fake.tell(written=time.time() - 300, host="elsewhere")
    assert look(run_state_of(fake.run_dir))["state"] == "waiting"


def test_a_fit_that_was_killed_is_gone(fake):
    from wedge.pages.process_place import process_place

    fake.tell(pid=os.getpid(), place=process_place().rpartition(" ")[0] + " 1")
    fake.checkpoint()
    state = look(run_state_of(fake.run_dir))
    assert state["state"] == "gone"
    assert state["resume"].endswith("--resume")


def test_a_finished_fit_shows_its_result(fake):
    fake.tell("ended")
    fake.show()
    waiting = run_state_of(fake.run_dir)
    assert "not there yet" in look(waiting)["text"]
    before = waiting.data("preview")[0]
    fake.result()
    for watched in (waiting, run_state_of(fake.run_dir), run_state_of(fake.output)):
        state = look(watched)
        assert (state["state"], state["text"], state["result"]) == ("ended", "the fit has ended", True)
        assert state["facts"]["shape"] == [12, 20, 24]
        assert watched.data("preview")[0] != before
        # Noise around 1, not the ball of 0 and 1.
        assert 0.3 < shown(watched).low < shown(watched).high < 1.7
        assert watched.data("spectrum")[1]["tilt_range_deg"] == [-60, 60]


@pytest.mark.parametrize("suffix", [".zarr", ".mrc"])
def test_a_result_that_is_about_to_be_replaced_is_not_shown(tmp_path, fake_at, suffix):
    fake = fake_at(tmp_path / f"o{suffix}")
    fake.result(ended=time.time() - 100)
    for state in ("running", "failed", "ended"):
        fake.tell(state, seconds=80.0)
        fake.show()
        watched = run_state_of(fake.run_dir)
        assert "result" not in look(watched)
        assert shown(watched).low < 0.1
    fake.result()
    assert look(watched)["result"]
    # While the next one is being written, whether or not anybody watches that.
    partial = tmp_path / f"o{suffix}.partial"
    partial.touch()
    assert "result" not in look(run_state_of(fake.run_dir))
    (fake.run_dir / "watch" / "state.json").unlink()
    assert look(run_state_of(fake.run_dir))["state"] == "unobserved"


def test_a_result_is_known_after_it_was_copied_without_its_times(fake):
    fake.result()
    fake.tell("ended", seconds=80.0)
    long_ago = time.time() - 1000
    for path in (fake.output, *fake.output.rglob("*")):
        os.utime(path, (long_ago, long_ago))
    assert look(run_state_of(fake.run_dir))["result"]


NONSENSE = [None, 3, "x", [], [1], {}, {"a": []}, True, float("nan"), ["", "", ""]]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_nonsense_in_a_state_is_left_out(fake, nonsense):
    fake.tell()
    sound = look(run_state_of(fake.run_dir))
    for key in [key for key in sound if key not in ("title", "notes", "versions", "text", "state")]:
        fake.tell(**{key: nonsense})
        found = look(run_state_of(fake.run_dir))
        assert found["state"] in ("running", "stalled", "waiting"), key
        assert key not in found or type(found[key]) in (type(sound[key]), int, float), key
    fake.tell(nonsense)
    assert "damaged state" in look(run_state_of(fake.run_dir))["notes"][0]


def test_a_fit_that_nobody_watched_shows_what_there_is(fake):
    watched = run_state_of(fake.run_dir)
    state = look(watched)
    assert state["state"] == "unobserved"
    assert "--watch" in state["missing"][0]
    assert state["method"] == "network"
    fake.checkpoint(step=4)
    (fake.run_dir / "log.jsonl").write_text('{"step": 1.0, "loss": 0.5}\n{"step": 2.0, "loss": 0.25, "held_out": 1}\n{"step": 3.0, "lo')
    state = look(watched)
    assert (state["state"], state["step"], state["seconds"]) == ("unobserved", 4, 9.0)
    assert "checkpoint is of step 4" in state["text"]
    assert state["versions"]["preview"] is None
    assert watched.data("curves")[1] == {"loss": [[1.0, 2.0], [0.5, 0.25]], "held_out": [[2.0], [1.0]]}
    (fake.run_dir / "checkpoint.safetensors").unlink()
    fake.result()
    assert look(watched)["state"] == "ended"
    assert look(watched)["result"]


@pytest.mark.parametrize("damage", [b"", b"\x08", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_damaged_checkpoint_does_no_harm(fake, damage):
    (fake.run_dir / "checkpoint.safetensors").write_bytes(damage)
    assert look(run_state_of(fake.run_dir))["state"] == "unobserved"


def test_a_damaged_file_is_named_and_what_was_last_good_stays(fake):
    fake.tell()
    fake.show(3)
    watched = run_state_of(fake.run_dir)
    look(watched)
    good = watched.data("preview")[1]
    folder = fake.run_dir / "watch"
    for name, damage in [("preview.bin", good[:100]), ("state.json", b'{"state"'), ("curves.json", b"[]"), ("spectrum.json", b"x")]:
        (folder / name).write_bytes(damage)
    assert watched.data("preview")[1] == good
    assert watched.data("curves") is watched.data("spectrum") is None
    state = look(watched)
    assert state["state"] == "running"
    assert len(state["notes"]) == 4
    assert all("damaged" in note for note in state["notes"])
    fake.tell()
    fake.show(5)
    assert watched.data("preview")[1] != good
    watched.data("curves"), watched.data("spectrum")
    assert look(watched)["notes"] == []


def test_a_state_that_was_never_sound_is_said_to_be_damaged(fake):
    fake.files.folder.joinpath("state.json").write_bytes(b"\x00")
    state = look(run_state_of(fake.run_dir))
    assert (state["state"], state["text"]) == ("unobserved", "what this fit tells of itself cannot be read")
    assert "missing" not in state
    assert "state.json is damaged" in state["notes"][0]


def test_a_run_that_disappears_is_told(fake):
    fake.tell()
    watched = run_state_of(fake.run_dir)
    assert look(watched)["state"] == "running"
    for path in sorted(fake.run_dir.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    fake.run_dir.rmdir()
    assert look(watched)["state"] == "missing"
    assert watched.data("preview") is None


def test_a_volume_alone_is_shown(tmp_path, write_volume):
    for name in ("v.zarr", "v.mrc"):
        write_volume(tmp_path / name)
        watched = run_state_of(tmp_path / name)
        state = look(watched)
        assert (state["state"], state["title"], state["picture"]) == ("volume", name, "")
        assert shown(watched).codes.shape == (12, 20, 24)


def test_a_large_volume_without_coarser_copies_is_binned_and_that_is_said(tmp_path, write_volume):
    write_volume(tmp_path / "v.mrc", shape=(4, 6, 600))
    watched = run_state_of(tmp_path / "v.mrc")
    state = look(watched)
    assert state["picture"] == "shown binned by 3"
    assert shown(watched).codes.shape == (1, 2, 200)


def test_a_volume_that_cannot_be_read_says_so_on_the_page(tmp_path, write_volume):
    write_volume(tmp_path / "v.zarr")
    for chunk in (tmp_path / "v.zarr" / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"nonsense")
    watched = run_state_of(tmp_path / "v.zarr")
    state = look(watched)
    assert "v.zarr" in state["picture"]
    assert watched.data("preview") is None


def test_looking_changes_nothing_in_the_folder(fake):
    fake.tell()
    fake.show()
    fake.result()
    everything = [fake.output.parent, *fake.output.parent.rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in everything}
    for path in (fake.run_dir, fake.output):
        watched = run_state_of(path)
        look(watched)
        for name in ("preview", "spectrum", "curves"):
            watched.data(name)
    assert {path: path.stat().st_mtime_ns for path in [fake.output.parent, *fake.output.parent.rglob("*")]} == before


def test_what_a_path_means(fake, tmp_path, write_volume):
    subject = Subject(fake.run_dir, fake.output)
    assert find_subject(fake.run_dir) == find_subject(fake.output) == subject
    fake.result()
    assert find_subject(fake.run_dir) == find_subject(fake.output) == subject
    write_volume(tmp_path / "alone.zarr")
    assert find_subject(tmp_path / "alone.zarr") == Subject(None, tmp_path / "alone.zarr")
    (tmp_path / "renamed").mkdir()
    (tmp_path / "renamed" / "config.json").write_text("{}")
    assert find_subject(tmp_path / "renamed").run_dir == tmp_path / "renamed"


def test_the_folder_that_one_is_in_can_be_named(fake, monkeypatch):
    monkeypatch.chdir(fake.run_dir)
    assert find_subject(Path()) == Subject(fake.run_dir, fake.output)
    (fake.run_dir / "more").mkdir()
    monkeypatch.chdir(fake.run_dir / "more")
    assert find_subject(Path("..")) == Subject(fake.run_dir, fake.output)
    with pytest.raises(InputError, match="/"):
        find_subject(Path("/"))


def test_what_is_neither_run_nor_volume_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.zarr").write_text("no store")
    for name in ("nothing.run", "folder", "text.zarr"):
        with pytest.raises(InputError) as told:
            find_subject(tmp_path / name)
        assert name in str(told.value)


def test_judging_life_is_asked_of_the_state_as_it_is(fake):
    """A state that says ended is not stalled, however old it is."""
    fake.tell("ended", written=0.0)
    assert look(RunState(Subject(fake.run_dir, fake.output), Heartbeat()))["state"] == "ended"
