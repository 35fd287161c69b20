"""How densities lie in an MRC file, and what they are when they come back."""

import json

import mrcfile
import numpy as np
import pytest

from wedge import formats
from wedge.convert import copy_volume, robust_range
from wedge.data import Volume
from wedge.errors import InputError
from wedge.formats.mrc_values import Values, bytes_between, values_of


def write(path, data, values):
    with formats.create_volume(path, data.shape, voxel_size_angstrom=2.0, values=values) as writer:
        copy_volume(Volume(data), writer)
        writer.commit({})
    return path


def test_bytes_span_the_range_and_no_more():
    values = bytes_between(-1.0, 4.0)
    stored, beyond = values.encode(np.array([-1.0, 4.0, -9.0, 9.0, 1.5], np.float32))
    assert list(stored[:4]) == [-128, 127, -128, 127]
    assert beyond == 2
    assert abs(stored[4] * values.scale + values.offset - 1.5) <= values.scale / 2


def test_one_density_alone_is_kept(tmp_path):
    data = np.full((2, 3, 4), 0.25, np.float32)
    back = formats.open_volume(write(tmp_path / "v.mrc", data, bytes_between(*robust_range(Volume(data)))))
    assert np.array_equal(back.array[:], data)


def test_a_gold_bead_does_not_stretch_the_range():
    data = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    data[3, 4, 5:8] = 1e6
    low, high = robust_range(Volume(data))
    assert -5 < low < -3 < 3 < high < 5


def test_range_of_a_small_array_is_all_of_it():
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert robust_range(Volume(data)) == (0, 23)


def test_number_of_values_beyond_the_range_is_recorded(tmp_path):
    data = np.zeros((2, 3, 4), np.float32)
    data[1, 2] = 3
    write(tmp_path / "v.mrc", data, bytes_between(0, 1))
    assert json.loads((tmp_path / "v.mrc.json").read_text())["wedge"]["values"]["num_beyond"] == 4


def test_header_tells_scale_and_offset(tmp_path):
    with mrcfile.open(write(tmp_path / "v.mrc", np.zeros((2, 3, 4), np.float32), Values("int8", 0.125, -3.5))) as file:
        assert b"density = value * 0.125 + -3.5" in bytes(file.header.label[1])
        assert file.header.nlabl == 2


def test_bytes_without_their_record_are_read_as_they_are(tmp_path):
    path = write(tmp_path / "v.mrc", np.ones((2, 3, 4), np.float32), Values("int8", 0.125, -3.5))
    assert (formats.open_volume(path).array[:] == 1).all()
    (tmp_path / "v.mrc.json").unlink()
    assert (formats.open_volume(path).array[:] == 36).all()


@pytest.mark.parametrize("told", [None, 3, {"mode": "int8"}, {"mode": "int8", "scale": 0, "offset": 0}, {"mode": "int8", "scale": "1"}])
def test_record_without_sense_means_nothing(told):
    assert values_of({"values": told}, np.dtype("i1")) is None


def test_record_of_bytes_says_nothing_of_floats():
    told = bytes_between(0, 1).to_json()
    assert values_of({"values": told}, np.dtype("i1")) == bytes_between(0, 1)
    assert values_of({"values": told}, np.dtype("<f4")) is None


@pytest.mark.parametrize(
    ("value", "match"), [(65520.0, "beyond 65504"), (-1e30, "beyond 65504"), (6e-5, "lose their digits"), (1e-30, "lose")]
)
def test_half_precision_that_does_not_hold_is_refused_and_leaves_nothing(tmp_path, value, match):
    with pytest.raises(InputError, match=match):
        write(tmp_path / "v.mrc", np.full((2, 3, 4), value, np.float32), Values("float16"))
    assert list(tmp_path.iterdir()) == []


def test_half_precision_holds_what_is_all_zero(tmp_path):
    assert (formats.open_volume(write(tmp_path / "v.mrc", np.zeros((2, 3, 4), np.float32), Values("float16"))).array[:] == 0).all()


@pytest.mark.parametrize("size", [1e-4, 2000.0])
def test_half_precision_is_valid_whatever_the_size_of_values(tmp_path, capfd, size):
    data = (np.random.default_rng(0).normal(size=(6, 7, 8)) * size).astype(np.float32)
    assert mrcfile.validate(write(tmp_path / "v.mrc", data, Values("float16"))), capfd.readouterr()
