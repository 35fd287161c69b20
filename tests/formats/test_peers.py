"""What other libraries read in the same files, and files that they write."""

import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from wedge.formats.beside import read_alignment
from wedge.formats.mdoc import read_mdoc
from wedge.formats.star import read_star

REAL = Path(__file__).resolve().parents[1] / "data" / "alignments"
NAME = "mka2018-10-01-1"
SIZE = (3708, 3838, 59)


@pytest.fixture
def peer(monkeypatch):
    """Cryoet-alignment, without the client of a cloud that it imports."""
    monkeypatch.setitem(sys.modules, "s3fs", types.ModuleType("s3fs"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("cryoet_alignment")
        from cryoet_alignment.io.cryoet_data_portal import alignment as portal
        from cryoet_alignment.io.imod import ImodAlignment

        yield types.SimpleNamespace(Alignment=portal.Alignment, Imod=ImodAlignment)


@pytest.fixture
def theirs(peer, tmp_path):
    """The real IMOD alignment as the peer reads it, its volume 1000 x 1000 x 300 unbinned pixels."""
    for ending in (".xf", ".tlt"):
        (tmp_path / f"{NAME}{ending}").write_bytes((REAL / "imod" / f"{NAME}{ending}").read_bytes())
    return peer.Alignment.from_imod(peer.Imod.read(base_name=str(tmp_path / NAME)), vol_size=(1000, 1000, 300))


@pytest.fixture
def ours(theirs, tmp_path):
    return read_alignment(tmp_path / f"{NAME}.xf")


def write_aln(theirs, folder):
    (folder / "a.aln").write_text(str(theirs.to_aretomo(SIZE)))
    return folder / "a.aln"


def write_warp(theirs, folder):
    (folder / "a.xml").write_text(str(theirs.to_warp(2.5, SIZE[:2])))
    return folder / "a.xml"


def write_relion(theirs, folder):
    theirs.to_relion("a", 2.5).to_file(folder / "tomograms.star")
    return folder / "tomograms.star"


@pytest.mark.parametrize("write", [write_aln, write_warp, write_relion])
def test_one_alignment_reads_the_same_in_every_format(write, theirs, ours, tmp_path):
    read = read_alignment(write(theirs, tmp_path))
    np.testing.assert_allclose(read.matrices, ours.matrices, atol=2e-4)  # IMOD's has a magnification of views, others have none
    np.testing.assert_allclose(read.shifts_pixels, ours.shifts_pixels, atol=2e-2)
    np.testing.assert_allclose(read.tilt_angles_deg, ours.tilt_angles_deg, atol=1e-2)
    assert read.pixel_size_angstrom in (None, 2.5)


def test_sections_of_the_peer_are_ours(theirs, ours):
    np.testing.assert_allclose([section.tilt_angle for section in theirs.per_section_alignment_parameters], ours.tilt_angles_deg)
    np.testing.assert_allclose([section.tilt_axis_rotation for section in theirs.per_section_alignment_parameters], -ours.rotations_deg)


def test_mdoc_is_read_as_mdocfile_reads_it():
    mdocfile = pytest.importorskip("mdocfile")
    path = REAL / "serialem" / "TS_01.mrc.mdoc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = mdocfile.read(path)
    ours = read_mdoc(path)
    np.testing.assert_allclose(ours.tilt_angles_deg, table["TiltAngle"].astype(float))
    assert ours.pixel_size_angstrom == float(table["PixelSpacing"].iloc[0])
    assert ours.binning == float(table["Binning"].iloc[0])
    assert [Path(str(name).replace("\\", "/")).name for name in ours.frame_paths] == [
        Path(str(name).replace("\\", "/")).name for name in table["SubFramePath"]
    ]


def test_star_is_read_as_starfile_reads_it(theirs, tmp_path):
    starfile = pytest.importorskip("starfile")
    path = write_relion(theirs, tmp_path).parent / "tilt_series" / "a.star"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = starfile.read(path)
    block = read_star(path)["a"]
    assert block.labels == list(table.columns)
    np.testing.assert_allclose(np.asarray(block.rows, dtype=float), table.to_numpy(dtype=float))
