"""What ``wedge import`` decides where files disagree, and what it refuses."""

import json
import os
import signal
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from wedge.slabs import read_sinograms
from wedge.store import open_tilts

ANGLES = tuple(range(-60, 61, 15))
COUNT = len(ANGLES)
VIEWS = np.random.default_rng(0).normal(size=(len(ANGLES), 20, 24)).astype(np.float32)


def write(path, views=VIEWS, pixel=2.0):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(views)
        file.set_image_stack()
        file.voxel_size = pixel
    return path


def write_xf(path, count=COUNT, shift=(0, 0)):
    path.write_text(f"1 0 0 1 {shift[0]} {shift[1]}\n" * count)


def write_angles(path, angles=ANGLES):
    path.write_text("".join(f"{angle}\n" for angle in angles))


def write_aln(path, angles, dark=(), total=COUNT):
    """Rows sorted by angle, SEC the place among them, as AreTomo writes them for a stack that it sorts itself."""
    lines = ["# AreTomo Alignment / Priims bprmMn", f"# RawSize = 24 20 {total}", "# NumPatches = 0"]
    lines += [f"# DarkFrame = {place} {place} {angle}" for place, angle in dark]
    used = [place for place in range(total) if place not in dict(dark)]
    lines += [f"{place} 0 1 0 0 1 1 1 0 {angle}" for place, angle in zip(used, angles, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def raw(tmp_path):
    stack = write(tmp_path / "a.mrc")
    write_angles(tmp_path / "a.tlt")
    return stack


def values(path):
    tilts = open_tilts(path)
    return read_sinograms(tilts, 0, tilts.array.shape[1]).transpose(1, 0, 2)


def test_alignment_beside_a_stack_is_applied_and_recorded(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf", shift=(3, 0))
    done = wedge("import", raw, "-o", tmp_path / "t.zarr", "--json")
    assert done.code == 0, done.err
    assert f"alignment from {tmp_path / 'a.xf'}" in done.err
    applied = json.loads(done.out)["alignment"]
    assert (applied["source"], applied["interpolated"]) == (str(tmp_path / "a.xf"), True)
    record = open_tilts(tmp_path / "t.zarr").provenance
    assert record["alignment"] == applied
    assert {str(tmp_path / name) for name in ("a.mrc", "a.xf", "a.tlt")} == {entry["path"] for entry in record["inputs"]}
    assert np.corrcoef(values(tmp_path / "t.zarr")[:, 4:-4, 7:-4].ravel(), VIEWS[:, 4:-4, 4:-7].ravel())[0, 1] > 0.95


def test_alignment_that_moves_nothing_leaves_every_value(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf")
    assert wedge("import", raw, "-o", tmp_path / "t.zarr").code == 0
    assert np.array_equal(values(tmp_path / "t.zarr"), VIEWS)


def test_none_leaves_the_alignment_beside_it(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf", shift=(3, 0))
    done = wedge("import", raw, "-o", tmp_path / "t.zarr", "--alignment", "none")
    assert (done.code, "a.xf lies beside" in done.err) == (0, True)
    assert np.array_equal(values(tmp_path / "t.zarr"), VIEWS)
    assert "alignment" not in open_tilts(tmp_path / "t.zarr").provenance


def test_nothing_is_aligned_twice(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf", shift=(3, 0))
    for output in ("t.zarr", "t.st"):
        assert wedge("import", raw, "-o", tmp_path / output).code == 0
        write_xf(tmp_path / "t.xf", shift=(3, 0))
        again = wedge("import", tmp_path / output, "-o", tmp_path / "u.zarr", "--overwrite")
        assert again.code == 0, again.err
        assert np.array_equal(values(tmp_path / "u.zarr"), values(tmp_path / "t.zarr"))
        for option in (["--alignment", tmp_path / "t.xf"], ["--tilt-axis", 10]):
            done = wedge("import", tmp_path / output, "-o", tmp_path / "v.zarr", *option)
            assert (done.code, "would align it twice" in done.error) == (2, True)
    # The copy of a copy knows it as well.
    assert wedge("import", tmp_path / "u.zarr", "-o", tmp_path / "v.zarr", "--alignment", tmp_path / "t.xf").code == 2


def test_store_that_was_imported_raw_can_be_aligned_later(wedge, raw, tmp_path):
    assert wedge("import", raw, "-o", tmp_path / "t.zarr").code == 0
    write_xf(tmp_path / "b.xf", shift=(3, 0))
    assert wedge("import", tmp_path / "t.zarr", "-o", tmp_path / "u.zarr", "--alignment", tmp_path / "b.xf").code == 0
    assert not np.array_equal(values(tmp_path / "u.zarr"), VIEWS)
    assert open_tilts(tmp_path / "u.zarr").geometry.pixel_size_angstrom == 2.0


def test_aligned_suffix_is_left_alone_and_doubted_where_its_bytes_are_raw(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf", shift=(3, 0))
    write(tmp_path / "a.ali", VIEWS + 1)
    os.utime(tmp_path / "a.ali", ns=(raw.stat().st_mtime_ns,) * 2)  # as old and as long, but not the same
    done = wedge("import", tmp_path / "a.ali", "-o", tmp_path / "t.zarr")
    assert (done.code, "same bytes" in done.err, "a.xf" in done.err) == (0, False, False)
    assert np.array_equal(values(tmp_path / "t.zarr"), VIEWS + 1)
    (tmp_path / "a.ali").write_bytes(raw.read_bytes())
    assert f"same bytes as {raw}: in spite of its name" in wedge("import", tmp_path / "a.ali", "-o", tmp_path / "u.zarr").err
    assert wedge("import", tmp_path / "a.ali", "-o", tmp_path / "v.zarr", "--alignment", tmp_path / "a.xf").code == 2


def test_sorted_alignment_is_matched_by_angle(wedge, tmp_path):
    acquired = sorted(ANGLES, key=lambda angle: (abs(angle), angle))
    order = [ANGLES.index(angle) for angle in acquired]
    stack = write(tmp_path / "a.mrc", VIEWS[order])
    write_angles(tmp_path / "a.rawtlt", acquired)
    write_aln(tmp_path / "a.aln", [angle + 0.3 for angle in ANGLES])
    done = wedge("import", stack, "-o", tmp_path / "t.zarr")
    assert (done.code, "matched by their angles" in done.err) == (0, True)
    assert open_tilts(tmp_path / "t.zarr").geometry.tilt_angles_deg == pytest.approx([angle + 0.3 for angle in acquired])
    write_angles(tmp_path / "a.rawtlt", [1.4 * angle for angle in acquired])
    done = wedge("import", stack, "-o", tmp_path / "u.zarr")
    assert (done.code, "are not those of" in done.error) == (3, True)


def test_dark_frames_are_left_out_and_explain_a_shorter_stack(wedge, raw, tmp_path):
    write_aln(tmp_path / "a.aln", ANGLES[1:-1], dark=[(0, -60), (8, 60)])
    done = wedge("import", raw, "-o", tmp_path / "t.zarr", "--exclude-views", "4")
    assert (done.code, "left out are the views 0, 4, 8" in done.err) == (0, True)
    assert np.array_equal(values(tmp_path / "t.zarr"), VIEWS[[1, 2, 3, 5, 6, 7]])
    write(raw, VIEWS[1:-1])
    done = wedge("import", raw, "-o", tmp_path / "u.zarr")
    assert (done.code, "is without these" in done.err) == (0, True), done.err
    assert open_tilts(tmp_path / "u.zarr").geometry.tilt_angles_deg == ANGLES[1:-1]


def test_counts_that_nothing_explains_are_refused_with_both(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf", 7)
    (tmp_path / "a.tlt").rename(tmp_path / "a.rawtlt")
    done = wedge("import", raw, "-o", tmp_path / "t.zarr")
    assert done.code == 3
    assert f"7 views in {tmp_path / 'a.xf'}, but 9 in {raw}" in done.error
    assert "--alignment" in done.error
    assert not (tmp_path / "t.zarr").exists()


def test_given_angles_decide(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf")
    write_angles(tmp_path / "other.tlt", [angle + 2.0 for angle in ANGLES])
    assert wedge("import", raw, "-o", tmp_path / "t.zarr", "--angles", tmp_path / "other.tlt").code == 0
    assert open_tilts(tmp_path / "t.zarr").geometry.tilt_angles_deg == tuple(angle + 2.0 for angle in ANGLES)


def test_pixel_size_order_and_dose_come_from_the_notes_of_the_microscope(wedge, tmp_path):
    stack = write(tmp_path / "a.mrc", VIEWS[:3], 1.0)
    sections = "".join(
        f"[ZValue = {view}]\nTiltAngle = {angle}\nExposureDose = 2.5\nDateTime = 01-Jan-26  10:0{time}:00\n"
        for view, (angle, time) in enumerate([(-3, 2), (0, 0), (3, 1)])
    )
    (tmp_path / "a.mrc.mdoc").write_text(f"PixelSpacing = 5.4\n[T = Tilt axis angle = 85.3, binning = 4]\n{sections}")
    done = wedge("import", stack, "-o", tmp_path / "t.zarr")
    assert done.code == 0, done.err
    assert "pixel size 5.4 angstrom, from a.mrc.mdoc; the header of a.mrc says 1, which is not used" in done.err
    assert "a.mrc.mdoc sees it at 85.3 degrees" in done.err  # told, and not turned by
    geometry = open_tilts(tmp_path / "t.zarr").geometry
    assert (geometry.pixel_size_angstrom, geometry.detector_shape) == (5.4, (20, 24))
    assert geometry.acquisition_order == (2, 0, 1)
    assert geometry.dose_e_per_square_angstrom == (5.0, 0.0, 2.5)
    turned = wedge("import", stack, "-o", tmp_path / "u.zarr", "--alignment", tmp_path / "a.mrc.mdoc", "--exclude-views", 1)
    assert turned.code == 0, turned.err
    geometry = open_tilts(tmp_path / "u.zarr").geometry
    assert geometry.detector_shape == (24, 20)
    assert geometry.dose_e_per_square_angstrom == (5.0, 2.5)
    assert wedge("import", stack, "-o", tmp_path / "v.zarr", "--voxel-size", 3).err.startswith("no alignment lies beside")
    assert open_tilts(tmp_path / "v.zarr").geometry.pixel_size_angstrom == 3


def test_crops_are_those_of_the_aligned_views(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf", shift=(2, 0))
    assert wedge("import", raw, "-o", tmp_path / "t.zarr").code == 0
    assert wedge("import", raw, "-o", tmp_path / "u.zarr", "--crop-y", 4, 12, "--crop-x", 6, 16).code == 0
    cropped = open_tilts(tmp_path / "u.zarr").geometry
    assert (cropped.detector_shape, cropped.volume_shape) == ((8, 24), (24, 8, 10))
    assert np.array_equal(values(tmp_path / "u.zarr"), values(tmp_path / "t.zarr")[:, 4:12])
    for output, options in (("b.zarr", []), ("c.zarr", ["--crop-y", 4, 12, "--crop-x", 6, 16])):
        assert wedge("import", raw, "-o", tmp_path / output, "--bin", 2, *options).code == 0
    cropped = open_tilts(tmp_path / "c.zarr").geometry
    assert (cropped.detector_shape, cropped.volume_shape) == ((4, 12), (12, 4, 5))
    assert cropped.volume_centre_pixels == (0.0, -0.5)  # columns 3 to 7 of 12
    assert np.array_equal(values(tmp_path / "c.zarr"), values(tmp_path / "b.zarr")[:, 2:6])
    assert wedge("import", raw, "-o", tmp_path / "d.zarr", "--bin", 2, "--crop-y", 4, "end").code == 0
    assert np.array_equal(values(tmp_path / "d.zarr"), values(tmp_path / "b.zarr")[:, 2:])


@pytest.mark.parametrize("pixel", [0.0, 1.0])
def test_header_that_nobody_filled_in_is_no_measure_of_shifts(pixel, wedge, raw, tmp_path):
    write(raw, VIEWS, pixel)
    labels = "".join(f"_rlnTomo{name}\n" for name in ("YTilt", "ZRot", "XShiftAngst", "YShiftAngst"))
    (tmp_path / "a.star").write_text(f"data_a\nloop_\n{labels}" + "".join(f"{angle} 0 6 0\n" for angle in ANGLES))
    done = wedge("import", raw, "-o", tmp_path / "t.zarr")
    assert (done.code, "--voxel-size" in done.error) == (3, True)
    assert wedge("import", raw, "-o", tmp_path / "t.zarr", "--voxel-size", 2).code == 0
    # 6 angstrom are 3 pixels.
    assert np.corrcoef(values(tmp_path / "t.zarr")[:, 4:-4, 4:-7].ravel(), VIEWS[:, 4:-4, 7:-4].ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("options", "code", "message"), [
    (["--tilt-axis", 5, "--alignment", "a.xf"], 2, "contradict each other"),
    (["--tilt-axis", "nan"], 2, "--tilt-axis is nan"),
    (["--alignment", "none.xf"], 3, "none.xf"),
    (["--alignment", "a.mrc"], 2, "no alignment that wedge knows"),
    (["--bin", 30], 2, "leaves nothing"),
    (["--alignment", "far.xf"], 3, "out of sight"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_line(options, code, message, wedge, raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_xf(tmp_path / "a.xf", shift=(1, 0))
    write_xf(tmp_path / "far.xf", shift=(400, 0))
    done = wedge("import", "a.mrc", "-o", "t.zarr", *options)
    assert (done.code, message in done.error) == (code, True), done.err
    assert sorted(os.listdir(tmp_path)) == ["a.mrc", "a.tlt", "a.xf", "far.xf"]


def test_other_commands_say_that_they_do_not_align(wedge, raw, tmp_path):
    write_xf(tmp_path / "a.xf")
    done = wedge("fbp", raw, "-o", tmp_path / "v.zarr", "--thickness", 4)
    assert (done.code, f"{tmp_path / 'a.xf'} lies beside {raw} and is not applied" in done.err) == (0, True)


def test_info_tells_what_lies_beside_a_raw_stack(wedge, raw, tmp_path):
    assert "beside" not in wedge("info", raw).out
    write_xf(tmp_path / "a.xf")
    assert f"{tmp_path / 'a.xf'}, which wedge import applies" in wedge("info", raw).out
    assert json.loads(wedge("info", raw, "--json").out)["beside"] == [str(tmp_path / "a.xf")]


def test_sigterm_while_aligning_leaves_nothing(raw, tmp_path):
    write_xf(tmp_path / "a.xf", shift=(1, 0))
    before = sorted(os.listdir(tmp_path))
    code = (
        "import time, wedge.resample as resample\n"
        "def wait(*_, **__):\n    print('waiting', flush=True)\n    time.sleep(60)\n"
        "resample.ViewResampler.__call__ = wait\n"
        "from wedge.cli import main\nmain()"
    )
    command = [sys.executable, "-c", code, "import", str(raw), "-o", str(tmp_path / "t.zarr")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert sorted(os.listdir(tmp_path)) == before
