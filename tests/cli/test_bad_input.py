"""Bad files, each given to every command that reads such a file: one clear line, exit code 3, and nothing left behind."""

import errno
import json
import os
import signal
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from wedge.geometry import TiltGeometry
from wedge.store import create_tilts, create_volume

ANGLES = (-40.0, -20.0, 0.0, 20.0, 40.0)
TILT_COMMANDS = ("import", "fbp", "reconstruct")
VOLUME_COMMANDS = ("export", "average", "evaluate")

KILLED_IMPORT = """
import sys, time, wedge.convert as convert
copy = convert.copy_tilts
def stop(rows):
    print("half", flush=True)
    time.sleep(60)
convert.copy_tilts = lambda tilts, writer, on_progress: copy(tilts, writer, on_progress=stop)
from wedge.cli import main
main()
"""


def make_volume(path):
    with create_volume(path, (4, 6, 5)) as writer:
        writer.write_rows(0, np.ones((6, 4, 5)))
        writer.commit({})
    return path


def make_tilts(path):
    with create_tilts(path, TiltGeometry(ANGLES, (6, 5), (4, 6, 5))) as writer:
        writer.write_rows(0, np.ones((6, 5, 5)))
        writer.commit({})
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder with a good stack, ``stack.mrc`` with its angles, a good volume and room for outputs."""
    (tmp_path / "out").mkdir()
    make_volume(tmp_path / "good.zarr")
    data = np.random.default_rng(0).normal(size=(5, 40, 12)).astype(np.float32)
    with mrcfile.new(tmp_path / "stack.mrc") as file:
        file.set_data(data)
        file.voxel_size = 3
    (tmp_path / "stack.rawtlt").write_text("\n".join(map(str, ANGLES)))
    return tmp_path


@pytest.fixture
def refused(wedge, folder):
    """Run a command on a bad input, and check all that is the same for all of them."""

    def call(command, path, *options, code=3):
        output = () if command == "evaluate" else ("-o", folder / "out" / "result.zarr")
        more = (folder / "good.zarr",) if command == "average" else ("--reference", path) if command == "evaluate" else ()
        before = sorted(folder.rglob("*"))
        told = wedge(command, path, *more, *output, *options)
        assert told.code == code, told
        assert told.out == ""
        assert sorted(folder.rglob("*")) == before
        return told.error

    return call


@pytest.mark.parametrize("suffix", ["mrc", "zarr"])
@pytest.mark.parametrize("command", TILT_COMMANDS + VOLUME_COMMANDS)
def test_missing_file(refused, folder, command, suffix):
    told = refused(command, folder / f"none.{suffix}")
    assert f"none.{suffix}" in told
    assert "check the path" in told


@pytest.mark.parametrize("command", TILT_COMMANDS + VOLUME_COMMANDS)
def test_truncated_mrc(refused, folder, command):
    stack = folder / "stack.mrc"
    stack.write_bytes(stack.read_bytes()[:-100])
    if command in VOLUME_COMMANDS:
        stack.with_suffix(".rawtlt").unlink()
    assert refused(command, stack).startswith(f"truncated MRC file: {stack} holds 10524 of 10624 bytes")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("command", TILT_COMMANDS + VOLUME_COMMANDS)
def test_mrc_with_nan(refused, folder, command, value):
    stack, section = folder / "stack.mrc", "view"
    content = bytearray(stack.read_bytes())
    start = 1024 + 2 * 40 * 12 * 4
    content[start : start + 4] = np.float32(value).tobytes()
    stack.write_bytes(content)
    if command in VOLUME_COMMANDS:
        stack.with_suffix(".rawtlt").unlink()
        section = "section"
    assert refused(command, stack).startswith(f"{section} 2 of {stack} has 1 values that are NaN or infinite")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\n3\n", "3 tilt angles in"),
        ("1\n2\n3\n4\n5\n6\n", "6 tilt angles in"),
        ("1\n2\nthree\n4\n5\n", "line 3 of"),
        ("", "no tilt angles in"),
        ("1\n2\nnan\n4\n5\n", "line 3 of"),
        ("1\n2\ninf\n4\n5\n", "line 3 of"),
        ("7\n7\n7\n7\n7\n", "all 5 tilt angles in"),
    ],
)
@pytest.mark.parametrize("how", ["beside", "option"])
@pytest.mark.parametrize("command", TILT_COMMANDS)
def test_bad_angles(refused, folder, command, how, text, message):
    angles = folder / ("stack.rawtlt" if how == "beside" else "other.tlt")
    angles.write_text(text)
    told = refused(command, folder / "stack.mrc", *(() if how == "beside" else ("--angles", angles)))
    assert told.startswith(message)
    assert str(angles) in told


@pytest.mark.parametrize("command", TILT_COMMANDS)
def test_missing_angle_list(refused, folder, command):
    assert "none.tlt" in refused(command, folder / "stack.mrc", "--angles", folder / "none.tlt")
    (folder / "stack.rawtlt").unlink()
    assert refused(command, folder / "stack.mrc").startswith("no tilt angles for")


@pytest.mark.parametrize("command", TILT_COMMANDS)
def test_volume_for_a_tilt_series(refused, wedge, folder, command):
    volume = make_volume(folder / "v.zarr")
    assert refused(command, volume).startswith(f"is a volume, expected a tilt series: {volume}")
    assert wedge("export", volume, "-o", folder / "v.mrc").code == 0
    assert refused(command, folder / "v.mrc").startswith("is a volume, expected a tilt series: ")


@pytest.mark.parametrize("command", ["average", "evaluate"])
def test_tilt_series_for_a_volume(refused, folder, command):
    tilts = make_tilts(folder / "t.zarr")
    assert refused(command, tilts).startswith(f"is a tilt series, expected a volume: {tilts}")
    assert refused(command, folder / "stack.mrc").startswith("is a tilt series, expected a volume: ")


def kill_an_import(folder):
    command = [sys.executable, "-c", KILLED_IMPORT, "import", str(folder / "stack.mrc"), "-o", str(folder / "killed.zarr")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_write(refused, wedge, folder):
    kill_an_import(folder)
    for command in (*TILT_COMMANDS, "export"):
        assert "did not finish" in refused(command, folder / "killed.zarr")
        assert refused(command, folder / "killed.zarr.partial").startswith("incomplete store")
    (folder / "killed.zarr.partial").rename(folder / "renamed.zarr")
    for command in (*TILT_COMMANDS, "export"):
        assert refused(command, folder / "renamed.zarr").startswith("incomplete store")
    assert wedge("info", folder / "renamed.zarr").error.startswith("incomplete store")


def test_killed_write_does_not_hinder_the_next(wedge, folder):
    kill_an_import(folder)
    assert wedge("import", folder / "stack.mrc", "-o", folder / "killed.zarr").code == 0
    assert not list(folder.glob("*.partial")) + list(folder.glob("*.lock"))


@pytest.mark.parametrize("command", [*TILT_COMMANDS, "export"])
def test_existing_output(refused, folder, command):
    make_volume(folder / "out" / "result.zarr")
    source = make_volume(folder / "v.zarr") if command == "export" else folder / "stack.mrc"
    assert refused(command, source, code=5).startswith("output exists: ")


@pytest.mark.parametrize("command", ["import", "fbp", "export"])
def test_missing_folder_of_the_output(wedge, folder, command):
    source = make_volume(folder / "v.zarr") if command == "export" else folder / "stack.mrc"
    told = wedge(command, source, "-o", folder / "none" / "v.zarr")
    assert told.code == 3
    assert told.error.startswith("folder of the output does not exist: ")


@pytest.mark.parametrize("command", ["import", "fbp", "average", "export"])
def test_full_disk(refused, folder, command, monkeypatch):
    source = folder / "stack.mrc" if command in TILT_COMMANDS else make_volume(folder / "v.zarr")

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("wedge.store._ZarrSink.write_rows", no_space)
    assert refused(command, source).startswith(f"disk is full: cannot write {folder / 'out' / 'result.zarr'}")


@pytest.mark.parametrize("command", TILT_COMMANDS)
@pytest.mark.parametrize("change", [{"geometry": None}, {"geometry": "x"}, {"provenance": [1]}, {"geometry": {"volume_shape": [1]}}])
def test_damaged_record_of_a_store(refused, folder, command, change):
    path = make_tilts(folder / "t.zarr") / "zarr.json"
    metadata = json.loads(path.read_text())
    wedge = metadata["attributes"]["wedge"]
    for key, value in change.items():
        wedge[key] = wedge[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(metadata))
    assert refused(command, folder / "t.zarr")


@pytest.mark.parametrize("command", [*TILT_COMMANDS, "export"])
def test_pipe_is_not_waited_for(refused, folder, command):
    os.mkfifo(folder / "pipe.mrc")
    assert refused(command, folder / "pipe.mrc").startswith(f"cannot read {folder / 'pipe.mrc'}: a pipe")


@pytest.mark.parametrize("command", [*TILT_COMMANDS, "export"])
def test_unreadable_file(refused, folder, command, monkeypatch):
    stack = folder / "stack.mrc"
    monkeypatch.setattr(os, "access", lambda path, mode, **_: os.fspath(path) != str(stack))
    assert refused(command, stack).endswith("is not readable; check its permissions")


@pytest.mark.parametrize("command", ["fbp", "import", "export"])
def test_output_inside_a_store(refused, folder, command):
    source = make_volume(folder / "v.zarr") if command == "export" else make_tilts(folder / "t.zarr")
    told = refused(command, source, "-o", folder / "good.zarr" / "x.zarr")
    assert told.startswith(f"output lies inside the store {folder / 'good.zarr'}")
