"""``wedge preprocess`` stopped on its way: nothing half-written, and memory that one view needs, however many there are."""

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.geometry import TiltGeometry

WAITING = (
    "import time, wedge.preprocess.steps as steps\n"
    "original = steps.taper_edges\n"
    "def wait(*given):\n    original(*given)\n    print('waiting', flush=True)\n    time.sleep(60)\n"
    "steps.taper_edges = wait\n"
    "from wedge.cli import main\nmain()"
)


def write(path: Path, num_views: int = 9, size: int = 40) -> Path:
    views = 100 + np.random.default_rng(0).normal(size=(size, num_views, size)).astype(np.float32)
    angles = tuple(np.linspace(-60, 60, num_views))
    geometry = TiltGeometry(angles, (size, size), (8, size, size), 4.0, dose_e_per_square_angstrom=tuple(range(num_views)))
    with store.create_tilts(path, geometry) as writer:
        writer.write_rows(0, views)
        writer.commit({})
    return path


@pytest.mark.parametrize(
    ("number", "code", "output"),
    [(signal.SIGTERM, 143, "out.zarr"), (signal.SIGINT, 130, "out.mrc"), (signal.SIGKILL, -9, "out.zarr"), (signal.SIGKILL, -9, "out.mrc")],
)
def test_a_signal_leaves_no_series_and_the_next_run_clears_up(
    wedge, tmp_path: Path, number: signal.Signals, code: int, output: str
) -> None:
    write(tmp_path / "tilts.zarr")
    words = ["preprocess", str(tmp_path / "tilts.zarr"), "-o", str(tmp_path / output), "--hot-pixels", "--taper", "4"]
    process = subprocess.Popen([sys.executable, "-c", WAITING, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in told
    assert not (tmp_path / output).exists()
    if number != signal.SIGKILL:
        assert os.listdir(tmp_path) == ["tilts.zarr"]
    assert wedge(*words).code == 0
    assert {name for name in os.listdir(tmp_path) if not name.endswith(".json")} == {"tilts.zarr", output}


@pytest.mark.parametrize("place", ["copy", "rows", "beginning"])
def test_a_full_disk_is_a_line_and_leaves_nothing(wedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    write(tmp_path / "tilts.zarr")

    def full(*given, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "copy":
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    elif place == "rows":
        monkeypatch.setattr("wedge.store.write_rows", full)
    else:
        monkeypatch.setattr("tempfile.TemporaryFile", full)
    done = wedge("preprocess", tmp_path / "tilts.zarr", "-o", tmp_path / "out.zarr", "--taper", "4")
    assert (done.code, "disk is full" in done.error) == (3, True), done.err
    assert os.listdir(tmp_path) == ["tilts.zarr"]


def test_memory_does_not_grow_with_the_number_of_views(wedge, tmp_path: Path) -> None:
    steps = ["--hot-pixels", "--gold", "mask", "--gold-diameter-pixels", "8", "--normalize", "deviation", "--dose-weight", "--taper", "4"]
    peaks = []
    for num_views in (6, 6, 54):  # the first run imports what there is to import
        source = write(tmp_path / f"tilts{len(peaks)}.zarr", num_views, 128)
        tracemalloc.start()
        done = wedge("preprocess", source, "-o", tmp_path / f"out{len(peaks)}.zarr", *steps)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert done.code == 0, done.err
    view = 4 * 128 * 128
    # 48 more views: not one of them stays, nor a mask of each.
    assert peaks[2] - peaks[1] < 8 * view
