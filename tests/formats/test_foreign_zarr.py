"""OME-Zarr volumes of other programs, which say nothing of wedge."""

import json
import sys
import types
import warnings

import numpy as np
import pytest
import zarr

from wedge import formats
from wedge.errors import InputError
from wedge.slabs import read_slices

SHAPE = (7, 20, 13)
FORMATS = {"0.4": 2, "0.5": 3}


def axes_of(names, unit):
    types = {"t": "time", "c": "channel"}
    return [{"name": name, "type": types.get(name, "space")} | ({"unit": unit} if unit and name in "zyx" else {}) for name in names]


def make(
    path, data, version="0.5", names="zyx", unit="nanometer", scale=1.34, chunks=(4, 8, 13), transformations=None, level="0", **attributes
):
    group = zarr.create_group(str(path), zarr_format=FORMATS[version])
    group.create_array(level, shape=data.shape, chunks=(1,) * (data.ndim - 3) + chunks, dtype=data.dtype)[...] = data
    if transformations is None:
        transformations = [{"type": "scale", "scale": [1.0 if name in "tc" else scale for name in names]}]
    multiscale = {
        "name": "x",
        "axes": axes_of(names, unit),
        "datasets": [{"path": level, "coordinateTransformations": transformations}],
        **attributes,
    }
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": "0.4", **multiscale}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}
    return path


def values(dtype=np.float32, shape=SHAPE):
    return np.random.default_rng(3).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("names", ["zyx", "czyx", "tczyx"])
def test_volume_is_read_with_axes_of_length_one(tmp_path, version, names):
    data = values()
    path = make(tmp_path / "v.zarr", data.reshape((1,) * (len(names) - 3) + SHAPE), version, names)
    volume = formats.open_volume(path)
    assert volume.voxel_size_angstrom == 13.4
    assert volume.array.shape == SHAPE
    assert np.array_equal(volume.array[:], data)
    assert np.array_equal(volume.array[-1, 3:5], data[-1, 3:5])
    assert np.array_equal(volume.array[..., 4], data[..., 4])
    assert np.array_equal(read_slices(volume, 5, 9), data[:, 5:9].transpose(1, 0, 2))
    assert formats.kind_of(path) == "volume"


def test_spatial_axes_in_another_order_are_put_in_order(tmp_path):
    data = values()
    volume = formats.open_volume(make(tmp_path / "v.zarr", data.transpose(2, 0, 1), names="xzy", chunks=(5, 4, 8)))
    assert np.array_equal(volume.array[:], data)
    assert np.array_equal(volume.array[2, :, 3:], data[2, :, 3:])


@pytest.mark.parametrize("dtype", ["int8", "uint8", ">i2", "uint16", "int32", "uint64", "float16", ">f4", "float64"])
def test_every_real_type_is_read(tmp_path, dtype):
    data = values(dtype)
    assert np.array_equal(
        read_slices(formats.open_volume(make(tmp_path / "v.zarr", data)), 0, 20), data.transpose(1, 0, 2).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("unit", "scale", "angstrom"), [("angstrom", 13.4, 13.4), ("nanometer", 0.55, 5.5), ("micrometer", 0.00108, 10.8), (None, 1.0, None)]
)
def test_voxel_size_is_that_of_scale_and_unit(tmp_path, unit, scale, angstrom):
    notes = []
    volume = formats.open_volume(make(tmp_path / "v.zarr", values(), unit=unit, scale=scale), on_note=notes.append)
    assert volume.voxel_size_angstrom == angstrom
    assert bool(notes) == (angstrom is None)


def test_scale_of_the_whole_image_counts_too(tmp_path):
    whole = [{"type": "scale", "scale": [2.0, 2.0, 2.0]}]
    assert formats.open_volume(make(tmp_path / "v.zarr", values(), coordinateTransformations=whole)).voxel_size_angstrom == 26.8


def test_chunks_that_are_not_there_are_the_fill_value(tmp_path):
    group = zarr.create_group(str(tmp_path / "v.zarr"))
    group.create_array("0", shape=SHAPE, chunks=(4, 8, 13), dtype="uint8", fill_value=3)
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes_of("zyx", None), "datasets": [{"path": "0"}]}]}
    assert (formats.open_volume(tmp_path / "v.zarr").array[:] == 3).all()


def refused(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        formats.open_volume(path, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_single_volume_is_refused(tmp_path):
    refused(make(tmp_path / "t.zarr", values(shape=(3, *SHAPE)), names="tzyx"), "3 along t")
    refused(make(tmp_path / "c.zarr", values(shape=(1, 2, *SHAPE)), names="tczyx"), "2 along c")
    refused(make(tmp_path / "yx.zarr", values(), names="cyx"), "expected z, y and x")
    refused(make(tmp_path / "zz.zarr", values(), names="zzx"), "expected z, y and x")
    refused(make(tmp_path / "n.zarr", values(), names="czyx"), "3 axes in array '0', 4 in the metadata")


def test_what_makes_no_sense_of_lengths_is_refused_unless_told(tmp_path):
    slabs = [{"type": "scale", "scale": [3.0, 1.0, 1.0]}]
    path = make(tmp_path / "v.zarr", values(), transformations=slabs)
    refused(path, "voxels are no cubes: .* 30 x 10 x 10 angstrom")
    assert formats.open_volume(path, voxel_size_angstrom=5).voxel_size_angstrom == 5
    refused(make(tmp_path / "u.zarr", values(), unit="parsec"), "unit 'parsec'")
    assert formats.open_volume(tmp_path / "u.zarr", voxel_size_angstrom=5).voxel_size_angstrom == 5
    refused(make(tmp_path / "s.zarr", values(), scale=-1.0), "expected 3 positive numbers")
    refused(make(tmp_path / "r.zarr", values(), transformations=[{"type": "affine"}]), "neither a scale nor a translation")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    data = values()
    data[5, 17, 2] = value
    refused(make(tmp_path / "v.zarr", data), r"1 values of the chunk at \(4, 16, 0\) of .*v\.zarr are NaN")


def test_other_types_versions_and_layouts_are_refused(tmp_path):
    refused(make(tmp_path / "c.zarr", values("complex64")), "values of type complex64")
    path = make(tmp_path / "v.zarr", values())
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["ome"]["version"] = "0.9"
    (path / "zarr.json").write_text(json.dumps(metadata))
    refused(path, "OME-Zarr version 0.9")
    metadata["attributes"]["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    (path / "zarr.json").write_text(json.dumps(metadata))
    refused(path, r"collection of images, .* such as .*v\.zarr/0")


def test_array_outside_the_store_is_not_opened(tmp_path):
    make(tmp_path / "other.zarr", values())
    path = make(tmp_path / "v.zarr", values())
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "../other.zarr/0"
    (path / "zarr.json").write_text(json.dumps(metadata))
    refused(path, "lies outside")


def test_damaged_chunk_is_one_line(tmp_path):
    path = make(tmp_path / "v.zarr", values())
    chunk = next(file for file in (path / "0" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:5])
    refused(path, "the file is damaged")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_ome_zarr_writes_is_read(tmp_path, monkeypatch, version):
    pytest.importorskip("ome_zarr", reason="ome-zarr is not installed")
    server = types.ModuleType("RangeHTTPServer")  # it wants one to show images in a browser
    server.RangeRequestHandler = object
    monkeypatch.setitem(sys.modules, "RangeHTTPServer", server)
    data = values("uint16", (8, 32, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ome_zarr, on its own defaults
        from ome_zarr import format as versions
        from ome_zarr.writer import write_image

        made = {"0.4": versions.FormatV04, "0.5": versions.FormatV05}[version]()
        write_image(
            data,
            str(tmp_path / "v.zarr"),
            scale_factors=[{"z": 2, "y": 2, "x": 2}],
            fmt=made,
            axes="zyx",
            scale=dict.fromkeys("zyx", 0.68),
            axes_units=dict.fromkeys("zyx", "nanometer"),
        )
    volume = formats.open_volume(tmp_path / "v.zarr")
    assert np.array_equal(volume.array[:], data)
    assert volume.voxel_size_angstrom == 6.8


def test_commands_take_it(wedge, tmp_path):
    path = make(tmp_path / "v.zarr", values("uint16")[None], "0.4", "czyx")
    told = json.loads(wedge("info", path, "--json").out)
    assert (told["kind"], told["shape"], told["dtype"], told["voxel_size_angstrom"]) == ("volume", list(SHAPE), "uint16", 13.4)
    assert wedge("export", path, "-o", tmp_path / "w.mrc").code == 0
    assert np.array_equal(formats.open_volume(tmp_path / "w.mrc").array[:], values())
    found = json.loads(wedge("evaluate", path, "--reference", tmp_path / "w.mrc", "--metric", "psnr", "--json").out)
    assert found["volumes"][0]["values"]["psnr"] == 140
    assert wedge("average", path, tmp_path / "w.mrc", "-o", tmp_path / "m.zarr").code == 0
    refusal = wedge("fbp", path, "-o", tmp_path / "f.zarr")
    assert (refusal.code, "not a store that wedge wrote" in refusal.error) == (3, True)
