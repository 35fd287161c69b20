"""Beads off the centre, seen by a microscope that turns and shifts its views, come back to their places through import and fbp."""

import sys
import types
import warnings

import mrcfile
import numpy as np
import pytest

from wedge.store import open_tilts, open_volume

# (x, y, z) from the tilt axis in raw pixels: no rotation and no exchange of axes maps them onto their mirror image.
BEADS = np.array([(12.3, -8.6, 3.4), (-9.8, 11.2, -6.7), (4.1, 3.3, 9.5), (-3.2, -13.4, -2.2)])
BRIGHTNESS = (1.0, 1.3, 1.6, 1.9)
SIGMA = 2.0
ANGLES = np.arange(-66, 67, 4.0)
PIXEL = 2.5
THICKNESS = 36


def alignment_of(seed, rotation):
    """Return matrices and shifts as IMOD writes them, other ones for every view."""
    random = np.random.default_rng(seed)
    turns = np.deg2rad(rotation + random.uniform(-1.5, 1.5, len(ANGLES)))
    matrices = np.array([[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in turns])
    return matrices, random.uniform(-6, 6, (len(ANGLES), 2))


def render(shape, matrices, shifts, magnification=1.0):
    """Return the raw views of the beads, from the formula of a Gaussian: nothing is interpolated."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    views = np.zeros((len(ANGLES), *shape), np.float32)
    for view, theta in enumerate(np.deg2rad(ANGLES)):
        for (x, y, z), brightness in zip(BEADS, BRIGHTNESS, strict=True):
            aligned = np.array([x * np.cos(theta) + z * np.sin(theta), y])
            at = np.linalg.solve(matrices[view], aligned - shifts[view])
            squared = (columns - (shape[1] - 1) / 2 - at[0]) ** 2 + (rows - (shape[0] - 1) / 2 - at[1]) ** 2
            views[view] += brightness * np.exp(-squared * magnification**2 / (2 * SIGMA**2))
    return views


def write_stack(path, views, pixel=PIXEL):
    with mrcfile.new(path) as file:
        file.set_data(views)
        file.set_image_stack()
        file.voxel_size = pixel


def write_imod(folder, matrices, shifts):
    lines = (" ".join(f"{value:.7f}" for value in (*m.ravel(), *s)) for m, s in zip(matrices, shifts, strict=True))
    (folder / "a.xf").write_text("\n".join(lines) + "\n")
    (folder / "a.tlt").write_text("".join(f"{angle:.2f}\n" for angle in ANGLES))


def rewrite(folder, program, shape, monkeypatch):
    """Let a peer turn the alignment of IMOD into that of another program, and leave nothing of IMOD's."""
    monkeypatch.setitem(sys.modules, "s3fs", types.ModuleType("s3fs"))
    size = (shape[1], shape[0], len(ANGLES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("cryoet_alignment")
        from cryoet_alignment.io.cryoet_data_portal.alignment import Alignment
        from cryoet_alignment.io.imod import ImodAlignment

        theirs = Alignment.from_imod(ImodAlignment.read(base_name=str(folder / "a")), vol_size=(shape[1], shape[0], THICKNESS))
        if program == "aln":
            (folder / "a.aln").write_text(str(theirs.to_aretomo(size)))
        elif program == "xml":
            (folder / "a.xml").write_text(str(theirs.to_warp(PIXEL, size[:2])))
        else:
            theirs.to_relion("a", PIXEL).to_file(folder / "a.star")
    (folder / "a.xf").unlink()
    (folder / "a.tlt").unlink()


def places_of_beads(volume, expected):
    """Return where the volume is highest around each expected place, from parabolas through the logarithms of three voxels."""
    found = []
    for place in expected:
        start = np.round(place).astype(int)
        box = tuple(slice(max(c - 3, 0), c + 4) for c in start)
        top = np.unravel_index(volume[box].argmax(), volume[box].shape) + np.array([s.start for s in box])
        fine = []
        for axis in range(3):
            step = np.eye(3, dtype=int)[axis]
            low, mid, high = (np.log(max(volume[tuple(top + d * step)], 1e-6)) for d in (-1, 0, 1))
            fine.append(top[axis] + 0.5 * (low - high) / (low - 2 * mid + high))
        found.append(fine)
    return np.array(found)


def expected_places(shape, binning):
    """Return ``(bead, (z, y, x))`` indices in a volume."""
    return BEADS[:, ::-1] / binning + (np.array(shape) - 1) / 2


def reconstruct(wedge, tilts, folder):
    assert wedge("fbp", tilts, "-o", folder / "v.zarr", "--filter", "hamming").code == 0
    return np.asarray(open_volume(folder / "v.zarr").array[:])


@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize(("program", "shape", "rotation"), [
    ("xf", (58, 65), 85.0), ("xf", (65, 60), -12.0), ("aln", (58, 65), 85.0), ("star", (65, 58), -86.0), ("xml", (61, 63), 94.0),
])  # fmt: skip
def test_beads_are_where_they_are(program, shape, rotation, binning, wedge, tmp_path, monkeypatch):
    matrices, shifts = alignment_of(3, rotation)
    write_stack(tmp_path / "a.mrc", render(shape, matrices, shifts))
    write_imod(tmp_path, matrices, shifts)
    if program != "xf":
        rewrite(tmp_path, program, shape, monkeypatch)
    done = wedge("import", tmp_path / "a.mrc", "-o", tmp_path / "t.zarr", "--bin", binning, "--thickness", THICKNESS // binning)
    assert done.code == 0, done.err
    geometry = open_tilts(tmp_path / "t.zarr").geometry
    turned = shape[::-1] if abs(rotation) > 45 else shape
    assert geometry.detector_shape == tuple(size // binning for size in turned)
    assert geometry.pixel_size_angstrom == pytest.approx(PIXEL * binning)
    volume = reconstruct(wedge, tmp_path / "t.zarr", tmp_path)
    expected = expected_places(volume.shape, binning)
    assert np.abs(places_of_beads(volume, expected) - expected).max() < 0.3 / binning
    heights = [volume[tuple(np.round(place).astype(int))] for place in expected]
    assert np.argsort(heights).tolist() == [0, 1, 2, 3]


def test_command_files_of_imod_are_honoured(wedge, tmp_path):
    matrices, shifts = alignment_of(5, 80.0)
    # The aligned view is cut so that the axis lies off its middle, the volume is moved, and the specimen is tilted by 7 degrees more.
    write_stack(tmp_path / "a.mrc", render((60, 66), matrices, shifts))
    write_imod(tmp_path, matrices, shifts)
    (tmp_path / "a.tlt").write_text("".join(f"{angle - 7:.2f}\n" for angle in ANGLES))
    (tmp_path / "newst.com").write_text(
        "$newstack -StandardInput\nInputFile a.mrc\nOutputFile a_ali.mrc\nTransformFile a.xf\n"
        "SizeToOutputInXandY 32,34\nOffsetsInXandY 3.0,0.0\nBinByFactor 2\n"
    )
    (tmp_path / "tilt.com").write_text(
        "$tilt -StandardInput\nInputProjections a_ali.mrc\nOutputFile a_rec.mrc\nIMAGEBINNED 2\nTILTFILE a.tlt\nTHICKNESS 40\n"
        "OFFSET 7.0 -3.0\nSHIFT 2.0 4.0\nEXCLUDELIST 1,30-31\nXAXISTILT 1.5\n"
    )
    done = wedge("import", tmp_path / "a.mrc", "-o", tmp_path / "t.zarr", "--bin", 2, "--exclude-views", "5")
    assert done.code == 0, done.err
    assert "XAXISTILT 1.5 degrees" in done.err
    assert "left out are the views 0, 5, 29, 30" in done.err
    assert "7 degrees are added" in done.err
    tilts = open_tilts(tmp_path / "t.zarr")
    assert tilts.geometry.detector_shape == (34, 32)
    assert tilts.geometry.volume_shape == (20, 34, 32)
    assert tilts.geometry.tilt_angles_deg == tuple(angle for view, angle in enumerate(ANGLES) if view not in (0, 5, 29, 30))
    # Offsets are of the aligned view, OFFSET of the axis: -3 each way. The volume's centre lies 4 pixels in z and 1 in x from the axis.
    assert tilts.geometry.axis_offset_pixels == -1.5
    assert tilts.geometry.volume_centre_pixels == (2.0, 0.5)
    volume = reconstruct(wedge, tmp_path / "t.zarr", tmp_path)
    expected = expected_places(volume.shape, 2) - np.array([2.0, 0, 0.5])
    assert np.abs(places_of_beads(volume, expected) - expected).max() < 0.3


def test_views_that_are_only_turned(wedge, tmp_path):
    turns = np.deg2rad(np.full(len(ANGLES), -85.3))
    matrices = np.array([[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in turns])
    write_stack(tmp_path / "a.mrc", render((58, 65), matrices, np.zeros((len(ANGLES), 2))))
    (tmp_path / "a.rawtlt").write_text("".join(f"{angle:.2f}\n" for angle in ANGLES))
    assert wedge("import", tmp_path / "a.mrc", "-o", tmp_path / "t.zarr", "--tilt-axis", 85.3).code == 0
    volume = reconstruct(wedge, tmp_path / "t.zarr", tmp_path)
    expected = expected_places(volume.shape, 1)
    assert np.abs(places_of_beads(volume, expected) - expected).max() < 0.3
