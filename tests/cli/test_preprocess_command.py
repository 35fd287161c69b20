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
