import numpy as np
import pytest

from wedge.data import Volume
from wedge.errors import InputError
from wedge.formats.file_array import FileArray
from wedge.slabs import read_slices

DATA = np.arange(4 * 5 * 6, dtype=">i2").reshape(4, 5, 6)
WHOLE = slice(None)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"head" + DATA.tobytes())
    return tmp_path / "a.bin"


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0)])
@pytest.mark.parametrize(
    "key",
    [
        WHOLE,
        2,
        -1,
        slice(1, 3),
        slice(3, None, -2),
        (WHOLE, slice(1, 3)),
        (WHOLE, slice(1, 3), WHOLE),
        (1, 2),
        (1, 2, 3),
        (WHOLE, 2, slice(0, 4, 3)),
        (1, WHOLE, 3),
        (slice(0, 0), WHOLE, WHOLE),
        (WHOLE, slice(3, 3)),
        (WHOLE, slice(None, None, -1)),
        ...,
        (..., 2),
        (1, ..., 2),
    ],
)
def test_parts_are_those_of_the_array(path, axes, key):
    array = FileArray(path, DATA.dtype, DATA.shape, 4, axes)
    expected = DATA.transpose(axes)
    assert array.shape == expected.shape
    assert np.array_equal(array[key], expected[key])
    assert array[key].shape == expected[key].shape


def test_index_beyond_the_array_is_refused(path):
    array = FileArray(path, DATA.dtype, DATA.shape, 4)
    for key in (4, (0, 0, 0, 0), (..., 0, 0, 0, 0)):
        with pytest.raises(IndexError):
            array[key]


def test_numpy_takes_it_as_an_array(path):
    assert np.array_equal(np.asarray(FileArray(path, DATA.dtype, DATA.shape, 4)), DATA)


def test_file_cut_short_meanwhile_is_an_error_and_no_crash(path):
    array = FileArray(path, DATA.dtype, DATA.shape, 4)
    path.write_bytes(path.read_bytes()[:-1])
    assert array[0, 0, 0] == 0
    with pytest.raises(InputError, match=r"cannot read rows 0\.\.5 of it: the file has become shorter"):
        read_slices(Volume(array, name="it"), 0, 5)


def test_file_that_vanished_is_an_error(path):
    array = FileArray(path, DATA.dtype, DATA.shape, 4)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        read_slices(Volume(array, name="it"), 0, 5)
