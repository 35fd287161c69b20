import json
import re

import numpy as np
import pytest

from wedge import store
from wedge.geometry import TiltGeometry
from wedge.spheres import chords, make_spheres

SHAPE = (12, 24, 40)


@pytest.fixture(scope="module")
def shaken(tmp_path_factory):
    """A series whose views jump by whole pixels along y."""
    path = tmp_path_factory.mktemp("align") / "tilts.zarr"
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 15)), SHAPE[1:], SHAPE)
    sinograms = chords(make_spheres(SHAPE, 100), geometry, 0, SHAPE[1])
    for view, shift in enumerate(np.random.default_rng(3).integers(-2, 3, 15)):
        sinograms[:, view] = np.roll(sinograms[:, view], shift, axis=0)
    with store.create_tilts(path, geometry) as writer:
        writer.write_rows(0, sinograms)
        writer.commit({"made": "for a test"})
    return path


def test_align_writes_the_series_and_its_transforms(wedge, shaken, tmp_path):
    out, transforms = tmp_path / "aligned.zarr", tmp_path / "aligned.xf"
    done = wedge("align", shaken, "-o", out, "--alignment-out", transforms, "--max-shift", 4, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    aligned = store.open_tilts(out)
    assert told["applied"]
    assert told["held_out_error_after"] < told["held_out_error_before"]
    assert aligned.provenance["alignment"]["transforms"] == told["transforms"]
    assert aligned.provenance["source"] == {"made": "for a test"}
    lines = np.loadtxt(transforms)
    assert lines.shape == (15, 6)
    assert np.allclose(lines[:, 4], told["transforms"]["dx_pixels"], atol=1e-3)
    assert np.allclose(lines[:, 5], told["transforms"]["dy_pixels"], atol=1e-3)
    assert np.allclose(np.rad2deg(np.arctan2(lines[:, 2], lines[:, 0])), told["transforms"]["rotation_deg"], atol=1e-3)
    again = wedge("align", out, "-o", tmp_path / "again.zarr", "--max-shift", 4)
    assert again.code == 0
    assert "left as it is" in again.err
    assert np.array_equal(store.open_tilts(tmp_path / "again.zarr").array[:], aligned.array[:])


def test_align_refuses_what_is_there_and_what_makes_no_sense(wedge, shaken, tmp_path):
    there = tmp_path / "there.xf"
    there.write_text("")
    assert wedge("align", shaken, "-o", tmp_path / "a.zarr", "--alignment-out", there).code == 5
    assert wedge("align", shaken, "-o", shaken).code == 5
    assert "--finest" in wedge("align", shaken, "-o", tmp_path / "a.zarr", "--finest", "x").error
    assert wedge("align", tmp_path / "none.zarr", "-o", tmp_path / "a.zarr").code == 3
    assert not (tmp_path / "a.zarr").exists()


def test_check_geometry_tells_what_fits_and_writes_it(wedge, shaken, tmp_path):
    out = tmp_path / "fixed.zarr"
    done = wedge("check-geometry", shaken, "--max-offset", 0, "-o", out)
    assert done.code == 0, done.err
    assert re.search(r"^axis along x .*\d", done.out, re.MULTILINE)
    assert "the views alone cannot tell" in done.out
    assert done.out.splitlines()[-1] == str(out)
    fixed = store.open_tilts(out)
    told = fixed.provenance["geometry_check"]["chosen"]["axis_offset_pixels"]
    assert fixed.geometry.axis_offset_pixels == pytest.approx(told, abs=1e-3)


def test_check_geometry_refuses_a_reference_that_is_no_volume(wedge, shaken):
    assert wedge("check-geometry", shaken, "--reference", shaken).code == 3


def test_what_wedge_aligned_is_not_aligned_again(wedge, shaken, tmp_path):
    out, transforms = tmp_path / "aligned.zarr", tmp_path / "aligned.xf"
    assert wedge("align", shaken, "-o", out, "--alignment-out", transforms, "--max-shift", 4).code == 0
    assert wedge("import", out, "-o", tmp_path / "same.zarr").code == 0
    assert np.array_equal(store.open_tilts(tmp_path / "same.zarr").array[:], store.open_tilts(out).array[:])
    twice = wedge("import", out, "-o", tmp_path / "twice.zarr", "--alignment", transforms)
    assert twice.code == 2
    assert "was aligned by wedge align" in twice.error


def test_transforms_are_of_raw_pixels_and_of_all_views(wedge, shaken, tmp_path):
    transforms = tmp_path / "a.xf"
    done = wedge("align", shaken, "-o", tmp_path / "a.zarr", "--bin", 2, "--alignment-out", transforms, "--max-shift", 4, "--json")
    told = json.loads(done.out)["transforms"]
    assert np.abs(told["dy_pixels"]).max() > 0.1
    assert np.allclose(np.loadtxt(transforms)[:, 5], 2 * np.array(told["dy_pixels"]), atol=2e-3)
    for part in (("--crop-y", 0, 12), ("--views", "even"), ("--exclude-views", "0"), ("--tilt-range", -50, 50)):
        refused = wedge("align", shaken, "-o", tmp_path / "b.zarr", "--alignment-out", tmp_path / "b.xf", *part)
        assert refused.code == 2
        assert not (tmp_path / "b.xf").exists()
