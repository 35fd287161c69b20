"""``wedge preprocess``: what it refuses, in a line, and what it tells."""

from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.geometry import TiltGeometry

GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 9)), (32, 40), (16, 32, 40))


@pytest.fixture
def tilts(tmp_path: Path) -> Path:
    path = tmp_path / "tilts.zarr"
    views = np.random.default_rng(0).normal(size=(9, 32, 40)).astype(np.float32)
    with store.create_tilts(path, GEOMETRY) as writer:
        writer.write_rows(0, views.transpose(1, 0, 2))
        writer.commit({})
    return path


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "nothing to do"),
        (["--log", "--ice-thickness"], 2, "contradict"),
        (["--gold", "erase"], 2, "needs the size of the beads"),
        (["--gold-diameter-pixels", "6"], 2, "not what to do with them"),
        (["--gold", "mask", "--gold-diameter-nm", "6"], 2, "needs the pixel size"),
        (["--gold", "mask", "--gold-diameter-nm", "6", "--gold-diameter-pixels", "6"], 2, "give one"),
        (["--gold", "mask", "--gold-diameter-pixels", "30"], 2, "expected 3 to 8"),
        (["--dose-weight"], 2, "needs the pixel size"),
        (["--dose-weight", "--voxel-size", "2"], 2, "needs the dose before each view"),
        (["--beam", "3"], 2, "belongs to --log"),
        (["--taper", "17"], 2, "at most half"),
        (["--log"], 3, "needs positive intensities"),
        (["--ice-thickness"], 3, "needs positive intensities"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_left(wedge, tilts, tmp_path, options, code, words) -> None:
    outcome = wedge("preprocess", tilts, "-o", tmp_path / "out.zarr", *options)
    assert outcome.code == code
    assert words in outcome.error
    assert {path.name for path in tmp_path.iterdir()} == {"tilts.zarr"}


@pytest.mark.parametrize(("text", "words"), [("1\n2\n", "2 doses"), ("one\n", "cannot read"), ("-1\n" * 9, "0 or more")])
def test_a_wrong_list_of_doses_is_refused(wedge, tilts, tmp_path, text, words) -> None:
    doses = tmp_path / "doses.txt"
    doses.write_text(text)
    outcome = wedge("preprocess", tilts, "-o", tmp_path / "out.zarr", "--dose-weight", "--dose", doses, "--voxel-size", "2")
    assert outcome.code == 3
    assert words in outcome.error


def test_each_step_is_told_in_the_order_in_which_it_was_done_and_recorded(wedge, tilts, tmp_path) -> None:
    outcome = wedge(
        "preprocess", tilts, "-o", tmp_path / "out.zarr", "--taper", "4", "--invert", "--normalize", "deviation", "--hot-pixels"
    )
    assert outcome.code == 0
    names = ["hot pixels", "invert", "normalize", "taper"]
    assert [line.split(":")[0] for line in outcome.err.splitlines() if line.split(":")[0] in names] == names
    assert list(store.open_tilts(tmp_path / "out.zarr").provenance["config"]["found"]) == names


def test_masks_are_told_by_info_and_lost_with_a_word_in_mrc(wedge, tilts, tmp_path) -> None:
    gold = ["--gold", "mask", "--gold-diameter-pixels", "5"]
    assert wedge("preprocess", tilts, "-o", tmp_path / "out.zarr", *gold).code == 0
    assert "weights" in wedge("info", tmp_path / "out.zarr").out
    assert wedge("import", tmp_path / "out.zarr", "-o", tmp_path / "again.zarr").code == 0
    assert store.open_tilts(tmp_path / "again.zarr").weights is not None
    for command in (["preprocess", tilts, "-o", tmp_path / "out.mrc", *gold], ["export", tmp_path / "out.zarr", "-o", tmp_path / "e.mrc"]):
        assert "weights are not written" in wedge(*command).err


def test_bad_pixels_are_looked_for_before_views_are_binned(wedge, tmp_path) -> None:
    draws = np.random.default_rng(0)
    views = draws.normal(size=(9, 32, 40)).astype(np.float32)
    places = [(view, 5 + 3 * view, 4 + 4 * view) for view in range(8)]
    for view, y, x in places:
        views[view, y, x] += 12
    weights = np.ones(views.shape, np.float32)
    weights[3, 10:14, 20:24] = 0
    with store.create_tilts(tmp_path / "raw.zarr", GEOMETRY, weighted=True) as writer:
        writer.write_rows(0, views.transpose(1, 0, 2))
        writer.write_weights(0, weights.transpose(1, 0, 2))
        writer.commit({})
    part = ["--crop-y", 1, 30, "--exclude-views", "8"]
    once = wedge("preprocess", tmp_path / "raw.zarr", "-o", tmp_path / "once.zarr", "--hot-pixels", "--bin", 4, *part, "--thickness", 3)
    assert once.code == 0, once.err
    assert once.err.count("hot pixels: ") == once.err.count("hot pixels: 8 pixels in single views") == 1
    assert wedge("preprocess", tmp_path / "raw.zarr", "-o", tmp_path / "fine.zarr", "--hot-pixels", *part).code == 0
    assert wedge("import", tmp_path / "fine.zarr", "-o", tmp_path / "twice.zarr", "--bin", 4, "--thickness", 3).code == 0
    first, second = (store.open_tilts(tmp_path / name) for name in ("once.zarr", "twice.zarr"))
    assert first.geometry == second.geometry
    np.testing.assert_allclose(first.array[:], second.array[:], atol=1e-6)
    assert np.array_equal(first.weights[:], second.weights[:])
    # After binning none of them stands out: all eight would have stayed.
    assert wedge("import", tmp_path / "raw.zarr", "-o", tmp_path / "coarse.zarr", "--bin", 4, *part).code == 0
    late = wedge("preprocess", tmp_path / "coarse.zarr", "-o", tmp_path / "late.zarr", "--hot-pixels")
    assert "hot pixels: 0 pixels in single views" in late.err
