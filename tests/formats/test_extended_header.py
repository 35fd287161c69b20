import struct

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import get_ext_header_dtype

from wedge import formats
from wedge.errors import InputError
from wedge.formats.mrc import read_mrc

ANGLES = (-60.02, 0.0, 33.25)


@pytest.fixture
def stack(tmp_path):
    """Write a stack of three views with an extended header; its header says 1 angstrom."""

    def write(extended, *, kind=b"", sizes=(0, 0), order="<", name="a.mrc"):
        path = tmp_path / name
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
            file.voxel_size = 1.0
            if order == ">":
                file.header.machst = (0x11, 0x11, 0, 0)
        content = path.read_bytes()
        if order == ">":
            header = np.frombuffer(content[:1024], mrcfile.dtypes.HEADER_DTYPE).astype(mrcfile.dtypes.HEADER_DTYPE.newbyteorder(">"))
            content = header.tobytes() + np.frombuffer(content[1024:], "<i2").astype(">i2").tobytes()
        head = bytearray(content[:1024])
        head[92:96] = struct.pack(f"{order}i", len(extended))
        head[104 : 104 + len(kind)] = kind
        head[128:132] = struct.pack(f"{order}hh", *sizes)
        path.write_bytes(bytes(head) + extended + content[1024:])
        return path

    return write


def seri(order="<", angles=ANGLES, flags=1 | 4 | 8 | 16):
    """Angle, and whatever else the flags name, as IMOD's description of the format lists it."""
    rest = {1: 0, 2: 6, 4: 4, 8: 2, 16: 2, 32: 4}
    size = sum(length for bit, length in rest.items() if flags & bit)
    return b"".join(struct.pack(f"{order}h", round(angle * 100)) + b"\x07" * size for angle in angles), 2 + size, flags


def old_fei(angles=ANGLES, size_metre=3.36e-9):
    numbers = np.zeros((1024, 32), "<f4")
    numbers[:3, 0], numbers[:3, 11] = angles, size_metre
    return numbers.tobytes()


def fei(kind, angles=ANGLES, size_metre=3.36e-10, axis=85.3):
    dtype = get_ext_header_dtype(kind, "<")
    blocks = np.zeros(3, dtype)
    blocks["Metadata size"] = dtype.itemsize
    blocks["Alpha tilt"], blocks["Tilt axis angle"] = angles, axis
    blocks["Pixel size X"] = blocks["Pixel size Y"] = size_metre
    return blocks.tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("flags", [1, 1 | 4, 1 | 4 | 8 | 16, 1 | 32])
@pytest.mark.parametrize("kind", [b"SERI", b""])
def test_angles_of_serialem_are_read_whatever_lies_between_them(stack, order, flags, kind):
    extended, size, flags = seri(order, flags=flags)
    data = read_mrc(stack(extended + bytes(20), kind=kind, sizes=(size, flags), order=order))
    assert data.tilt_angles_deg == ANGLES
    assert data.pixel_size_angstrom is None
    np.testing.assert_array_equal(data.array[2], np.arange(40, 60).reshape(4, 5))


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
def test_blocks_of_fei_are_read(stack, kind):
    data = read_mrc(stack(fei(kind), kind=kind))
    assert data.tilt_angles_deg == ANGLES
    assert data.pixel_size_angstrom == 3.36
    assert data.extended.tilt_axis_angle_deg == 85.3


def test_old_header_of_fei_is_known_by_what_it_says(stack):
    data = read_mrc(stack(old_fei(), sizes=(0, 32)))
    assert (data.extended.kind, data.tilt_angles_deg, data.pixel_size_angstrom) == ("FEI", ANGLES, 33.6)
    assert data.extended.tilt_axis_angle_deg is None


@pytest.mark.parametrize("angles", [(0, 0, 0), (1, 2, 200), (1, 2, np.nan), (0, np.inf, 3), (1e30, 0, -1)])
def test_angles_without_sense_are_none(stack, angles):
    assert read_mrc(stack(old_fei(angles), sizes=(0, 32))).extended is None
    assert read_mrc(stack(fei(b"FEI1", angles), kind=b"FEI1")).tilt_angles_deg is None


@pytest.mark.parametrize("size", [0.0, -1e-9, np.nan, np.inf, 1.0, 1e-15, (1e-9, 2e-9, 1e-9)])
def test_pixel_sizes_without_sense_are_none(stack, size):
    data = read_mrc(stack(fei(b"FEI2", size_metre=size), kind=b"FEI2"))
    assert data.pixel_size_angstrom is None
    assert data.tilt_angles_deg == ANGLES


@pytest.mark.parametrize(
    ("sizes", "flags"),
    [((12, 29), 29), ((10, 28), 29), ((-10, 29), 29), ((10, -1), 29), ((10, 4096), 29), ((0, 0), 29)],
)
def test_sizes_that_do_not_add_up_say_nothing(stack, sizes, flags):
    extended, size, _ = seri(flags=flags)
    assert size == 10
    assert read_mrc(stack(extended, kind=b"SERI", sizes=sizes)).tilt_angles_deg is None


def test_extended_header_that_is_too_short_says_nothing(stack):
    extended, size, flags = seri()
    assert read_mrc(stack(extended[:-2], kind=b"SERI", sizes=(size, flags))).extended is None
    assert read_mrc(stack(fei(b"FEI1")[:-1], kind=b"FEI1")).extended is None
    assert read_mrc(stack(b"", kind=b"FEI1")).extended is None


def test_pieces_of_a_montage_are_no_views(stack):
    extended, size, flags = seri(flags=1 | 2)
    assert read_mrc(stack(extended, kind=b"SERI", sizes=(size, flags))).tilt_angles_deg is None


def test_stack_is_a_tilt_series_by_its_extended_header(stack, tmp_path, wedge):
    path = stack(old_fei(), sizes=(0, 32))
    notes = []
    tilts = formats.open_tilts(path, on_note=notes.append)
    assert tilts.geometry.tilt_angles_deg == ANGLES
    assert tilts.geometry.pixel_size_angstrom == 33.6
    assert f"tilt angles from the extended header of {path}" in notes
    assert any("pixel size 33.6 angstrom" in note and "the header of a.mrc says 1, which is not used" in note for note in notes)
    assert formats.kind_of(path) == "tilts"
    with pytest.raises(InputError, match="as many sections as its extended header has angles"):
        formats.open_volume(path)
    told = wedge("info", path).out
    assert "33.6 angstrom" in told
    assert "from the extended header of" in told


def test_list_beside_and_option_decide_over_the_extended_header(stack, tmp_path):
    path = stack(old_fei(), sizes=(0, 32))
    (tmp_path / "a.tlt").write_text("-1\n0\n1\n")
    tilts = formats.open_tilts(path, voxel_size_angstrom=5.0)
    assert (tilts.geometry.tilt_angles_deg, tilts.geometry.pixel_size_angstrom) == ((-1, 0, 1), 5.0)
