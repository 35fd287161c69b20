from pathlib import Path

import numpy as np
import pytest

from wedge.errors import InputError
from wedge.formats.angles import find_angles, read_angles
from wedge.formats.mdoc import mdoc_alignment, read_mdoc

REAL = Path(__file__).resolve().parents[1] / "data" / "alignments" / "serialem" / "TS_01.mrc.mdoc"

MDOC = """PixelSpacing = 5.4

[T = SerialEM: somewhere]

[ZValue = 1]
TiltAngle = 3.5
Note = TiltAngle = 9

[ZValue = 0]
StageZ = 1
TiltAngle = -60.02

[FrameSet = 0]
TiltAngle = 7
"""


@pytest.fixture
def mdoc(tmp_path):
    def write(text):
        (tmp_path / "a.mrc.mdoc").write_text(text, encoding="latin-1")
        return tmp_path / "a.mrc.mdoc"

    return write


def test_angles_are_in_the_order_of_the_stack(mdoc):
    assert read_angles(mdoc(MDOC)) == (-60.02, 3.5)
    assert read_angles(mdoc(MDOC.replace("somewhere", "Å"))) == (-60.02, 3.5)


def test_mdoc_beside_the_stack_is_found_last(mdoc, tmp_path):
    path = mdoc(MDOC)
    assert find_angles(tmp_path / "a.mrc") == path
    (tmp_path / "a.rawtlt").touch()
    assert find_angles(tmp_path / "a.mrc") == tmp_path / "a.rawtlt"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[ZValue = 0]", "[ZValue = 3]", "not numbered from 0 to 1"),
        ("TiltAngle = 3.5", "Tilt = 3", "view 1 has no TiltAngle"),
        ("3.5", "steep", "TiltAngle of view 1 of .* is 'steep'"),
        ("ZValue", "MontSection", "no tilt angles in"),
    ],
)
def test_what_is_wrong_with_an_mdoc_is_told(mdoc, before, after, message):
    with pytest.raises(InputError, match=message):
        read_angles(mdoc(MDOC.replace(before, after)))


def test_real_mdoc_is_read(shared_data):
    angles = read_angles(shared_data / "alignments" / "serialem" / "TS_01.mrc.mdoc")
    assert len(angles) == 41
    assert angles[0] == 0.000999877
    assert max(angles) > 55
    assert min(angles) < -55


VIEWS = """PixelSpacing = 2.7
ImageFile = C:\\data\\a.mrc

[T = SerialEM: Digitized on a microscope]

[T =     Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 2]

[ZValue = 0]
TiltAngle = -3
ExposureDose = 2
DateTime = 31-Dec-15  23:59:50
Binning = 2

[ZValue = 1]
TiltAngle = 0
ExposureDose = 3
DateTime = 31-Dec-15  23:58:00
Binning = 2

[ZValue = 2]
TiltAngle = 3
ExposureDose = 4
DateTime = 01-Jan-16  00:01:00
Binning = 2
"""


def test_everything_of_a_view_is_read(mdoc):
    notes = read_mdoc(mdoc(VIEWS))
    assert notes.tilt_angles_deg == (-3, 0, 3)
    assert notes.acquisition_order == (1, 0, 2)  # over the end of a year
    assert notes.dose_e_per_square_angstrom == (3, 0, 5)
    assert notes.exposure_e_per_square_angstrom == (2, 3, 4)
    assert (notes.pixel_size_angstrom, notes.tilt_axis_angle_deg, notes.binning, notes.image_file) == (2.7, 85.3, 2, "a.mrc")


@pytest.mark.parametrize(
    ("before", "after", "field", "value"),
    [
        ("PixelSpacing = 2.7", "", "pixel_size_angstrom", None),
        ("Tilt axis angle = 85.3", "", "tilt_axis_angle_deg", None),
        ("23:58:00", "late", "acquisition_order", (0, 1, 2)),
        ("31-Dec-15", "31-Dec-2015", "acquisition_order", (1, 0, 2)),
        ("ExposureDose = 3", "", "dose_e_per_square_angstrom", None),
        ("ExposureDose = 3", "ExposureDose = -3", "dose_e_per_square_angstrom", None),
        ("TiltAngle = 0", "", "tilt_angles_deg", (-3, None, 3)),
        ("TiltAngle = 0", "TiltAngle = nan", "tilt_angles_deg", (-3, None, 3)),
    ],
)
def test_what_is_missing_or_without_sense_is_left_open(mdoc, before, after, field, value):
    assert before in VIEWS
    assert getattr(read_mdoc(mdoc(VIEWS.replace(before, after, 1))), field) == value


def test_one_rule_where_parts_of_an_mdoc_disagree(mdoc):
    spaced = VIEWS.replace("Binning = 2", "Binning = 2\nPixelSpacing = 5.4\nRotationAngle = 100\nPriorRecordDose = 7")
    notes = read_mdoc(mdoc(spaced))
    assert notes.pixel_size_angstrom == 5.4  # of the views, over the head's
    assert notes.tilt_axis_angle_deg == 85.3  # of the title, over the stage's rotation
    assert notes.dose_e_per_square_angstrom == (7, 7, 7)  # as recorded, over the sum
    assert read_mdoc(mdoc(spaced.replace("Tilt axis angle", "Tilt axis"))).tilt_axis_angle_deg == 10
    assert read_mdoc(mdoc(spaced.replace("PixelSpacing = 5.4", "PixelSpacing = 9", 1))).pixel_size_angstrom == 2.7


def test_rotation_of_the_stage_and_the_title_agree_in_the_real_mdoc():
    text = REAL.read_text()
    notes = read_mdoc(REAL)
    assert (notes.tilt_axis_angle_deg, notes.pixel_size_angstrom, notes.binning, notes.num_views) == (85.3, 5.4, 4, 41)
    assert "RotationAngle = 175.3" in text
    assert notes.acquisition_order == tuple(range(41))
    assert notes.dose_e_per_square_angstrom is None
    assert notes.frame_paths[1].endswith("TS_01_001_3.0.mrc")


def test_tilt_axis_comes_along_y(mdoc):
    alignment = mdoc_alignment(mdoc(VIEWS))
    axis = [-np.sin(np.deg2rad(85.3)), np.cos(np.deg2rad(85.3))]  # counterclockwise from y
    np.testing.assert_allclose(alignment.matrices @ axis, np.tile([0, 1], (3, 1)), atol=1e-12)
    assert not alignment.shifts_pixels.any()
    with pytest.raises(InputError, match="does not say where the tilt axis is"):
        mdoc_alignment(mdoc(MDOC))
