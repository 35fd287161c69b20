"""Laws of the files of a run: read whole or not at all, damage told in one line."""

import errno
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from wedge.errors import InputError
from wedge.pages.run_files import RunFiles
from wedge.preview import preview_of_slices


@pytest.fixture
def files(tmp_path):
    made = RunFiles(tmp_path / "watch")
    made.prepare()
    return made


def preview(value, side=24):
    return preview_of_slices(np.full((side, side, side), value, np.float32), (1.0, 1.0, 1.0), 10.0)


def test_what_is_written_is_read(files):
    assert files.state() is files.preview() is files.curves() is files.spectrum() is None
    files.write_state({"step": 3})
    files.write_curves({"loss": [[1], [2.0]]})
    files.write_preview(preview(1.0), {"shape": [1, 1]})
    assert files.state()["step"] == 3
    assert files.curves() == {"loss": [[1], [2.0]]}
    assert files.spectrum() == {"shape": [1, 1]}
    assert files.preview() == preview(1.0).to_bytes()


def test_stamps_change_with_what_they_stand_for(files):
    stamps = [files.stamp("state", "preview")]
    for step in range(3):
        files.write_state({"step": step})
        stamps.append(files.stamp("state", "preview"))
    files.write_preview(preview(1.0), None)
    stamps.append(files.stamp("state", "preview"))
    assert len(set(stamps)) == len(stamps)
    assert files.stamp("state", "preview") == stamps[-1]


def test_a_reader_never_sees_half_of_a_file(files):
    """Messages of two lengths are written as fast as can be while somebody reads."""
    small, large = preview(1.0, 8), preview(2.0, 48)
    whole = {small.to_bytes(), large.to_bytes()}
    files.write_preview(small, None)
    files.write_state({"steps": []})
    ended = threading.Event()

    def write():
        for turn in range(150):
            files.write_preview(large if turn % 2 else small, None)
            files.write_state({"steps": list(range(5000 * (turn % 2)))})
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not ended.is_set():
        message = files.preview()
        assert message in whole
        seen.add(len(message))
        assert len(files.state()["steps"]) in (0, 5000)
    writer.join()
    assert len(seen) == 2
    assert sorted(path.name for path in files.folder.iterdir()) == ["preview.bin", "state.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe", b'{"version": 99}', b"{}"])
def test_a_damaged_state_is_one_line(files, damage):
    (files.folder / "state.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"state\.json is ") as told:
        files.state()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("cut", [0, 3, 20, -1])
def test_a_damaged_preview_is_one_line(files, cut):
    files.write_preview(preview(1.0), None)
    message = files.preview()
    (files.folder / "preview.bin").write_bytes(message[:cut])
    with pytest.raises(InputError, match="damaged preview"):
        files.preview()


def test_files_that_are_far_too_large_are_not_read(files):
    with (files.folder / "state.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(InputError, match="larger than any"):
        files.state()


def test_a_file_that_a_shared_disk_no_longer_has_is_read_anew(files, monkeypatch):
    files.write_state({"state": "running"})
    opened, stale = Path.open, [errno.ESTALE, errno.ESTALE]

    def failing(path, *arguments):
        if stale:
            raise OSError(stale.pop(), "Stale file handle")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", failing)
    assert files.state()["state"] == "running"
    stale += [errno.ESTALE] * 3
    with pytest.raises(InputError, match="Stale"):
        files.state()


def test_messages_are_plain_json(files):
    files.write_state({"state": "running"})
    assert json.loads((files.folder / "state.json").read_text()) == {"version": 1, "state": "running"}
