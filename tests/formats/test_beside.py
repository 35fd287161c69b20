import mrcfile
import numpy as np
import pytest

from wedge.errors import InputError, UsageError
from wedge.formats import open_tilts
from wedge.formats.beside import Beside, find_beside, find_mdoc, read_alignment
from wedge.import_plan import plan_import
from wedge.reading import AS_STORED, Reading

XF = "1 0 0 1 2 3\n1 0 0 1 4 5\n"
ALN = "# AreTomo Alignment\n# SEC ROT\n0 0 1 1 1 1 1 1 0 -3\n1 0 1 1 1 1 1 1 0 3\n"


def test_nothing_lies_beside_a_lonely_stack(tmp_path):
    (tmp_path / "other.xf").write_text(XF)
    assert find_beside(tmp_path / "a.mrc") == Beside()


def test_first_alignment_is_imods(tmp_path):
    (tmp_path / "a.aln").write_text(ALN)
    assert find_beside(tmp_path / "a.mrc").alignments == (tmp_path / "a.aln",)
    (tmp_path / "a.xf").write_text(XF)
    assert find_beside(tmp_path / "a.st").alignments == (tmp_path / "a.xf", tmp_path / "a.aln")


def test_mdoc_has_the_name_of_the_stack_with_or_without_its_suffix(tmp_path):
    assert find_mdoc(tmp_path / "a.mrc") is None
    (tmp_path / "a.mdoc").touch()
    assert find_mdoc(tmp_path / "a.mrc") == tmp_path / "a.mdoc"
    (tmp_path / "a.mrc.mdoc").touch()
    assert find_mdoc(tmp_path / "a.mrc") == tmp_path / "a.mrc.mdoc"
    assert find_beside(tmp_path / "a.mrc").mdoc == tmp_path / "a.mrc.mdoc"


def test_damaged_command_file_belongs_to_nobody(tmp_path):
    (tmp_path / "newst.com").write_bytes(b"\0\0")
    (tmp_path / "tilt.com").write_text("nothing of the kind")
    assert find_beside(tmp_path / "a.mrc") == Beside()


def test_dark_views_are_of_the_stack_and_left_out(tmp_path):
    dark = ALN.replace("# SEC", "# RawSize = 8 8 3\n# DarkFrame = 1 0 0.0\n# SEC")
    (tmp_path / "a.aln").write_text(dark)
    whole = read_alignment(tmp_path / "a.aln")
    assert (whole.excluded_views, whole.tilt_angles_deg, whole.notes) == ((1,), (-3, 0, 3), ())


def test_what_is_no_alignment_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"expected one of \.xf, \.com, \.aln, \.star, \.xml, \.mdoc"):
        read_alignment(tmp_path / "a.txt")
    for name in ("a.xf", "newst.com", "a.aln", "a.star", "a.xml", "a.mdoc"):
        with pytest.raises(InputError, match=r"cannot read .*No such file"):
            read_alignment(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=r"cannot read .*directory"):
            read_alignment(tmp_path / name)
    (tmp_path / "tilt.com").write_text("$tilt -StandardInput\nTHICKNESS 3\n")
    with pytest.raises(InputError, match="holds no transforms"):
        read_alignment(tmp_path / "tilt.com")


def test_notes_of_the_microscope_say_the_pixel_size_before_the_header_but_not_for_an_aligned_stack(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    for name, spacing in (("a.mrc", 1.0), ("a.ali", 13.6)):
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(values)
            file.set_image_stack()
            file.voxel_size = spacing
    (tmp_path / "a.tlt").write_text("0\n3\n")
    (tmp_path / "a.mdoc").write_text("PixelSpacing = 3.42\n[ZValue = 0]\nTiltAngle = 0\n[ZValue = 1]\nTiltAngle = 3\n")
    assert open_tilts(tmp_path / "a.mrc").geometry.pixel_size_angstrom == pytest.approx(3.42)
    assert open_tilts(tmp_path / "a.ali").geometry.pixel_size_angstrom == pytest.approx(13.6)
    assert plan_import(tmp_path / "a.ali", AS_STORED).series.geometry.pixel_size_angstrom == pytest.approx(13.6)
    assert open_tilts(tmp_path / "a.mrc", voxel_size_angstrom=5.0).geometry.pixel_size_angstrom == 5.0
    with pytest.raises(UsageError, match="--voxel-size"):
        plan_import(tmp_path / "a.mrc", Reading(voxel_size_angstrom=-1.0))


@pytest.mark.parametrize(("given", "fallback", "pixels"), [(None, 4.0, 5.0), (2.5, 4.0, 4.0), (None, None, 5.0)])
def test_shifts_in_angstrom_are_divided_by_what_decides(tmp_path, given, fallback, pixels):
    path = tmp_path / "a.xml"
    path.write_text(
        '<TiltSeries><CTF><Param Name="PixelSize" Value="2" /></CTF><Angles>0\n3</Angles><AxisAngle>0\n0</AxisAngle>'
        "<AxisOffsetX>10\n10</AxisOffsetX><AxisOffsetY>0\n0</AxisOffsetY></TiltSeries>"
    )
    read = read_alignment(path, pixel_size_angstrom=given, fallback_pixel_size_angstrom=fallback)
    np.testing.assert_allclose(np.abs(read.shifts_pixels[:, 0]), pixels)
    assert read.pixel_size_angstrom == (given or 2.0)
