from pathlib import Path

import numpy as np
import pytest

from wedge.errors import InputError
from wedge.formats.beside import find_beside, read_alignment
from wedge.formats.com import read_com, views_of

REAL = Path(__file__).resolve().parents[1] / "data" / "alignments" / "imod"
NAME = "mka2018-10-01-1"


@pytest.fixture
def folder(tmp_path):
    """Copy the real alignment; a call replaces text in one of its files."""
    for file in REAL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    def change(name="tilt.com", before="", after=""):
        text = (tmp_path / name).read_text()
        assert before in text
        (tmp_path / name).write_text(text.replace(before, after, 1))
        return tmp_path / "newst.com"

    return change


def test_real_alignment_is_read_in_full(folder):
    alignment = read_alignment(folder())
    assert alignment.num_views == 59
    assert alignment.tilt_angles_deg[::58] == (-52.24, 63.76)
    assert (alignment.binning, alignment.output_shape, alignment.thickness_pixels) == (4, (958, 928), 2000.0)
    # The aligned view is 3712 wide, the full image 3708 and begins 2 before it: the axis stays in the middle.
    assert alignment.axis_offset_pixels == 0
    assert alignment.volume_shift_pixels == (0, 0)
    assert alignment.tilt_angle_offset_deg == 0
    assert alignment.excluded_views == ()
    np.testing.assert_allclose(alignment.matrices[0], [[-0.1813379, -0.9834202], [0.9834202, -0.1813379]])
    np.testing.assert_allclose(alignment.shifts_pixels[0], [-58.170, 69.816])


def test_every_way_in_gives_the_same(folder, tmp_path):
    first = read_alignment(folder())
    for second in (read_alignment(tmp_path / f"{NAME}.xf"), read_alignment(tmp_path / f"{NAME}.xf", stack=tmp_path / f"{NAME}.mrc")):
        np.testing.assert_array_equal(first.shifts_pixels, second.shifts_pixels)
        assert (first.binning, first.thickness_pixels, first.output_shape) == (second.binning, second.thickness_pixels, second.output_shape)


@pytest.mark.parametrize(
    ("after", "field", "value"),
    [
        ("EXCLUDELIST2 1,3-5\nOFFSET 0.0", "excluded_views", (0, 2, 3, 4)),
        ("EXCLUDELIST 2 59\nOFFSET 0.0", "excluded_views", (1, 58)),
        ("OFFSET 1.5", "tilt_angle_offset_deg", 1.5),
        ("OFFSET 1.5 8", "axis_offset_pixels", 8.0),
        ("OFFSET 0 8", "volume_shift_pixels", (0, -8.0)),
    ],
)
def test_tilt_com_says(folder, after, field, value):
    assert getattr(read_alignment(folder(before="OFFSET 0.0", after=after)), field) == value


def test_shift_moves_the_volume_the_other_way_in_x_and_with_rows_downwards_in_z(folder):
    assert read_alignment(folder(before="SHIFT 0.0 0.0", after="SHIFT 10 -6")).volume_shift_pixels == (-6, -10)


def test_axis_follows_the_subset(folder):
    assert read_alignment(folder(before="SUBSETSTART -2", after="SUBSETSTART 10")).axis_offset_pixels == 1854 - 10 - 1856


def test_offsets_are_taken_off_after_the_transform_or_before_it(folder):
    plain = read_alignment(folder())
    after = read_alignment(folder("newst.com", "OffsetsInXandY\t0.0,0.0", "OffsetsInXandY 5,-7"))
    np.testing.assert_allclose(after.shifts_pixels - plain.shifts_pixels, np.tile([-5, 7], (59, 1)))
    before = read_alignment(folder("newst.com", "OffsetsInXandY 5,-7", "OffsetsInXandY 5,-7\nApplyOffsetsFirst"))
    np.testing.assert_allclose(before.shifts_pixels - plain.shifts_pixels, -plain.matrices @ [5, -7])


def test_what_is_not_applied_is_told(folder):
    assert not read_alignment(folder()).notes
    alignment = read_alignment(folder(before="XAXISTILT 0.0", after="XAXISTILT 2.5\nLOCALFILE a.xf"))
    assert alignment.x_axis_tilt_deg == 2.5
    assert "XAXISTILT 2.5" in alignment.notes[0]
    assert "LOCALFILE" in alignment.notes[1]


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("tilt.com", "IMAGEBINNED 4", "IMAGEBINNED 2", "IMAGEBINNED 2, but newst.com bins by 4"),
        ("tilt.com", "OFFSET 0.0", "EXCLUDELIST 60", "view 59 is excluded"),
        ("tilt.com", "OFFSET 0.0", "EXCLUDELIST 5-3", "'5-3': expected views"),
        ("tilt.com", "OFFSET 0.0", "EXCLUDELIST 1-999999999", "expected views"),
        ("tilt.com", "THICKNESS 2000", "THICKNESS thick", "THICKNESS of .* is 'thick'"),
        ("tilt.com", "OFFSET 0.0", "OFFSET 1 2 3", "OFFSET in .* has 3 numbers: expected 1 or 2"),
        ("newst.com", "BinByFactor\t4", "BinByFactor 0", "BinByFactor of .* expected a whole number from 1"),
        ("newst.com", "TransformFile", "#TransformFile", "names no TransformFile"),
        ("newst.com", "AdjustOrigin", "SectionsToRead 0-9", "SectionsToRead"),
        (f"{NAME}.tlt", "-52.24\n", "", "58 values in .*tlt, but 59 transforms"),
        (f"{NAME}.xf", "-0.1813379", "nan", "line 1 of .* is nan"),
        (f"{NAME}.xf", "-0.1813379", "", "line 1 of .*: expected six numbers"),
    ],
)
def test_what_is_wrong_is_told(folder, name, before, after, message):
    newst = folder(name, before, after)
    with pytest.raises(InputError, match=message):
        read_alignment(newst)


def test_options_of_other_programs_are_left_out(tmp_path):
    (tmp_path / "a.com").write_text("$tilt -StandardInput\nEXCLUDE 3\n$newstack -StandardInput\nEXCLUDE 4\n")
    assert views_of(read_com(tmp_path / "a.com", "tilt"), "EXCLUDE", tmp_path) == (3,)
    with pytest.raises(InputError, match="not a command file that runs clip"):
        read_com(tmp_path / "a.com", "clip")


def test_command_files_belong_to_the_stack_that_they_name(folder, tmp_path):
    folder()
    found = find_beside(tmp_path / f"{NAME}.mrc")
    assert (found.newst, found.tilt, found.alignments) == (tmp_path / "newst.com", tmp_path / "tilt.com", (tmp_path / f"{NAME}.xf",))
    other = find_beside(tmp_path / "other.mrc")
    assert (other.newst, other.tilt, other.alignments) == (None, None, ())
