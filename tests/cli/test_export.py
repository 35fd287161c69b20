import json

import mrcfile
import numpy as np
import pytest

from wedge.formats import open_tilts, open_volume
from wedge.store import create_volume

SHAPE = (4, 6, 5)


@pytest.fixture
def volume(tmp_path):
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    with create_volume(tmp_path / "v.zarr", SHAPE, voxel_size_angstrom=13.4, tilt_angles_deg=(-60, 0, 60)) as writer:
        writer.write_rows(0, data.transpose(1, 0, 2))
        writer.commit({"command": ["wedge", "fbp"], "seed": 4})
    return tmp_path / "v.zarr", data


@pytest.mark.parametrize("suffix", ["mrc", "rec"])
def test_volume_becomes_a_valid_mrc_file_with_its_voxel_size(wedge, volume, tmp_path, suffix):
    source, data = volume
    done = wedge("export", source, "-o", tmp_path / f"v.{suffix}", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"output": str(tmp_path / f"v.{suffix}"), "shape": [4, 6, 5], "voxel_size_angstrom": 13.4}
    assert mrcfile.validate(tmp_path / f"v.{suffix}")
    with mrcfile.open(tmp_path / f"v.{suffix}") as file:
        assert np.array_equal(file.data, data)
        assert float(file.voxel_size.x) == pytest.approx(13.4)


def test_record_lies_beside_it_and_holds_that_of_the_source(wedge, volume, tmp_path):
    wedge("export", volume[0], "-o", tmp_path / "v.mrc")
    record = json.loads((tmp_path / "v.mrc.json").read_text())["wedge"]["provenance"]
    assert record["inputs"][0]["path"] == str(volume[0])
    assert record["source"] == {"command": ["wedge", "fbp"], "seed": 4}


def test_voxel_size_option_decides(wedge, volume, tmp_path):
    wedge("export", volume[0], "-o", tmp_path / "v.mrc", "--voxel-size", 2)
    assert open_volume(tmp_path / "v.mrc").voxel_size_angstrom == 2


def test_there_and_back_changes_nothing(wedge, volume, tmp_path):
    source, data = volume
    wedge("export", source, "-o", tmp_path / "v.mrc")
    assert wedge("export", tmp_path / "v.mrc", "-o", tmp_path / "w.zarr").code == 0
    back = open_volume(tmp_path / "w.zarr")
    assert np.array_equal(back.array[:, :, :], data)
    assert (back.voxel_size_angstrom, back.tilt_angles_deg) == (13.4, (-60, 0, 60))


def test_tilt_series_are_exported_too(wedge, example_data, tmp_path):
    needle = example_data / "needle" / "needle_bin4.mrc"
    assert wedge("export", needle, "-o", tmp_path / "t.st", "--tilt-range", -60, 60).code == 0
    tilts = open_tilts(tmp_path / "t.st")
    assert tilts.geometry.tilt_angles_deg == tuple(range(-60, 61, 2))
    with mrcfile.open(needle) as file:
        assert np.array_equal(tilts.array[:], file.data[8:-8])


def test_suffix_for_the_other_kind_is_refused(wedge, volume, tmp_path):
    done = wedge("export", volume[0], "-o", tmp_path / "v.st")
    assert (done.code, "is for a tilt series" in done.error) == (2, True)


def test_existing_output_is_refused_unless_told(wedge, volume, tmp_path):
    (tmp_path / "v.mrc").write_text("mine")
    assert wedge("export", volume[0], "-o", tmp_path / "v.mrc").code == 5
    assert (tmp_path / "v.mrc").read_text() == "mine"
    assert wedge("export", volume[0], "-o", tmp_path / "v.mrc", "--overwrite").code == 0
