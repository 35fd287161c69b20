import numpy as np
import pytest

from wedge.data import TiltSeries, Volume
from wedge.errors import InputError, UsageError
from wedge.geometry import TiltGeometry
from wedge.slabs import CHUNK_BYTES, available_memory_bytes, chunk_rows, parse_memory, read_sinograms, read_slices, slab_ranges

NUM_VIEWS, NUM_ROWS, WIDTH = 3, 7, 5


class Broken:
    shape = (NUM_VIEWS, NUM_ROWS, WIDTH)
    dtype = np.dtype("f4")

    def __getitem__(self, key):
        raise RuntimeError("error during blosc decompression: -1\nmore")


@pytest.fixture
def stack():
    return np.arange(NUM_VIEWS * NUM_ROWS * WIDTH, dtype=np.uint16).reshape(NUM_VIEWS, NUM_ROWS, WIDTH)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((60, 128, 128), 16), ((256, 1024, 1024), 8), ((60, 1024, 1024), 16), ((4000, 10, 4000), 1), ((300, 1024, 1024), 4)],
)
def test_chunks_are_at_most_eight_mebibytes_and_powers_of_two(shape, rows):
    assert chunk_rows(shape) == rows
    assert rows == 1 or rows * shape[0] * shape[2] * 4 <= CHUNK_BYTES


@pytest.mark.parametrize(("num_rows", "slab_rows"), [(10, 3), (9, 3), (2, 5), (0, 4), (1, 1)])
def test_slabs_cover_every_row_once_in_order(num_rows, slab_rows):
    slabs = slab_ranges(num_rows, slab_rows)
    assert [row for slab in slabs for row in slab] == list(range(num_rows))
    assert all(len(slab) <= slab_rows for slab in slabs)


def test_slabs_of_no_rows_are_refused():
    with pytest.raises(ValueError, match="slabs of 0"):
        slab_ranges(4, 0)


def test_sinograms_and_slices_have_rows_first(stack):
    tilts = TiltSeries(stack, TiltGeometry((-30, 0, 20), (NUM_ROWS, WIDTH), (4, NUM_ROWS, WIDTH)))
    for block in (read_sinograms(tilts, 2, 5), read_slices(Volume(stack), 2, 5)):
        assert block.shape == (3, NUM_VIEWS, WIDTH)
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        assert block.flags.writeable
        assert block[1, 2, 4] == stack[2, 3, 4]


def test_read_rows_are_a_copy():
    array = np.ones((1, 2, 3), dtype=np.float32)
    read_slices(Volume(array), 0, 2)[:] = 5
    assert (array == 1).all()


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (5, 8), (4, 3)])
def test_rows_beyond_the_array_are_refused(stack, start, stop):
    with pytest.raises(ValueError, match="it has 7"):
        read_slices(Volume(stack), start, stop)


def test_damaged_data_is_told_in_one_line():
    with pytest.raises(InputError, match=r"cannot read rows 0..2 of broken.zarr: error during blosc decompression: -1; ") as caught:
        read_slices(Volume(Broken(), name="broken.zarr"), 0, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8 * 10**9), ("512MiB", 512 * 2**20), ("1.5g", 1_500_000_000), ("1000", 1000), (" 2 kib ", 2048), ("1TB", 10**12)],
)
def test_memory_is_read(text, expected):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "8XB", "8 G B", "1e9", "nan"])
def test_what_is_no_memory_is_refused(text):
    with pytest.raises(UsageError, match="not an amount of memory"):
        parse_memory(text)


def test_available_memory_is_positive_and_at_most_the_machine():
    import os

    assert 0 < available_memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
