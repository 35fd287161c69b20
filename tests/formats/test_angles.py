from dataclasses import replace

import numpy as np
import pytest

from wedge import formats
from wedge.errors import InputError
from wedge.formats.angles import find_angles, read_angles
from wedge.geometry import TiltGeometry


@pytest.fixture
def angle_list(tmp_path):
    def write(text):
        path = tmp_path / "a.tlt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_angles_are_read_in_order(angle_list):
    assert read_angles(angle_list(" -60.00\n0\n\n  4.5e1\r\n-3\n")) == (-60.0, 0.0, 45.0, -3.0)


def test_mark_of_a_windows_editor_is_no_angle(angle_list):
    assert read_angles(angle_list(b"\xef\xbb\xbf-60\r\n0\r\n")) == (-60, 0)


def test_repeats_of_some_angles_are_kept(angle_list):
    assert read_angles(angle_list("0\n0\n3\n")) == (0, 0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-60\nabc\n", r"line 2 of .*a\.tlt is 'abc': expected one tilt angle"),
        ("-60 1\n", r"line 1 of .* is '-60 1'"),
        ("1,5\n", r"is '1,5'"),
        ("1\nnan\n", r"line 2 of .* is nan: expected degrees within"),
        ("1\n\ninf\n", r"line 3 of .* is inf"),
        ("181\n", r"is 181\.0: expected degrees"),
        ("", "no tilt angles in"),
        ("\n \n", "no tilt angles in"),
        ("3\n3\n3\n", r"all 3 tilt angles in .* equal 3\.0"),
        (b"\xff\xfe\x00", "is no text"),
        ("0\n" * 2**24, r"not a list of tilt angles: .* bytes"),
    ],
)
def test_what_is_no_angle_list_is_refused(angle_list, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_angles(angle_list(text))
    assert "\n" not in str(caught.value)


def test_missing_list_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot read tilt angles .*No such file"):
        read_angles(tmp_path / "none.tlt")


def test_list_is_found_by_the_name_of_the_stack(tmp_path):
    assert find_angles(tmp_path / "a.mrc") is None
    (tmp_path / "b.rawtlt").touch()
    assert find_angles(tmp_path / "a.mrc") is None
    (tmp_path / "a.rawtlt").touch()
    assert find_angles(tmp_path / "a.mrc") == tmp_path / "a.rawtlt"
    assert find_angles(tmp_path / "a.st") == tmp_path / "a.rawtlt"
    (tmp_path / "a.tlt").touch()
    assert find_angles(tmp_path / "a.mrc") == tmp_path / "a.tlt"


def test_real_lists_are_read(shared_data):
    assert read_angles(shared_data / "alignments" / "imod" / "tilt_1.tlt")[::58] == (-52.24, 63.76)
    assert read_angles(shared_data / "alignments" / "aretomo" / "test.rawtlt") == (-66.0, -64.5, -63.0)


def test_given_angles_leave_the_rest_of_a_recorded_geometry(tmp_path):
    geometry = TiltGeometry((-3.0, 0.0, 3.0), (4, 6), (5, 4, 6), 2.0, axis_offset_pixels=1.5).with_volume((5, 4, 6), 1.0, (1.0, -3.0))
    with formats.create_tilts(tmp_path / "a.mrc", geometry) as writer:
        writer.write_rows(0, np.zeros((4, 3, 6), np.float32))
        writer.commit({})
    (tmp_path / "other.tlt").write_text("-4\n0\n4\n")
    assert formats.open_tilts(tmp_path / "a.mrc", angles=tmp_path / "other.tlt").geometry == replace(
        geometry, tilt_angles_deg=(-4.0, 0.0, 4.0)
    )
