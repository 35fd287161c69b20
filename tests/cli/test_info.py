import json

import numpy as np
import pytest

from wedge.geometry import TiltGeometry
from wedge.store import create_tilts, create_volume


@pytest.fixture
def tilts(tmp_path):
    geometry = TiltGeometry((-30.0, 0.0, 45.5), (6, 5), (4, 6, 5), 3.3)
    with create_tilts(tmp_path / "t.zarr", geometry, simulated=True) as writer:
        writer.write_rows(0, np.arange(90).reshape(6, 3, 5))
        writer.commit({"command": ["wedge", "simulate-spheres"], "seconds": 2.5, "seed": 4, "versions": {"wedge": "0.1.0"}})
    return tmp_path / "t.zarr"


def test_tilt_series_is_told(wedge, tilts):
    told = wedge("info", tilts)
    assert told.code == 0
    lines = {line.split("  ")[0]: " ".join(line.split("  ")[1:]).strip() for line in told.out.splitlines()}
    assert lines["kind"] == "tilt series, simulated"
    assert lines["shape"] == "3 x 6 x 5 (tilt, y, x), float32"
    assert lines["pixel size"] == "3.3 angstrom"
    assert lines["tilt angles"] == "3 from -30 to 45.5 degrees"
    assert lines["volume"] == "4 x 6 x 5 (z, y, x)"
    assert lines["complete"] == "yes"
    assert lines["made by"] == "wedge simulate-spheres"
    assert "2.5 s, seed 4, wedge 0.1.0" in told.out


def test_json_holds_all_of_it(wedge, tilts):
    found = json.loads(wedge("info", tilts, "--json", "--stats").out)
    assert found["kind"] == "tilts"
    assert found["tilt_angles_deg"] == [-30, 0, 45.5]
    assert found["voxel_size_angstrom"] == 3.3
    assert found["provenance"]["seed"] == 4
    assert found["complete"] is True
    values = np.arange(90)
    expected = {"min": 0, "max": 89, "mean": values.mean(), "std": values.std(), "num_not_finite": 0}
    assert found["statistics"] == pytest.approx(expected)


def test_volume_is_told_whether_or_not_its_voxel_size_is_known(wedge, tmp_path):
    with create_volume(tmp_path / "v.zarr", (4, 6, 5)) as writer:
        writer.write_rows(0, np.zeros((6, 4, 5)))
        writer.commit({})
    told = wedge("info", tmp_path / "v.zarr").out
    assert "voxel size  unknown" in told
    assert "4 x 6 x 5 (z, y, x), float32" in told


def test_foreign_stack_is_told_with_the_angles_beside_it(wedge, example_data):
    needle = example_data / "needle" / "needle_bin4.mrc"
    found = json.loads(wedge("info", needle, "--json").out)
    assert (found["kind"], found["shape"], found["dtype"], found["num_tilts"]) == ("tilts", [77, 64, 64], "uint16", 77)
    assert found["angles_file"] == str(needle.with_suffix(".rawtlt"))
    assert "from -76 to 76 degrees" in wedge("info", needle).out


def test_doubt_about_a_foreign_file_is_told(wedge, example_data):
    told = wedge("info", example_data / "densities" / "ribosome_4v4r_5A.mrc").out
    assert "an MRC header does not say whether this is a volume" in told
    assert "voxel size  5 angstrom" in told


def test_values_that_are_not_finite_are_counted(wedge, tmp_path):
    import mrcfile

    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.ones((2, 3, 4), np.float32))
        file.data[1, 1, 1] = np.nan
        file.header.nlabl = 1
    assert ", 1 NaN or infinite" in wedge("info", tmp_path / "a.mrc", "--stats").out


def test_damaged_or_missing_input_is_one_line(wedge, tmp_path):
    told = wedge("info", tmp_path / "none.zarr")
    assert (told.code, told.out) == (3, "")
    assert "no such store" in told.error


def test_damaged_values_are_one_line(wedge, tmp_path):
    with create_volume(tmp_path / "v.zarr", (4, 6, 5)) as writer:
        writer.write_rows(0, np.ones((6, 4, 5)))
        writer.commit({})
    next(path for path in (tmp_path / "v.zarr" / "0" / "c").rglob("*") if path.is_file()).write_bytes(b"junk")
    told = wedge("info", tmp_path / "v.zarr", "--stats")
    assert told.code == 3
    assert "the file is damaged" in told.error
