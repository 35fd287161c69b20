import errno
import threading
import time

import numpy as np
import pytest

from wedge.data import TiltSeries, Volume
from wedge.errors import InputError, UsageError
from wedge.geometry import TiltGeometry
from wedge.slabs import CHUNK_BYTES, available_memory_bytes, chunk_rows, parse_memory, read_sinograms, read_slices, slab_ranges, write_rows

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


SOON = 10.0  # seconds, of what takes none
A_WHILE = 0.3


class Disk:
    """An array of chunks of 4 rows that tells who writes what, and lets ``hold`` keep the writers of chunks, given by their first rows."""

    chunks = (NUM_VIEWS, 4, WIDTH)

    def __init__(self, hold=lambda start: None) -> None:
        self.hold, self.begun, self.ended, self.threads, self.most = hold, [], [], set(), 0
        self.rows = np.zeros((NUM_VIEWS, 40, WIDTH), np.float32)

    def __setitem__(self, key, rows):
        self.begun.append(key[1].start)
        self.most = max(self.most, len(self.begun) - len(self.ended))
        self.threads.add(threading.current_thread())
        try:
            self.hold(key[1].start)
            self.rows[key] = rows
        finally:
            self.ended.append(key[1].start)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(40, NUM_VIEWS, WIDTH)).astype(np.float32)


def with_cores(monkeypatch, count):
    monkeypatch.setattr("wedge.slabs._usable_cores", lambda: count)


@pytest.mark.parametrize("cores", [1, 2, 4, 64])
@pytest.mark.parametrize(("start", "stop"), [(0, 40), (3, 38), (5, 6), (7, 7)])
def test_rows_are_written_by_a_few_threads_wherever_they_begin(rows, monkeypatch, cores, start, stop):
    with_cores(monkeypatch, cores)
    disk = Disk(lambda start: time.sleep(0.01))
    write_rows(disk, start, rows[start:stop])
    assert np.array_equal(disk.rows[:, start:stop], rows[start:stop].transpose(1, 0, 2))
    assert not disk.rows[:, :start].any()
    assert not disk.rows[:, stop:].any()
    assert sorted(disk.begun) == sorted({max(start, row - row % 4) for row in range(start, stop)})
    assert disk.most <= min(cores, 4)


def test_one_chunk_or_one_core_needs_no_threads(rows, monkeypatch):
    for cores, block in ((4, rows[:4]), (1, rows)):
        with_cores(monkeypatch, cores)
        disk = Disk()
        write_rows(disk, 0, block)
        assert disk.threads == {threading.current_thread()}


def test_a_write_error_is_raised_once_and_nothing_is_written_after_it(rows, monkeypatch):
    with_cores(monkeypatch, 4)
    all_write, refused = threading.Barrier(4), threading.Event()

    def full(start):
        all_write.wait(SOON)
        if start == 8:
            refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        assert refused.wait(SOON)
        time.sleep(A_WHILE)
        if start == 12:
            raise OSError(errno.EIO, "a later error")

    disk = Disk(full)
    with pytest.raises(OSError, match="No space left on device"):
        write_rows(disk, 0, rows)
    # What was under way has ended, and is whole.
    assert sorted(disk.begun) == sorted(disk.ended) == [0, 4, 8, 12]
    assert not any(thread.is_alive() for thread in disk.threads)
    assert np.array_equal(disk.rows[:, :8], rows[:8].transpose(1, 0, 2))
    assert not disk.rows[:, 8:].any()


@pytest.mark.parametrize("cores", [2, 4])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_ends_the_work_meanwhile_ends_the_writing(rows, monkeypatch, cores, error):
    with_cores(monkeypatch, cores)
    failing = threading.Event()

    def hold(start):
        assert failing.wait(SOON)
        time.sleep(A_WHILE)

    def fail():
        failing.set()
        raise error

    disk = Disk(hold)
    with pytest.raises(type(error)) as caught:
        write_rows(disk, 0, rows, fail)
    assert caught.value is error
    assert sorted(disk.begun) == sorted(disk.ended)
    assert len(disk.begun) <= cores


@pytest.mark.parametrize("cores", [1, 4])
@pytest.mark.parametrize("stop", [0, 2, 40])
def test_what_is_done_meanwhile_is_done_once_in_the_same_thread(rows, monkeypatch, cores, stop):
    with_cores(monkeypatch, cores)
    called, disk = [], Disk()
    write_rows(disk, 0, rows[:stop], lambda: called.append(threading.current_thread()))
    assert called == [threading.current_thread()]
    assert np.array_equal(disk.rows[:, :stop], rows[:stop].transpose(1, 0, 2))
