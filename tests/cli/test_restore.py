"""``wedge restore`` from the command line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from wedge import formats
from wedge.fit.config import RestoreConfig
from wedge.restore.halves import Units
from wedge.restore.memory import Footprint

SHAPE = (18, 20, 24)
ANGLES = tuple(float(angle) for angle in range(-60, 61, 4))
QUICK = ["--steps", "4", "--cube", "16", "--channels", "2"]


def write_volume(path: str, values: np.ndarray, angles: tuple[float, ...] | None = ANGLES) -> None:
    with formats.create_volume(path, values.shape, voxel_size_angstrom=5.0, tilt_angles_deg=angles) as writer:
        writer.write_rows(0, np.ascontiguousarray(values.transpose(1, 0, 2)))
        writer.commit({})


@pytest.fixture(autouse=True)
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with two halves as stores, and as files that do not know their angles."""
    monkeypatch.chdir(tmp_path)
    rough = np.random.default_rng(9).standard_normal(SHAPE)
    common = 2 * (rough + np.roll(rough, 1, 2) + np.roll(rough, 1, 1))
    for seed, name in enumerate(("a", "b")):
        values = (common + np.random.default_rng(seed).standard_normal(SHAPE)).astype(np.float32)
        write_volume(f"{name}.zarr", values)
        write_volume(f"{name}.mrc", values, None)
    write_volume("other.zarr", np.zeros((18, 20, 26), dtype=np.float32))


def test_volume_keeps_what_is_known_and_how_it_was_made(wedge) -> None:
    done = wedge("restore", "a.zarr", "b.zarr", "-o", "out.zarr", *QUICK, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["steps"], told["cube"], told["channels"], told["seed"]) == (4, 16, 2, 0)
    volume = formats.open_volume("out.zarr")
    assert volume.array.shape == SHAPE
    assert volume.voxel_size_angstrom == pytest.approx(5.0)
    assert volume.tilt_angles_deg == ANGLES
    assert np.isfinite(volume.array[:]).all()
    assert [Path(entry["path"]).name for entry in volume.provenance["inputs"]] == ["a.zarr", "b.zarr"]
    assert volume.provenance["config"]["steps"] == 4


def test_steps_are_those_that_are_given_else_those_that_the_halves_ask_for(wedge, monkeypatch) -> None:
    def steps(*words: str) -> int:
        done = wedge("restore", "a.zarr", "b.zarr", "-o", "out.zarr", "--cube", "16", "--channels", "1", "--json", "--overwrite", *words)
        assert done.code == 0, done.err
        return json.loads(done.out)["steps"]

    monkeypatch.setattr(Units, "common", 0.7)
    assert steps("--steps", "2") == 2
    asked = []

    def spy(config: RestoreConfig, common: float, voxels: int, ways: int = 1) -> list[int]:
        asked.append((config.steps, config.clear_above, config.small_voxels, common, voxels))
        return [2, 1]

    monkeypatch.setattr(RestoreConfig, "parts_for", spy)
    assert steps() == 3
    assert set(asked) == {(600, 0.6, 2**19, 0.7, math.prod(SHAPE))}
    asked.clear()
    steps("--steps", "2")
    assert set(asked) == {(2, 1.0, 0, 0.7, math.prod(SHAPE))}, "neither clarity nor size ask for others"


@pytest.mark.parametrize("pays", [True, False])
def test_memory_is_counted_in_the_precision_that_the_network_computes_in(wedge, monkeypatch, pays: bool) -> None:
    seen: list[bool] = []
    monkeypatch.setattr("wedge.restore.network.half_precision_pays", lambda device: pays)
    found = Footprint.voxels_within
    monkeypatch.setattr(Footprint, "voxels_within", lambda self, *given: (seen.append(self.half_precision), found(self, *given))[1])
    done = wedge("restore", "a.zarr", "b.zarr", "-o", "out.zarr", *QUICK, "--json")
    assert seen == [json.loads(done.out)["precision"] == "bfloat16"] == [pays]


def test_files_that_do_not_know_their_angles_are_told_them(wedge) -> None:
    refused = wedge("restore", "a.mrc", "b.mrc", "-o", "out.mrc", *QUICK)
    assert (refused.code, "--tilt-range" in refused.err) == (3, True)
    done = wedge("restore", "a.mrc", "b.mrc", "-o", "out.mrc", *QUICK, "--tilt-range", "-60", "60")
    assert done.code == 0, done.err
    wedge("restore", "a.zarr", "b.zarr", "-o", "out.zarr", *QUICK)
    assert np.allclose(formats.open_volume("out.mrc").array[:], formats.open_volume("out.zarr").array[:], atol=1e-5)


def test_cubes_are_as_small_as_the_volume_needs_and_a_line_says_so(wedge) -> None:
    done = wedge("restore", "a.zarr", "b.zarr", "-o", "out.zarr", "--steps", "1", "--channels", "1")
    assert done.code == 0
    assert "cubes of 16 voxels" in done.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["a.zarr", "a.zarr", "-o", "out.zarr"], 2, "one path"),
        (["a.zarr", "other.zarr", "-o", "out.zarr"], 3, "other.zarr"),
        (["a.zarr", "none.zarr", "-o", "out.zarr"], 3, "none.zarr"),
        (["a.zarr", "b.zarr", "-o", "b.zarr"], 5, "b.zarr"),
        (["a.zarr", "b.zarr", "-o", "out.zarr", "--tilt-range", "60", "-60"], 2, "lower one first"),
        (["a.zarr", "b.zarr", "-o", "out.zarr", "--steps", "0"], 2, "steps"),
        (["a.zarr", "b.zarr", "-o", "out.zarr", "--device", "tpu"], 2, "tpu"),
        (["a.zarr", "b.zarr", "-o", "out.zarr", "--max-memory", "1MB"], 6, "--max-memory"),
    ],
)
def test_wrong_input_is_a_line_and_leaves_nothing(wedge, words: list[str], code: int, told: str) -> None:
    done = wedge("restore", *words)
    assert done.code == code
    assert told in done.err
    assert not Path("out.zarr").exists()


def test_existing_output_is_kept_unless_told(wedge) -> None:
    words = ["restore", "a.zarr", "b.zarr", "-o", "out.zarr", *QUICK]
    assert wedge(*words).code == 0
    refused = wedge(*words)
    assert refused.code == 5
    assert "--overwrite" in refused.err
    assert wedge(*words, "--overwrite").code == 0
