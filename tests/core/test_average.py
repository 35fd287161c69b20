"""Mean and spread of volumes."""

import numpy as np
import pytest

from wedge.average import average, check_alike
from wedge.data import Volume
from wedge.errors import InputError, UsageError

SHAPE = (4, 11, 6)


class MemoryWriter:
    """Keeps the rows it is given, ``(z, y, x)``; NaN where there were none."""

    def __init__(self) -> None:
        self.array = np.full(SHAPE, np.nan, np.float32)

    def write_rows(self, y_start: int, block: np.ndarray) -> None:
        assert block.dtype == np.float32
        self.array[:, y_start : y_start + len(block)] = block.transpose(1, 0, 2)


def volumes(count: int, level: float = 0.0, **known) -> list[Volume]:
    rng = np.random.default_rng(0)
    return [Volume((rng.standard_normal(SHAPE) + level).astype(np.float32), name=f"v{i}", **known) for i in range(count)]


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("slab_rows", [None, 1, 4])
def test_mean_and_sample_deviation_are_those_of_numpy(count: int, slab_rows: int | None) -> None:
    given = volumes(count)
    mean, std, done = MemoryWriter(), MemoryWriter(), []
    summary = average(given, mean, std, slab_rows=slab_rows, on_progress=done.append)
    stack = np.stack([v.array for v in given]).astype(np.float64)
    assert mean.array == pytest.approx(stack.mean(axis=0), rel=1e-6, abs=1e-7)
    assert std.array == pytest.approx(stack.std(axis=0, ddof=1), rel=1e-6)
    assert summary.num_volumes == count
    assert summary.rms_spread == pytest.approx(np.sqrt(stack.var(axis=0, ddof=1).mean()))
    assert summary.rms_mean == pytest.approx(stack.mean(axis=0).std())
    assert sum(done) == SHAPE[1]


def test_spread_survives_a_large_offset() -> None:
    std = MemoryWriter()
    given = volumes(4, level=1e4)
    average(given, MemoryWriter(), std)
    assert std.array == pytest.approx(np.stack([v.array for v in given]).astype(np.float64).std(axis=0, ddof=1), rel=1e-6)


def test_equal_volumes_have_no_spread() -> None:
    one = volumes(1)[0]
    mean, std = MemoryWriter(), MemoryWriter()
    assert average([one] * 3, mean, std).rms_spread == 0
    assert np.array_equal(mean.array, one.array)
    assert not std.array.any()


def test_one_volume_is_its_mean_and_has_no_spread() -> None:
    one = volumes(1)
    mean = MemoryWriter()
    assert average(one, mean).rms_spread is None
    assert np.array_equal(mean.array, one[0].array)
    with pytest.raises(UsageError, match="spread of one volume"):
        average(one, mean, MemoryWriter())


def test_different_shapes_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match=r"v0 has \(4, 11, 6\), odd has \(4, 10, 6\)"):
        check_alike([*volumes(2), Volume(np.zeros((4, 10, 6), np.float32), name="odd")])


def test_different_voxel_sizes_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match="v0 has 5 A, v1 has 6 A"):
        check_alike([volumes(1, voxel_size_angstrom=5.0)[0], volumes(2, voxel_size_angstrom=6.0)[1]])


def test_unknown_voxel_size_fits_any() -> None:
    assert check_alike([*volumes(1), *volumes(1, voxel_size_angstrom=5.0)]) == (SHAPE, 5.0)
    assert check_alike(volumes(2)) == (SHAPE, None)


def test_nan_and_nothing_are_refused() -> None:
    bad = volumes(2)
    bad[1].array[2, 7, 3] = np.nan
    with pytest.raises(InputError, match="v1, y-row 7"):
        average(bad, MemoryWriter(), slab_rows=4)
    with pytest.raises(InputError, match="no volumes"):
        average([], MemoryWriter())
