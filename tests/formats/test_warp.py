import numpy as np
import pytest

from wedge.errors import InputError
from wedge.formats.beside import find_beside, read_alignment

XML = """<?xml version="1.0" encoding="utf-8"?>
<TiltSeries LevelAngleX="0" LevelAngleY="0" AreAnglesInverted="True">
<Angles>-60
0
60</Angles><AxisAngle>90
90
90</AxisAngle><AxisOffsetX>10
5
0</AxisOffsetX><AxisOffsetY>-5
0
0</AxisOffsetY><UseTilt>True
True
False</UseTilt><Dose>6
0
3</Dose>
<GridMovementX><Node X="0" Y="0" Z="0" Value="0"/></GridMovementX>
<CTF><Param Name="PixelSize" Value="2.5"/></CTF></TiltSeries>
"""


@pytest.fixture
def xml(tmp_path):
    def write(before="", after=""):
        assert before in XML
        (tmp_path / "a.xml").write_text("\ufeff" + XML.replace(before, after, 1) if before else XML, encoding="utf-8")
        return tmp_path / "a.xml"

    return write


def test_tilts_are_read_with_the_sign_of_the_microscope(xml):
    alignment = read_alignment(xml())
    assert alignment.tilt_angles_deg == (60, 0, -60)
    assert alignment.pixel_size_angstrom == 2.5
    assert alignment.excluded_views == (2,)
    assert alignment.dose_e_per_square_angstrom == (6, 0, 3)
    assert alignment.acquisition_order == (2, 0, 1)
    np.testing.assert_allclose(alignment.matrices[0], [[0, 1], [-1, 0]], atol=1e-12)
    np.testing.assert_allclose(alignment.shifts_pixels, [[2, 4], [0, 2], [0, 0]], atol=1e-12)
    assert not alignment.notes


def test_pixel_size_that_is_given_decides(xml):
    np.testing.assert_allclose(read_alignment(xml(), pixel_size_angstrom=5.0).shifts_pixels[0], [1, 2], atol=1e-12)


def test_levelling_about_y_is_a_tilt_offset_and_the_rest_is_told(xml):
    assert read_alignment(xml('LevelAngleY="0"', 'LevelAngleY="2"')).tilt_angle_offset_deg == -2
    assert "LevelAngleX 3" in read_alignment(xml('LevelAngleX="0"', 'LevelAngleX="3"')).notes[0]
    assert "local warps" in read_alignment(xml('Value="0"', 'Value="0.5"')).notes[0]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("<Angles>-60", "<Angles>steep", "Angles of tilt 0 .*'steep'"),
        ("<AxisAngle>90", "<AxisAngle>", "AxisAngle in .* has 2 values: expected 3"),
        ("<UseTilt>True", "<UseTilt>", "UseTilt in .* has 2 values"),
        ("</Angles>", "", "not the XML"),
        ("<Param Name", "<Param Eman", "pixel size unknown for the offsets"),
        ("<TiltSeries L", "<!DOCTYPE a><TiltSeries L", "declares a document type"),
    ],
)
def test_what_is_wrong_is_told(xml, before, after, message):
    with pytest.raises(InputError, match=message):
        read_alignment(xml(before, after))


def test_other_xml_beside_a_stack_is_no_alignment(xml, tmp_path):
    assert find_beside(tmp_path / "a.mrc").alignments == ()
    assert find_beside(xml().with_suffix(".mrc")).alignments == (tmp_path / "a.xml",)
    (tmp_path / "a.xml").write_text("<Movie/>")
    assert find_beside(tmp_path / "a.mrc").alignments == ()
    with pytest.raises(InputError, match="describes 'Movie'"):
        read_alignment(tmp_path / "a.xml")
