import tracemalloc

import numpy as np
import pytest
import zarr

from wedge.coarser import _Copy
from wedge.errors import InputError
from wedge.pyramid import LONGEST_SIDE, halve, level_scale, level_shapes
from wedge.slabs import slab_ranges
from wedge.store import create_volume, open_volume

ODD = (5, 75, 523)


def blocks(shape, rows_at_once):
    return slab_ranges(shape[1], rows_at_once)


def write(path, data, ranges):
    """Write ``(z, y, x)`` data in blocks of rows, in the order of their ranges."""
    with create_volume(path, data.shape) as writer:
        for rows in ranges:
            writer.write_rows(rows.start, data[:, rows.start : rows.stop].transpose(1, 0, 2))
        writer.commit({})


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def noise(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def read_again(path, data):
    """Write a volume whose copies are made at the end, from what is on disk: its last rows come first."""
    write(path, data, list(reversed(blocks(data.shape, 16))))
    return files(path)


@pytest.mark.parametrize("shape", [(256, 1024, 1000), (3, 1, 2000), (32, 128, 256)])
def test_coarsest_level_is_small_and_not_too_small(shape):
    shapes = level_shapes(shape)
    assert shapes[0] == shape
    assert LONGEST_SIDE / 2 < max(shapes[-1]) <= LONGEST_SIDE or len(shapes) == 1
    for level, coarse in enumerate(shapes):
        assert coarse == tuple(int(count // factor) for count, factor in zip(shape, level_scale(shape, level), strict=True))


def test_halving_takes_means_and_leaves_out_an_odd_plane():
    block = np.random.default_rng(0).normal(size=(4, 7, 2)).astype(np.float32)
    expected = block[:, :6].reshape(2, 2, 3, 2, 1, 2).mean(axis=(1, 3, 5))
    assert np.allclose(halve(block), expected, atol=1e-6)
    assert halve(np.ones((1, 1, 4), np.float32)).shape == (1, 1, 2)


@pytest.mark.parametrize("shape", [(3, 40, 600), (1, 531, 9), (9, 1, 1030)])
def test_stored_levels_are_means_where_the_metadata_says(tmp_path, shape):
    models = pytest.importorskip("ome_zarr_models.v05")
    # A linear density has its own value at the centre of every block, so it shows each level's place.
    z, y, x = np.meshgrid(*(np.arange(count, dtype=np.float32) for count in shape), indexing="ij")
    data = x + 2 * y + 4 * z
    with create_volume(tmp_path / "v.zarr", shape, voxel_size_angstrom=2.5) as writer:
        writer.write_rows(0, data.transpose(1, 0, 2))
        writer.commit({})
    assert np.array_equal(open_volume(tmp_path / "v.zarr").array[:], data)
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="r")
    datasets = models.Image.from_zarr(group).ome_attributes.multiscales[0].datasets
    assert len(datasets) == len(level_shapes(shape)) > 1
    for dataset in datasets[1:]:
        scale, translation = (
            np.array(t) for t in (dataset.coordinateTransformations[0].scale, dataset.coordinateTransformations[1].translation)
        )
        level = group[dataset.path]
        centres = [np.arange(count) * step / 2.5 + start / 2.5 for count, step, start in zip(level.shape, scale, translation, strict=True)]
        z, y, x = np.meshgrid(*centres, indexing="ij")
        assert np.allclose(level[:], x + 2 * y + 4 * z, rtol=1e-5)


@pytest.mark.parametrize("shape", [ODD, (3, 40, 600), (1, 531, 9), (9, 1, 1030), (1, 1, 300), (4, 33, 1), (7, 600, 3)])
@pytest.mark.parametrize("rows_at_once", [1, 5, 16, 1000])
def test_levels_of_rows_as_they_come_are_to_the_byte_those_of_the_volume_read_again(tmp_path, shape, rows_at_once):
    data = noise(shape)
    (tmp_path / "b").mkdir()
    write(tmp_path / "v.zarr", data, blocks(shape, rows_at_once))
    written = files(tmp_path / "v.zarr")
    assert written == read_again(tmp_path / "b" / "v.zarr", data)
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="r+")
    for level in range(1, len(level_shapes(shape))):
        data = halve(data)
        group[str(level)][:] = np.inf
        group[str(level)][:] = data
    assert written == files(tmp_path / "v.zarr")


def test_levels_are_the_same_where_a_chunk_is_a_single_row(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    monkeypatch.setattr("wedge.store.chunk_rows", lambda shape: 1)
    write(tmp_path / "v.zarr", noise(ODD), blocks(ODD, 4))
    assert files(tmp_path / "v.zarr") == read_again(tmp_path / "b" / "v.zarr", noise(ODD))


def swapped(ranges):
    return [ranges[1], ranges[0], *ranges[2:]]


def twice(ranges):
    return [*ranges, *ranges[-2:]]


def overlapping(ranges):
    return [range(max(0, rows.start - 3), rows.stop) for rows in ranges]


def second_half_first(ranges):
    return [*ranges[len(ranges) // 2 :], *ranges[: len(ranges) // 2]]


@pytest.mark.parametrize("order", [swapped, twice, overlapping, second_half_first])
@pytest.mark.parametrize("rows_at_once", [5, 16])
def test_levels_do_not_depend_on_the_order_of_the_rows(tmp_path, order, rows_at_once):
    (tmp_path / "b").mkdir()
    write(tmp_path / "v.zarr", noise(ODD), order(blocks(ODD, rows_at_once)))
    assert files(tmp_path / "v.zarr") == read_again(tmp_path / "b" / "v.zarr", noise(ODD))


def test_rows_that_are_written_anew_are_those_of_the_levels(tmp_path):
    (tmp_path / "b").mkdir()
    with create_volume(tmp_path / "v.zarr", ODD) as writer:
        for data in (np.zeros(ODD, np.float32), noise(ODD)):
            writer.write_rows(0, data.transpose(1, 0, 2))
        writer.commit({})
    assert files(tmp_path / "v.zarr") == read_again(tmp_path / "b" / "v.zarr", noise(ODD))


def test_rows_in_order_are_not_read_again(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(zarr.Array, "__getitem__", never)
    write(tmp_path / "v.zarr", noise(ODD), blocks(ODD, 16))
    (tmp_path / "b").mkdir()
    with pytest.raises(AssertionError, match="read again"):
        read_again(tmp_path / "b" / "v.zarr", noise(ODD))


@pytest.mark.parametrize("failing", ["first", "in the middle"])
def test_rows_that_could_not_be_written_and_then_could_are_in_the_levels_once(tmp_path, monkeypatch, failing):
    add, calls = _Copy.add, []

    def fail_once(copy, row):
        calls.append(row)
        if len(calls) == {"first": 1, "in the middle": 31}[failing]:
            raise OSError(28, "No space left on device")
        add(copy, row)

    monkeypatch.setattr(_Copy, "add", fail_once)
    data = noise(ODD).transpose(1, 0, 2)
    with create_volume(tmp_path / "v.zarr", ODD) as writer:
        for rows in blocks(ODD, 16):
            try:
                writer.write_rows(rows.start, data[rows.start : rows.stop])
            except InputError:
                writer.write_rows(rows.start, data[rows.start : rows.stop])
        writer.commit({})
    (tmp_path / "b").mkdir()
    assert files(tmp_path / "v.zarr") == read_again(tmp_path / "b" / "v.zarr", noise(ODD))


def test_rows_may_be_changed_once_they_are_written(tmp_path):
    data, block = noise((1, 9, 600)), np.empty((1, 1, 600), np.float32)
    with create_volume(tmp_path / "v.zarr", data.shape) as writer:
        for row in range(9):
            block[0] = data[:, row]
            writer.write_rows(row, block)
        writer.commit({})
    assert np.array_equal(zarr.open_array(str(tmp_path / "v.zarr" / "1"), mode="r")[:], halve(data))


def test_writing_takes_a_few_chunks_of_memory_however_many_rows_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr("wedge.slabs._usable_cores", lambda: 4)
    shape = (32, 512, 512)
    rows = noise((32, 16, 512)).transpose(1, 0, 2)
    data = np.broadcast_to(rows, (32, *rows.shape)).reshape(512, 32, 512)
    with create_volume(tmp_path / "v.zarr", shape) as writer:
        tracemalloc.start()
        writer.write_rows(0, data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * rows.nbytes < data.nbytes
