import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import zarr

from wedge.errors import InputError, OutputExistsError
from wedge.geometry import TiltGeometry
from wedge.slabs import read_sinograms, read_slices, slab_ranges
from wedge.store import create_tilts, create_volume, open_tilts, open_volume, store_kind

SHAPE = (6, 37, 9)
ANGLES = (-50.0, -20.5, 0.0, 10.0, 33.0)
GEOMETRY = TiltGeometry(
    ANGLES,
    (37, 9),
    (6, 37, 9),
    3.25,
    voxel_size_in_pixels=2.0,
    volume_centre_pixels=(1.5, -2.0),
    axis_offset_pixels=0.5,
    acquisition_order=(4, 2, 0, 1, 3),
)

KILLED_WRITER = """
import sys, time
import numpy as np
from wedge.store import create_volume
writer = create_volume(sys.argv[1], (6, 37, 9), overwrite=True)
writer.write_rows(0, np.ones((20, 6, 9), np.float32))
print("written", flush=True)
time.sleep(60)
"""


def rows_first(array):
    return array.transpose(1, 0, 2)


def make_volume(path, value=None, **options):
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32) if value is None else np.full(SHAPE, value, np.float32)
    with create_volume(path, SHAPE, **options) as writer:
        for rows in slab_ranges(SHAPE[1], 10):
            writer.write_rows(rows.start, rows_first(data[:, rows.start : rows.stop]))
        writer.commit({"seed": 3})
    return data


def make_tilts(path, **options):
    data = np.random.default_rng(1).normal(size=(5, 37, 9)).astype(np.float32)
    with create_tilts(path, GEOMETRY, **options) as writer:
        writer.write_rows(0, rows_first(data))
        writer.commit({})
    return data


def kill_a_write(path):
    """Start a process that writes a volume, and kill it in the middle."""
    process = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_tilts_come_back_with_their_geometry(tmp_path):
    data = make_tilts(tmp_path / "t.zarr", simulated=True)
    tilts = open_tilts(tmp_path / "t.zarr")
    assert tilts.geometry == GEOMETRY
    assert tilts.simulated
    assert np.array_equal(tilts.array[:, :, :], data)
    assert np.array_equal(read_sinograms(tilts, 3, 20), rows_first(data[:, 3:20]))
    assert store_kind(tmp_path / "t.zarr") == "tilts"


def test_volume_comes_back_with_what_is_known_of_it(tmp_path):
    data = make_volume(tmp_path / "v.zarr", voxel_size_angstrom=6.5, tilt_angles_deg=ANGLES)
    volume = open_volume(tmp_path / "v.zarr")
    assert (volume.voxel_size_angstrom, volume.tilt_angles_deg, volume.provenance) == (6.5, ANGLES, {"seed": 3})
    assert np.array_equal(read_slices(volume, 0, 37), rows_first(data))
    assert store_kind(tmp_path / "v.zarr") == "volume"


def test_what_is_not_known_stays_unknown(tmp_path):
    make_volume(tmp_path / "v.zarr")
    volume = open_volume(tmp_path / "v.zarr")
    assert volume.voxel_size_angstrom is None
    assert volume.tilt_angles_deg is None


def test_tensors_are_written_too(tmp_path):
    torch = pytest.importorskip("torch")
    with create_volume(tmp_path / "v.zarr", SHAPE) as writer:
        writer.write_rows(0, torch.ones((37, 6, 9), dtype=torch.float64, requires_grad=True))
        writer.commit({})
    assert (open_volume(tmp_path / "v.zarr").array[:, :, :] == 1).all()


@pytest.mark.parametrize("voxel_size_angstrom", [None, 6.5])
def test_volume_is_valid_ome_zarr(tmp_path, voxel_size_angstrom):
    models = pytest.importorskip("ome_zarr_models.v05")
    make_volume(tmp_path / "v.zarr", voxel_size_angstrom=voxel_size_angstrom)
    image = models.Image.from_zarr(zarr.open_group(str(tmp_path / "v.zarr"), mode="r"))
    multiscale = image.ome_attributes.multiscales[0]
    assert [(axis.name, axis.type) for axis in multiscale.axes] == [(name, "space") for name in "zyx"]
    assert multiscale.axes[0].unit == (None if voxel_size_angstrom is None else "angstrom")
    assert multiscale.datasets[0].coordinateTransformations[0].scale == [voxel_size_angstrom or 1.0] * 3


def test_chunks_are_whole_slabs(tmp_path):
    make_volume(tmp_path / "v.zarr")
    array = zarr.open_array(str(tmp_path / "v.zarr" / "0"), mode="r")
    assert array.chunks == (6, 16, 9)
    assert array.metadata.dimension_names == ("z", "y", "x")


def test_nothing_is_there_before_the_commit(tmp_path):
    with create_volume(tmp_path / "v.zarr", SHAPE) as writer:
        writer.write_rows(0, np.ones((37, 6, 9)))
        assert not (tmp_path / "v.zarr").exists()
        with pytest.raises(InputError, match=r"v.zarr.partial is a write that did not finish"):
            open_volume(tmp_path / "v.zarr")
        with pytest.raises(InputError, match="incomplete store"):
            open_volume(tmp_path / "v.zarr.partial")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_nothing(tmp_path):
    def fail():
        with create_volume(tmp_path / "v.zarr", SHAPE) as writer:
            writer.write_rows(0, np.ones((3, 6, 9)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_commit_leaves_the_store_alone(tmp_path):
    make_volume(tmp_path / "v.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["v.zarr"]


def test_killed_write_is_refused_and_can_be_made_again(tmp_path):
    path = tmp_path / "v.zarr"
    kill_a_write(path)
    with pytest.raises(InputError, match="did not finish"):
        open_volume(path)
    shutil.copytree(tmp_path / "v.zarr.partial", tmp_path / "renamed.zarr")
    with pytest.raises(InputError, match="incomplete store"):
        open_volume(tmp_path / "renamed.zarr")
    data = make_volume(path)
    assert np.array_equal(open_volume(path).array[:, :, :], data)
    assert not (tmp_path / "v.zarr.partial").exists()


def test_killed_overwrite_keeps_the_old_store(tmp_path):
    data = make_volume(tmp_path / "v.zarr")
    kill_a_write(tmp_path / "v.zarr")
    assert np.array_equal(open_volume(tmp_path / "v.zarr").array[:, :, :], data)


def test_unwritten_rows_are_not_committed(tmp_path):
    with create_volume(tmp_path / "v.zarr", SHAPE) as writer:
        writer.write_rows(5, np.ones((30, 6, 9)))
        with pytest.raises(Exception, match=r"7 rows of .* were never written, the first is 0"):
            writer.commit({})


@pytest.mark.parametrize(("start", "shape"), [(0, (37, 9, 6)), (30, (8, 6, 9)), (-1, (2, 6, 9)), (0, (6, 9))])
def test_blocks_that_do_not_fit_are_refused(tmp_path, start, shape):
    with create_volume(tmp_path / "v.zarr", SHAPE) as writer, pytest.raises(ValueError, match="does not fit"):
        writer.write_rows(start, np.ones(shape))


def test_existing_output_is_refused_and_untouched(tmp_path):
    data = make_volume(tmp_path / "v.zarr")
    with pytest.raises(OutputExistsError, match=r"output exists: .*v\.zarr; .*--overwrite"):
        create_volume(tmp_path / "v.zarr", SHAPE)
    assert np.array_equal(open_volume(tmp_path / "v.zarr").array[:, :, :], data)


def test_overwriting_replaces_at_the_commit(tmp_path):
    make_volume(tmp_path / "v.zarr", 1)
    with create_volume(tmp_path / "v.zarr", SHAPE, overwrite=True) as writer:
        writer.write_rows(0, np.full((37, 6, 9), 2))
        assert open_volume(tmp_path / "v.zarr").array[0, 0, 0] == 1
        writer.commit({})
    assert (open_volume(tmp_path / "v.zarr").array[:, :, :] == 2).all()
    assert [path.name for path in tmp_path.iterdir()] == ["v.zarr"]


def test_volume_never_replaces_a_tilt_series(tmp_path):
    make_tilts(tmp_path / "t.zarr")
    with pytest.raises(OutputExistsError, match="is a tilt series and is not replaced by a volume"):
        create_volume(tmp_path / "t.zarr", SHAPE, overwrite=True)
    open_tilts(tmp_path / "t.zarr")


def test_two_writers_of_one_output_are_refused(tmp_path):
    with create_volume(tmp_path / "v.zarr", SHAPE) as first:
        with pytest.raises(OutputExistsError, match="another run is writing"):
            create_volume(tmp_path / "v.zarr", SHAPE)
        first.write_rows(0, np.ones((37, 6, 9)))
        first.commit({})
    open_volume(tmp_path / "v.zarr")


def test_kinds_are_not_taken_for_one_another(tmp_path):
    make_volume(tmp_path / "v.zarr")
    make_tilts(tmp_path / "t.zarr")
    with pytest.raises(InputError, match=r"is a volume, expected a tilt series: .*v\.zarr"):
        open_tilts(tmp_path / "v.zarr")
    with pytest.raises(InputError, match=r"is a tilt series, expected a volume: .*t\.zarr"):
        open_volume(tmp_path / "t.zarr")


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        open_volume(tmp_path / "none.zarr")
    (tmp_path / "file.zarr").write_text("x")
    with pytest.raises(InputError, match="not a Zarr store but a file"):
        open_volume(tmp_path / "file.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match=r"no zarr\.json"):
        open_volume(tmp_path / "empty.zarr")
    zarr.create_group(str(tmp_path / "other.zarr"), zarr_format=3)
    with pytest.raises(InputError, match="not a store that wedge wrote"):
        open_volume(tmp_path / "other.zarr")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"attributes": 3}'])
def test_damaged_metadata_is_refused(tmp_path, text):
    make_volume(tmp_path / "v.zarr")
    (tmp_path / "v.zarr" / "zarr.json").write_text(text)
    with pytest.raises(InputError, match=r"damaged store|not a store"):
        open_volume(tmp_path / "v.zarr")


def test_missing_chunks_are_noticed(tmp_path):
    make_volume(tmp_path / "v.zarr")
    next(path for path in (tmp_path / "v.zarr" / "0" / "c").rglob("*") if path.is_file()).unlink()
    with pytest.raises(InputError, match="1 of 3 chunks are missing"):
        open_volume(tmp_path / "v.zarr")


def test_truncated_chunk_is_told_when_read(tmp_path):
    make_volume(tmp_path / "v.zarr")
    chunk = next(path for path in (tmp_path / "v.zarr" / "0" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(InputError, match="the file is damaged"):
        read_slices(open_volume(tmp_path / "v.zarr"), 0, 37)


def test_damaged_array_is_refused(tmp_path):
    make_volume(tmp_path / "v.zarr")
    shutil.rmtree(tmp_path / "v.zarr" / "0")
    with pytest.raises(InputError, match="cannot open array '0'"):
        open_volume(tmp_path / "v.zarr")


def test_later_format_is_refused(tmp_path):
    make_volume(tmp_path / "v.zarr")
    metadata = json.loads((tmp_path / "v.zarr" / "zarr.json").read_text())
    metadata["attributes"]["wedge"]["format_version"] = 2
    (tmp_path / "v.zarr" / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="update wedge"):
        open_volume(tmp_path / "v.zarr")


def test_array_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    make_volume(tmp_path / "v.zarr")

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("zarr.open_array", closed)
    with pytest.raises(InputError, match="check its permissions"):
        open_volume(tmp_path / "v.zarr")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_type": "int32", "fill_value": 0}, "values of type int32, expected float32"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [12, 16, 9]}}}, "do not span z"),
    ],
)
def test_array_of_another_layout_is_refused(tmp_path, changes, message):
    make_volume(tmp_path / "v.zarr")
    metadata = json.loads((tmp_path / "v.zarr" / "0" / "zarr.json").read_text())
    (tmp_path / "v.zarr" / "0" / "zarr.json").write_text(json.dumps(metadata | changes))
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "v.zarr")
