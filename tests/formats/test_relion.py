import numpy as np
import pytest

from wedge.errors import InputError
from wedge.formats.beside import read_alignment
from wedge.formats.star import read_star

GLOBAL = """# version 50001
data_global

loop_
_rlnTomoName #1
_rlnTomoHand #2
_rlnTomoTiltSeriesPixelSize #3
_rlnTomoTiltSeriesStarFile #4
TS_1 -1.0 2.5 Align/job004/tilt_series/TS_1.star
'TS 2' -1.0 5.0 Align/job004/tilt_series/TS_2.star
"""
SERIES = """# version 50001
data_TS_1

loop_
_rlnMicrographName #1
_rlnTomoXTilt #2
_rlnTomoYTilt #3
_rlnTomoZRot #4
_rlnTomoXShiftAngst #5
_rlnTomoYShiftAngst #6
_rlnMicrographPreExposure #7
a.mrc 0 -60 90 10 -5 6
b.mrc 0 0   90 "5" 0 0   # the first
c.mrc 0 60  90 0  0 3
"""


@pytest.fixture
def star(tmp_path):
    folder = tmp_path / "Align" / "job004"
    (folder / "tilt_series").mkdir(parents=True)

    def write(series=SERIES, table=GLOBAL):
        (folder / "tilt_series" / "TS_1.star").write_text(series)
        (folder / "aligned_tilt_series.star").write_text(table)
        return folder / "aligned_tilt_series.star"

    return write


def test_global_file_gives_pixel_size_and_the_series_by_the_name_of_the_stack(star):
    alignment = read_alignment(star(), stack="somewhere/TS_1.mrc")
    assert alignment.pixel_size_angstrom == 2.5
    assert alignment.tilt_angles_deg == (-60, 0, 60)
    assert alignment.dose_e_per_square_angstrom == (6, 0, 3)
    assert alignment.acquisition_order == (2, 0, 1)
    # The axis lies along -x: x of the raw view goes to -y, y to x.
    np.testing.assert_allclose(alignment.matrices[0], [[0, 1], [-1, 0]], atol=1e-12)
    np.testing.assert_allclose(alignment.shifts_pixels, [[2, 4], [0, 2], [0, 0]], atol=1e-12)


def test_series_file_takes_the_pixel_size_from_who_knows_it(star):
    series = star().parent / "tilt_series" / "TS_1.star"
    np.testing.assert_allclose(read_alignment(series, pixel_size_angstrom=5.0).shifts_pixels[0], [1, 2], atol=1e-12)
    with pytest.raises(InputError, match="pixel size unknown for the shifts"):
        read_alignment(series)


def test_x_tilt_is_told_not_to_be_applied(star):
    alignment = read_alignment(star(SERIES.replace("a.mrc 0", "a.mrc 1.5")), stack="TS_1.st")
    assert alignment.x_tilts_deg == (1.5, 0, 0)
    assert "rlnTomoXTilt" in alignment.notes[0]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("YTilt", "YTitl", "has no rlnTomoYTilt; align"),
        ("_rlnTomoYTilt #3", "_rlnTomoProjX #3", "projection matrices"),
        ("a.mrc 0 -60", "a.mrc 0 steep", "rlnTomoYTilt of tilt 0 .*'steep'"),
        ("a.mrc 0 -60", "a.mrc 0", "line 12 of .* has 6 values: expected 7"),
        ("_rlnTomoZRot", "_rlnTomoYTilt", "names column 'rlnTomoYTilt' a second time"),
        ("data_TS_1", "", "stands before the first data block"),
    ],
)
def test_what_is_wrong_with_a_series_is_told(star, before, after, message):
    with pytest.raises(InputError, match=message):
        read_alignment(star(SERIES.replace(before, after)), stack="TS_1.mrc")


def test_what_is_wrong_with_a_global_file_is_told(star):
    with pytest.raises(InputError, match="has 2 tilt series: name one"):
        read_alignment(star(), stack="TS_9.mrc")
    with pytest.raises(InputError, match=r"TS_2\.star, which is not there"):
        read_alignment(star(), stack="TS 2.mrc")
    with pytest.raises(InputError, match="expected angstrom from"):
        read_alignment(star(table=GLOBAL.replace("2.5", "1e-9")), stack="TS_1.mrc")


def test_blocks_of_single_values_quotes_and_comments_are_read(tmp_path):
    (tmp_path / "a.star").write_text("""
# comment
data_general
_a 'two words' # comment
_b "it's"
data_
loop_
_c
1
#2
it's
'b'c
""")
    blocks = read_star(tmp_path / "a.star")
    assert (blocks["general"].labels, blocks["general"].rows) == (["a", "b"], [["two words", "it's"]])
    assert blocks[""].column("c") == ["1", "it's", "'b'c"]
    assert blocks[""].column("d") is None
