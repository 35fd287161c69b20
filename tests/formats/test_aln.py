from pathlib import Path

import numpy as np
import pytest

from wedge.errors import InputError
from wedge.formats.aln import read_aln

REAL = Path(__file__).resolve().parents[1] / "data" / "alignments" / "aretomo" / "test.aln"
OLD = """# AreTomo Alignment / Priims bprmMn
# RawSize = 64 48 6
# NumPatches = 0
# DarkFrame =     0    0   -60.00
# DarkFrame =     4    0    36.00
# AlphaOffset =     1.00
# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT
    0   85.0  1.0   1.0  -2.0  1 1 1 0 -35.0
    1   85.0  1.0   2.0  -2.0  1 1 1 0 -11.0
    2   85.0  1.0   3.0  -2.0  1 1 1 0  13.0
    3   85.0  1.0   4.0  -2.0  1 1 1 0  61.0
"""


@pytest.fixture
def aln(tmp_path):
    def write(text):
        (tmp_path / "a.aln").write_text(text)
        return read_aln(tmp_path / "a.aln")

    return write


def test_lines_fill_the_places_that_are_not_dark(aln):
    alignment = aln(OLD)
    assert alignment.excluded_views == (0, 4)
    assert alignment.tilt_angles_deg == (-60, -35, -11, 13, 36, 61)
    turned = np.array([[np.cos(np.deg2rad(85)), np.sin(np.deg2rad(85))], [-np.sin(np.deg2rad(85)), np.cos(np.deg2rad(85))]])
    np.testing.assert_allclose(alignment.matrices[5], turned)
    np.testing.assert_allclose(alignment.shifts_pixels[5], -turned @ [4, -2])
    np.testing.assert_array_equal(alignment.matrices[4], np.eye(2))


def test_dark_frames_count_from_one_where_the_angles_say_so(aln):
    text = OLD.replace("=     0    0   -60", "=     1    0   -60").replace("=     4    0 ", "=     5    0 ")
    assert aln(text).excluded_views == (0, 4)


def test_sections_of_the_raw_stack_decide_where_they_name_all_of_it(aln):
    """AreTomo 3 sorts by angle, and keeps where each view is in the stack."""
    text = OLD.replace("=     0    0 ", "=     1    6 ").replace("=     4    0 ", "=     5    2 ")
    for old, new in ((" 0   85", " 5   85"), (" 1   85", " 1   85"), (" 2   85", " 3   85"), (" 3   85.0  1.0   4", " 4   85.0  1.0   4")):
        text = text.replace(f"   {old}", f"   {new}", 1)
    alignment = aln(text)
    assert alignment.excluded_views == (1, 5)
    assert alignment.tilt_angles_deg == (-11, 36, 13, 61, -35, -60)


def test_real_table_that_is_cut_short_is_read():
    alignment = read_aln(REAL)
    assert alignment.num_views == 90
    assert alignment.used_views == (3, 4, 5, 6)
    assert [alignment.tilt_angles_deg[view] for view in alignment.used_views] == [-61.5, -60.0, -58.5, -57.0]
    np.testing.assert_allclose(alignment.rotations_deg[3:7], 12.6611)
    assert "6 local alignments" in alignment.notes[0]
    assert "82 of 90 views are neither aligned nor dark" in alignment.notes[1]


def test_head_may_be_missing_or_say_more(aln):
    bare = "\n".join(line for line in OLD.splitlines() if not line.startswith("# ") or "SEC" in line)
    assert aln(bare).num_views == 4
    assert aln(OLD.replace("# NumPatches", "# Thickness = 300\n# NumPatches")).thickness_pixels == 300
    assert "BetaOffset 2 degrees" in aln(OLD.replace("# NumPatches", "# BetaOffset = 2.0\n# NumPatches")).notes[0]
    assert aln(OLD + "# Local Alignment\n 0 0 1.0 2.0\n").notes[0].startswith("1 local alignments")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (OLD, "1 2 3\n", "not an .aln file"),
        ("    3   85.0", "    2   85.0", "SEC 2 stands twice"),
        ("    3   85.0", "    9   85.0", ""),
        ("RawSize = 64 48 6", "RawSize = 64 48 5", "SEC 3 of .* is not in its stack of 5 views"),
        ("=     4    0 ", "=     9    0 ", "dark frames of .* are numbered"),
        (" 61.0", " 261.0", "TILT in line 11 of .* is 261.0"),
        (" 61.0", "", "line 11 of .* has 9 columns"),
        ("4.0  -2.0", "inf  -2.0", "line 11 of .* is inf"),
    ],
)
def test_what_is_wrong_is_told(aln, before, after, message):
    if not message:
        assert aln(OLD.replace(before, after)).num_views == 6  # the order decides where the counts agree
        return
    with pytest.raises(InputError, match=message):
        aln(OLD.replace(before, after))
