"""Room on the disk, asked for before the work."""

import shutil
from collections import namedtuple

import numpy as np
import pytest

from wedge.errors import InputError
from wedge.formats.space import require_space
from wedge.store import create_volume

Usage = namedtuple("Usage", "total used free")
SHAPE = (64, 512, 512)
BYTES = 4 * 64 * 512 * 512


@pytest.fixture
def free(monkeypatch):
    def leave(size):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(size, 0, size))

    return leave


def told(*paths, **options):
    notes = []
    require_space(paths, SHAPE, on_note=notes.append, **options)
    return notes


def test_a_file_needs_all_of_its_bytes(tmp_path, free):
    free(BYTES + 1024)
    assert told(tmp_path / "v.mrc") == []
    free(BYTES + 1023)
    with pytest.raises(InputError, match=r"needs 64\.0 MiB or more, 64\.0 MiB are free in .*; make room.*WEDGE_IGNORE_DISK_SPACE=1"):
        told(tmp_path / "v.mrc")
    assert told(tmp_path / "v.mrc", bytes_per_value=1) == []


def test_a_store_may_be_smaller_but_not_by_much(tmp_path, free):
    free(2 * BYTES)
    assert told(tmp_path / "v.zarr") == []
    free(BYTES)  # without its coarser copies
    (note,) = told(tmp_path / "v.zarr")
    assert "may need 72.0 MiB" in note
    assert told(tmp_path / "t.zarr", is_volume=False) == []
    free(BYTES // 3)
    with pytest.raises(InputError, match="the disk is too small"):
        told(tmp_path / "v.zarr")
    assert told(tmp_path / "v.zarr", copied=True)


def test_outputs_of_one_disk_add_up(tmp_path, free):
    free(int(1.9 * BYTES))
    assert told(tmp_path / "v.mrc") == []
    with pytest.raises(InputError, match=r"needs 128\.0 MiB"):
        told(tmp_path / "v.mrc", tmp_path / "std.mrc")


def test_what_lies_beside_is_warned_of(tmp_path, free):
    free(3 * BYTES)
    assert told(tmp_path / "v.mrc") == []
    assert told(tmp_path / "v.mrc", beside_bytes=6 * BYTES)


def test_what_an_interrupted_run_left_makes_room(tmp_path, free):
    with (tmp_path / "v.mrc.partial").open("wb") as file:
        file.truncate(BYTES)
    free(2048)
    assert told(tmp_path / "v.mrc") == []
    with create_volume(tmp_path / "w.zarr", (2, 3, 4)) as writer:
        writer.write_rows(0, np.ones((3, 2, 4)))
        with pytest.raises(InputError):
            told(tmp_path / "w.zarr")


def test_the_user_may_know_better(tmp_path, free, monkeypatch):
    free(0)
    monkeypatch.setenv("WEDGE_IGNORE_DISK_SPACE", "1")
    assert told(tmp_path / "v.mrc")
    monkeypatch.setenv("WEDGE_IGNORE_DISK_SPACE", "0")
    with pytest.raises(InputError):
        told(tmp_path / "v.mrc")


def test_folder_that_is_not_there_is_left_to_the_output(tmp_path, free):
    free(0)
    assert told(tmp_path / "none" / "v.mrc") == []


@pytest.mark.parametrize("words", [["import"], ["fbp"], ["reconstruct", "--passes", "1"], ["export"], ["average"]])
def test_commands_refuse_at_once(wedge, tmp_path, free, words):
    wedge("simulate-spheres", "-o", tmp_path / "s", "--shape", 8, 12, 16, "--num-tilts", 5, "--tilt-range", -60, 60)
    free(100)
    source = tmp_path / "s" / ("volume.zarr" if words[0] in ("export", "average") else "tilts.zarr")
    done = wedge(words[0], source, "-o", tmp_path / "out.mrc", *words[1:])
    assert (done.code, "the disk is too small" in done.error) == (3, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]
