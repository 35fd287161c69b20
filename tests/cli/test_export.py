import json
import shutil

import mrcfile
import numpy as np
import pytest
import zarr

from wedge.errors import InputError
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


def test_bytes_tell_their_scale_and_come_back(wedge, volume, tmp_path):
    source, data = volume
    done = wedge("export", source, "-o", tmp_path / "v.mrc", "--mode", "int8", "--json")
    told = json.loads(done.out)["values"]
    assert f"density = value * {told['scale']:.6g}" in done.err
    assert np.abs(np.asarray(open_volume(tmp_path / "v.mrc").array[:]) - data).max() <= told["scale"] * 0.501
    assert "stored as" in wedge("info", tmp_path / "v.mrc").out
    assert wedge("export", tmp_path / "v.mrc", "-o", tmp_path / "w.mrc").code == 0
    assert np.array_equal(open_volume(tmp_path / "w.mrc").array[:], open_volume(tmp_path / "v.mrc").array[:])


def test_order_of_imod_goes_out_and_comes_in(wedge, volume, tmp_path):
    source, data = volume
    assert wedge("export", source, "-o", tmp_path / "v.rec", "--axes", "imod", "--mode", "float16").code == 0
    assert "order of IMOD's tilt" in wedge("info", tmp_path / "v.rec").out
    with mrcfile.open(tmp_path / "v.rec") as file:
        assert np.array_equal(file.data, data.transpose(1, 0, 2)[:, ::-1].astype(np.float16))
    (tmp_path / "v.rec.json").unlink()
    assert wedge("export", tmp_path / "v.rec", "-o", tmp_path / "w.zarr", "--from-axes", "imod").code == 0
    assert np.array_equal(open_volume(tmp_path / "w.zarr").array[:], data.astype(np.float16))
    done = wedge("export", source, "-o", tmp_path / "x.zarr", "--from-axes", "imod")
    assert (done.code, "leave --from-axes out" in done.error) == (2, True)


def test_ome_zarr_of_the_older_version_is_a_store_of_wedge(wedge, volume, tmp_path):
    source, data = volume
    path = tmp_path / "v.zarr4.zarr"
    assert wedge("export", source, "-o", path, "--ome-zarr", "0.4").code == 0
    assert zarr.open_group(str(path), mode="r").metadata.zarr_format == 2
    assert "wedge fbp" in json.dumps(json.loads(wedge("info", path, "--json").out)["provenance"]["source"]["command"]).replace('", "', " ")
    assert wedge("export", path, "-o", tmp_path / "w.mrc").code == 0
    assert np.array_equal(open_volume(tmp_path / "w.mrc").array[:], data)
    found = json.loads(wedge("evaluate", path, "--reference", source, "--metric", "psnr", "--json").out)
    assert found["volumes"][0]["values"]["psnr"] == 140
    assert wedge("export", source, "-o", path).code == 5
    assert wedge("export", source, "-o", path, "--overwrite").code == 0
    assert zarr.open_group(str(path), mode="r").metadata.zarr_format == 3
    assert wedge("export", source, "-o", tmp_path / "v.zarr" / "inside.zarr").code == 3


def test_unfinished_store_of_the_older_version_is_incomplete(tmp_path):
    with create_volume(tmp_path / "v4.zarr", SHAPE, ome_zarr="0.4") as writer:
        writer.write_rows(0, np.ones((6, 4, 5)))
        shutil.copytree(tmp_path / "v4.zarr.partial", tmp_path / "killed.zarr")
        with pytest.raises(InputError, match="incomplete store"):
            open_volume(tmp_path / "killed.zarr")
        writer.commit({})
    next(file for file in (tmp_path / "v4.zarr" / "0").rglob("*") if file.name.isdigit() and file.is_file()).unlink()
    with pytest.raises(InputError, match="1 of 1 chunks are missing"):
        open_volume(tmp_path / "v4.zarr")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["v.mrc", "--mode", "int16"], "expected float32 or float16 or int8"),
        (["v.mrc", "--axes", "xyz"], "expected zyx or imod"),
        (["v.zarr2.zarr", "--mode", "int8"], "--mode is for MRC files"),
        (["v.zarr2.zarr", "--axes", "imod"], "--axes is for MRC files"),
        (["v.zarr2.zarr", "--ome-zarr", "0.3"], "expected 0.5 or 0.4"),
        (["v.mrc", "--ome-zarr", "0.4"], "--ome-zarr is for .zarr volumes"),
    ],
)
def test_options_of_another_format_are_refused(wedge, volume, tmp_path, words, message):
    done = wedge("export", volume[0], "-o", tmp_path / words[0], *words[1:])
    assert (done.code, message in done.error) == (2, True), done.err


def test_tilt_series_have_no_axes_to_turn(wedge, example_data, tmp_path):
    done = wedge("export", example_data / "needle" / "needle_bin4.mrc", "-o", tmp_path / "t.mrc", "--axes", "imod")
    assert (done.code, "is for volumes" in done.error) == (2, True)
