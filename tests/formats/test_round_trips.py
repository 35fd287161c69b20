"""What is written in any format is read by the programs that own the format, and by wedge: unmirrored, with its values and voxel size."""

import json
import sys
import types
import warnings
from itertools import product

import mrcfile
import numpy as np
import pytest
import zarr

from wedge import formats
from wedge.convert import copy_tilts, copy_volume, robust_range
from wedge.data import TiltSeries, Volume
from wedge.formats.mrc import IMOD_STAMP
from wedge.formats.mrc_values import Values, bytes_between
from wedge.geometry import TiltGeometry
from wedge.slabs import read_slices

SHAPES = [(6, 9, 13), (7, 8, 12), (5, 33, 10)]
SIZE = 13.4
ANGLES = (-50.0, -10.0, 0.0, 35.5, 60.0)


def phantom(shape):
    """Return three bars of unlike density and length from one off-centre corner, in faint noise: no turn and no mirror image fits."""
    z, y, x = (max(1, n // 5) for n in shape)
    data = np.random.default_rng(11).uniform(-0.1, 0.1, shape).astype(np.float32)
    data[z : z + shape[0] // 2, y, x] = 3
    data[z, y : y + shape[1] // 3, x] = -2
    data[z, y, x : x + shape[2] // 2] = 5
    return data


def write(path, data, **options):
    with formats.create_volume(path, data.shape, voxel_size_angstrom=SIZE, **options) as writer:
        copy_volume(Volume(data), writer)
        writer.commit({})
    return path


def tolerance(values):
    """Return how far stored densities may be off: half a step of bytes, or half the spacing of half precision at the largest value."""
    return {"float32": 0.0, "float16": 5 * 2**-11, "int8": values.scale * 0.5001}[values.mode]


def stored_as(data, mode):
    return bytes_between(*robust_range(Volume(data))) if mode == "int8" else Values(mode)


def turned_by_imod(stored):
    """Do what ``clip rotx`` of IMOD does: row k of section j becomes row j of section n-1-k, as in its loops over sections and lines."""
    num_sections, num_rows, num_columns = stored.shape
    turned = np.empty((num_rows, num_sections, num_columns), stored.dtype)
    for section in range(num_sections):
        for row in range(num_rows):
            turned[num_rows - 1 - row, section] = stored[section, row]
    return turned


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", ["mrc", "rec"])
@pytest.mark.parametrize("mode", ["float32", "float16", "int8"])
def test_volumes_in_mrc(tmp_path, capfd, shape, suffix, mode):
    data = phantom(shape)
    values = stored_as(data, mode)
    path = write(tmp_path / f"v.{suffix}", data, values=values)
    assert mrcfile.validate(path), capfd.readouterr()
    with mrcfile.open(path) as file:
        assert file.data.dtype == mode
        assert np.abs(file.data.astype(np.float64) * values.scale + values.offset - data).max() <= tolerance(values)
        assert [float(file.voxel_size[axis]) for axis in "xyz"] == pytest.approx([SIZE] * 3)
        assert [int(file.nstart[axis]) for axis in "xyz"] == [float(file.header.origin[axis]) for axis in "xyz"] == [0, 0, 0]
        assert [int(file.header[name]) for name in ("mapc", "mapr", "maps")] == [1, 2, 3]
    back = formats.open_volume(path)
    assert back.voxel_size_angstrom == SIZE
    assert np.abs(np.asarray(back.array[:], np.float64) - data).max() <= tolerance(values)


@pytest.mark.parametrize(("shape", "mode"), list(product(SHAPES, ["float32", "int8"])))
def test_volumes_in_the_order_of_imod(tmp_path, capfd, shape, mode):
    data = phantom(shape)
    values = stored_as(data, mode)
    path = write(tmp_path / "v.rec", data, values=values, imod_axes=True)
    assert mrcfile.validate(path), capfd.readouterr()
    with mrcfile.open(path) as file:
        assert file.data.shape == (shape[1], shape[0], shape[2])
        assert [int(file.header[name]) for name in ("mapc", "mapr", "maps")] == [1, 2, 3]
        assert np.abs(turned_by_imod(file.data).astype(np.float64) * values.scale + values.offset - data).max() <= tolerance(values)
    assert np.abs(np.asarray(formats.open_volume(path).array[:], np.float64) - data).max() <= tolerance(values)
    assert np.abs(read_slices(formats.open_volume(path), 2, 5).astype(np.float64) - data[:, 2:5].transpose(1, 0, 2)).max() <= tolerance(
        values
    )
    (tmp_path / "v.rec.json").unlink()
    told = formats.open_volume(path, imod_axes=True)
    assert told.voxel_size_angstrom == SIZE
    assert told.array.shape == shape
    if mode == "float32":
        assert np.array_equal(told.array[:], data)
    assert formats.open_volume(path).array.shape == (shape[1], shape[0], shape[2])


def test_order_of_imod_projects_as_its_tilt_does(tmp_path):
    """``tilt`` projects with the sine negative along its rows; a point then falls where wedge's convention puts it."""
    shape, place, angle = (8, 5, 11), (6, 1, 2), np.deg2rad(30)
    data = np.zeros(shape, np.float32)
    data[place] = 1
    with mrcfile.open(write(tmp_path / "v.mrc", data, imod_axes=True)) as file:
        section, row, column = (int(n[0]) for n in np.nonzero(file.data))
    of_wedge = (place[2] - 5) * np.cos(angle) + (place[0] - 3.5) * np.sin(angle)
    of_imod = (column - 5) * np.cos(angle) - (row - 3.5) * np.sin(angle)
    assert section == place[1]
    assert of_imod == pytest.approx(of_wedge)


def test_bytes_are_signed_for_imod_too(tmp_path):
    path = write(tmp_path / "v.mrc", phantom(SHAPES[0]), values=stored_as(phantom(SHAPES[0]), "int8"))
    stamp, flags = np.frombuffer(path.read_bytes()[152:160], "<i4")
    assert (stamp, flags & 1) == (IMOD_STAMP, 1)


@pytest.mark.parametrize("mode", ["float32", "float16", "int8"])
@pytest.mark.parametrize("suffix", ["st", "mrc"])
def test_tilt_series_in_mrc(tmp_path, capfd, mode, suffix):
    data = phantom((5, 9, 12))
    values = stored_as(data, mode)
    geometry = TiltGeometry(ANGLES, (9, 12), (6, 9, 12), SIZE)
    with formats.create_tilts(tmp_path / f"t.{suffix}", geometry, values=values) as writer:
        copy_tilts(TiltSeries(data, geometry), writer)
        writer.commit({})
    assert mrcfile.validate(tmp_path / f"t.{suffix}"), capfd.readouterr()
    with mrcfile.open(tmp_path / f"t.{suffix}") as file:
        assert np.abs(file.data.astype(np.float64) * values.scale + values.offset - data).max() <= tolerance(values)
        assert float(file.voxel_size.x) == pytest.approx(SIZE)
    back = formats.open_tilts(tmp_path / f"t.{suffix}")
    assert back.geometry == geometry
    assert np.abs(np.asarray(back.array[:], np.float64) - data).max() <= tolerance(values)


LARGE = (40, 130, 300)


@pytest.fixture(params=["0.4", "0.5"])
def ome_zarr_volume(request, tmp_path):
    data = phantom(LARGE)
    return request.param, write(tmp_path / "v.zarr", data, ome_zarr=request.param), data


def test_ome_zarr_is_valid_in_both_versions(ome_zarr_volume):
    version, path, data = ome_zarr_volume
    models = pytest.importorskip(f"ome_zarr_models.v{version.replace('.', '')}", reason="ome-zarr-models is not installed")
    image = models.Image.from_zarr(zarr.open_group(str(path), mode="r"))
    multiscale = (image.ome_attributes if version == "0.5" else image.attributes).multiscales[0]
    assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [(name, "space", "angstrom") for name in "zyx"]
    assert [dataset.path for dataset in multiscale.datasets] == ["0", "1"]
    assert multiscale.datasets[1].coordinateTransformations[0].scale == [2 * SIZE] * 3
    assert multiscale.datasets[1].coordinateTransformations[1].translation == [SIZE / 2] * 3
    group = zarr.open_group(str(path), mode="r")
    assert group.metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]
    if version == "0.4":
        assert json.loads((path / "0" / ".zarray").read_text())["dimension_separator"] == "/"
    assert np.array_equal(group["0"][:], data)
    assert group["1"].shape == (20, 65, 150)
    assert np.allclose(group["1"][3, 4, 5], data[6:8, 8:10, 10:12].mean(), atol=1e-6)


def test_ome_zarr_is_read_by_ome_zarr(ome_zarr_volume):
    version, path, data = ome_zarr_volume
    io = pytest.importorskip("ome_zarr.io", reason="ome-zarr is not installed")
    reader = pytest.importorskip("ome_zarr.reader", reason="ome-zarr is not installed")
    location = io.parse_url(str(path))
    assert location.fmt.version == version
    (node,) = reader.Reader(location)()
    assert [level.shape for level in node.data] == [LARGE, (20, 65, 150)]
    assert np.array_equal(np.asarray(node.data[0]), data)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
    assert node.metadata["coordinateTransformations"][0][0]["scale"] == [SIZE] * 3


class Affine:
    """As much of napari's transform as its reader of OME-Zarr asks for."""

    def __init__(self, scale=None, translate=None):
        self.scale = np.asarray([1.0] * len(translate) if scale is None else scale)
        self.translate = translate


@pytest.fixture
def napari_reader(monkeypatch):
    """Return the reader that napari uses, without napari: it takes two small things of it."""
    modules = {name: types.ModuleType(name) for name in ("napari", "napari.utils", "napari.utils.colormaps", "napari.utils.transforms")}
    modules["napari.utils.colormaps"].AVAILABLE_COLORMAPS, modules["napari.utils.colormaps"].Colormap = {}, object
    modules["napari.utils.transforms"].Affine = Affine
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    module = pytest.importorskip("napari_ome_zarr._reader", reason="napari-ome-zarr is not installed")
    yield module.napari_get_reader
    for name in [name for name in sys.modules if name.startswith("napari_ome_zarr")]:
        del sys.modules[name]


def test_ome_zarr_is_read_by_napari(ome_zarr_volume, napari_reader):
    _, path, data = ome_zarr_volume
    ((levels, metadata, kind),) = napari_reader(str(path))()
    assert kind == "image"
    assert [level.shape for level in levels] == [LARGE, (20, 65, 150)]
    assert 128 <= max(levels[-1].shape) <= 256
    assert np.array_equal(np.asarray(levels[0]), data)
    assert metadata["scale"] == [SIZE] * 3
    assert metadata["axis_labels"] == ("z", "y", "x")
    assert metadata["units"] == ("angstrom",) * 3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_comes_back(tmp_path, shape, version):
    data = phantom(shape)
    path = write(tmp_path / "v.zarr", data, ome_zarr=version, tilt_angles_deg=ANGLES)
    back = formats.open_volume(path)
    assert (back.voxel_size_angstrom, back.tilt_angles_deg) == (SIZE, ANGLES)
    assert np.array_equal(back.array[:], data)
    assert np.array_equal(read_slices(back, 0, shape[1]), data.transpose(1, 0, 2))


def test_nothing_warns_of_half_precision_that_fits(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / "v.mrc", np.full((2, 3, 4), 65504, np.float32), values=Values("float16"))
