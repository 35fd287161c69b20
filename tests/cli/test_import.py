import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from wedge.slabs import read_sinograms
from wedge.store import open_tilts


@pytest.fixture
def needle(example_data):
    return example_data / "needle" / "needle_bin4.mrc"


def test_stack_becomes_a_store_with_all_that_is_known(wedge, needle, tmp_path):
    done = wedge("import", needle, "-o", tmp_path / "t.zarr", "--thickness", 20)
    assert (done.code, done.out) == (0, f"{tmp_path / 't.zarr'}\n")
    assert f"tilt angles from {needle.with_suffix('.rawtlt')}" in done.err
    tilts = open_tilts(tmp_path / "t.zarr")
    assert tilts.geometry.tilt_angles_deg == tuple(range(-76, 77, 2))
    assert tilts.geometry.pixel_size_angstrom == 134.4
    assert tilts.geometry.volume_shape == (20, 64, 64)
    assert not tilts.simulated
    import mrcfile

    with mrcfile.open(needle) as file:
        assert np.array_equal(read_sinograms(tilts, 0, 64), file.data.transpose(1, 0, 2))


def test_record_says_how_it_was_made(wedge, needle, tmp_path):
    wedge("import", needle, "-o", tmp_path / "t.zarr", "--tilt-range", -60, 60)
    record = open_tilts(tmp_path / "t.zarr").provenance
    assert [entry["path"] for entry in record["inputs"]] == [str(needle), str(needle.with_suffix(".rawtlt"))]
    assert record["config"]["tilt_range"] == [-60, 60]
    assert record["config"]["thickness"] == 64
    assert record["versions"]["wedge"]


def test_json_tells_the_result_on_stdout_alone(wedge, needle, tmp_path):
    done = wedge("import", needle, "-o", tmp_path / "t.zarr", "--json", "--voxel-size", 100, "--exclude-views", "0,74-76")
    assert json.loads(done.out) == {
        "output": str(tmp_path / "t.zarr"),
        "num_tilts": 73,
        "tilt_range_deg": [-74, 70],
        "detector_shape": [64, 64],
        "volume_shape": [64, 64, 64],
        "pixel_size_angstrom": 100,
        "alignment": None,
    }
    assert "thickness 64 voxels, the width of the detector" in done.err


def test_angles_option_comes_before_the_list_beside(wedge, needle, tmp_path):
    (tmp_path / "other.tlt").write_text("\n".join(str(angle) for angle in range(77)))
    assert wedge("import", needle, "-o", tmp_path / "t.zarr", "--angles", tmp_path / "other.tlt").code == 0
    assert open_tilts(tmp_path / "t.zarr").geometry.tilt_angles_deg == tuple(range(77))


def test_store_can_be_imported_again_and_remembers_its_source(wedge, needle, tmp_path):
    wedge("import", needle, "-o", tmp_path / "a.zarr", "--thickness", 20)
    done = wedge("import", tmp_path / "a.zarr", "-o", tmp_path / "b.st", "--tilt-range", -10, 10)
    assert (done.code, "thickness 20 voxels, as" in done.err) == (0, True)
    assert wedge("import", tmp_path / "b.st", "-o", tmp_path / "c.zarr").code == 0
    tilts = open_tilts(tmp_path / "c.zarr")
    assert tilts.geometry.tilt_angles_deg == tuple(range(-10, 11, 2))
    assert tilts.geometry.volume_shape == (20, 64, 64)
    assert str(needle) in json.dumps(tilts.provenance["source"]["source"])


def test_overwrite_replaces(wedge, needle, tmp_path):
    wedge("import", needle, "-o", tmp_path / "t.zarr")
    assert wedge("import", needle, "-o", tmp_path / "t.zarr").code == 5
    assert wedge("import", needle, "-o", tmp_path / "t.zarr", "--tilt-range", 0, 0, "--overwrite").code == 0
    assert open_tilts(tmp_path / "t.zarr").geometry.num_tilts == 1


def test_stack_is_not_written_over_itself(wedge, needle, tmp_path):
    stack = tmp_path / "a.mrc"
    stack.write_bytes(needle.read_bytes())
    stack.with_suffix(".tlt").write_text(needle.with_suffix(".rawtlt").read_text())
    done = wedge("import", stack, "-o", stack, "--overwrite")
    assert (done.code, "also an input" in done.error) == (5, True)
    assert stack.read_bytes() == needle.read_bytes()


def test_sigterm_leaves_nothing(needle, tmp_path):
    code = (
        "import sys, time, wedge.convert as convert\n"
        "def wait(*_, **__):\n    print('waiting', flush=True)\n    time.sleep(60)\n"
        "convert.copy_tilts = wait\n"
        "from wedge.cli import main\nmain()"
    )
    command = [sys.executable, "-c", code, "import", str(needle), "-o", str(tmp_path / "t.zarr")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert err.splitlines()[-1].startswith(b"wedge: error: ")
    assert list(tmp_path.iterdir()) == []


def test_full_needle_is_imported(wedge, shared_data, tmp_path):
    done = wedge("import", shared_data / "needle" / "needle.mrc", "-o", tmp_path / "t.zarr")
    assert done.code == 0
    tilts = open_tilts(tmp_path / "t.zarr")
    assert (tilts.array.shape, tilts.geometry.pixel_size_angstrom) == ((77, 256, 256), 33.6)
    assert tilts.geometry.tilt_angles_deg == tuple(range(-76, 77, 2))
