import contextlib
import errno
import resource

import numpy as np
import pytest
from filelock import Timeout

from wedge.errors import InputError, OutputExistsError
from wedge.formats import create_volume
from wedge.output import PendingOutput, lock_output, plain_json, refuse_same, release_output, writing

SHAPE = (64, 32, 64)


@contextlib.contextmanager
def largest_file(num_bytes):
    """Let the system refuse to write more into any one file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".zarr", ".mrc"])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, suffix):
    noise = np.random.default_rng(0).normal(size=(32, 64, 64))

    def write():
        with create_volume(tmp_path / f"v{suffix}", SHAPE) as writer:
            writer.write_rows(0, noise)
            writer.commit({})

    with largest_file(100_000), pytest.raises(InputError, match=r"^disk is full: cannot write .*v\.") as caught:
        write()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".zarr", ".mrc"])
def test_full_disk_keeps_the_old_output(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    with create_volume(path, SHAPE) as writer:
        writer.write_rows(0, np.zeros((32, 64, 64)))
        writer.commit({})
    before = sorted(tmp_path.rglob("*"))

    def write():
        with create_volume(path, SHAPE, overwrite=True) as writer:
            writer.write_rows(0, np.random.default_rng(0).normal(size=(32, 64, 64)))

    with largest_file(100_000), pytest.raises(InputError, match="disk is full"):
        write()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_a_full_disk(tmp_path, code):
    with pytest.raises(InputError, match="disk is full"), writing(tmp_path):
        raise OSError(code, "no space")


def test_other_refusals_are_named(tmp_path):
    with pytest.raises(InputError, match="Permission denied"), writing(tmp_path):
        raise OSError(errno.EACCES, "no")


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="folder of the output does not exist"):
        PendingOutput(tmp_path / "none" / "v.zarr")


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_that_is_no_store_is_never_removed(tmp_path, overwrite):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(OutputExistsError):
        PendingOutput(tmp_path / "home", overwrite=overwrite)
    assert (tmp_path / "home" / "letter").read_text() == "dear"


def test_refused_output_is_not_left_locked(tmp_path):
    (tmp_path / "v.mrc").touch()
    for _ in range(2):
        with pytest.raises(OutputExistsError, match="output exists"):
            PendingOutput(tmp_path / "v.mrc")
    assert [path.name for path in tmp_path.iterdir()] == ["v.mrc"]


def test_lock_of_the_caller_is_used_and_kept(tmp_path):
    lock = lock_output(tmp_path / "v.mrc")
    output = PendingOutput(tmp_path / "v.mrc", lock=lock)
    output.discard()
    with pytest.raises(OutputExistsError, match="another run"):
        lock_output(tmp_path / "v.mrc")
    release_output(lock)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_replacement_is_undone(tmp_path):
    (tmp_path / "v.mrc.old").write_text("old")
    with pytest.raises(OutputExistsError):
        PendingOutput(tmp_path / "v.mrc")
    assert (tmp_path / "v.mrc").read_text() == "old"


def test_interrupted_clean_up_is_finished(tmp_path):
    (tmp_path / "v.mrc.old").write_text("old")
    (tmp_path / "v.mrc").write_text("new")
    PendingOutput(tmp_path / "v.mrc", overwrite=True).discard()
    assert (tmp_path / "v.mrc").read_text() == "new"
    assert not (tmp_path / "v.mrc.old").exists()


def test_output_among_the_inputs_is_refused(tmp_path):
    (tmp_path / "a.mrc").touch()
    refuse_same(tmp_path / "b.mrc", tmp_path / "a.mrc")
    with pytest.raises(OutputExistsError, match="also an input"):
        refuse_same(tmp_path / "." / "a.mrc", tmp_path / "b.mrc", tmp_path / "a.mrc")


def test_provenance_becomes_plain_json(tmp_path):
    assert plain_json({"path": tmp_path, "shape": (1, 2)}) == {"path": str(tmp_path), "shape": [1, 2]}


def test_a_folder_that_takes_no_files_is_no_other_run(tmp_path, monkeypatch):
    def never(*_, **__):
        raise Timeout("lock")

    monkeypatch.setattr("filelock.FileLock.acquire", never)
    with pytest.raises(InputError, match="its folder takes no files"):
        lock_output(tmp_path / "v.zarr")
    (tmp_path / "v.zarr.lock").touch()
    with pytest.raises(OutputExistsError, match="another run"):
        lock_output(tmp_path / "v.zarr")
