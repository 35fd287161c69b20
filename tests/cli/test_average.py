"""``wedge average`` from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from wedge import formats, store
from wedge.geometry import TiltGeometry

SHAPE = (6, 9, 8)
ANGLES = (-40.0, 0.0, 40.0)


def array(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def write_volume(path: str, values: np.ndarray, voxel_size_angstrom: float | None = 5.0) -> None:
    with formats.create_volume(path, values.shape, voxel_size_angstrom=voxel_size_angstrom, tilt_angles_deg=ANGLES) as writer:
        writer.write_rows(0, np.ascontiguousarray(values.transpose(1, 0, 2)))
        writer.commit({})


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three volumes."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.zarr", "b.zarr", "c.mrc")):
        write_volume(name, array(seed))
    return tmp_path


def test_mean_and_spread_are_written_with_all_that_is_known(wedge) -> None:
    done = wedge("average", "a.zarr", "b.zarr", "c.mrc", "-o", "mean.zarr", "--std", "std.mrc")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["mean.zarr", "std.mrc"]
    stack = np.stack([array(seed) for seed in range(3)]).astype(np.float64)
    mean, std = formats.open_volume("mean.zarr"), formats.open_volume("std.mrc")
    assert mean.array[:] == pytest.approx(stack.mean(axis=0), abs=1e-6)
    assert std.array[:] == pytest.approx(stack.std(axis=0, ddof=1), abs=1e-6)
    assert mean.voxel_size_angstrom == pytest.approx(5.0)
    assert std.voxel_size_angstrom == pytest.approx(5.0)
    assert mean.tilt_angles_deg == ANGLES
    assert [Path(entry["path"]).name for entry in mean.provenance["inputs"]] == ["a.zarr", "b.zarr", "c.mrc"]


def test_json_states_how_spread_was_computed(wedge) -> None:
    result = json.loads(wedge("average", "a.zarr", "b.zarr", "-o", "mean.zarr", "--json").out)
    assert result["output"] == "mean.zarr"
    assert result["std"] is None
    assert (result["volumes"], result["ddof"]) == (2, 1)
    expected = np.sqrt(np.stack([array(0), array(1)]).astype(np.float64).var(axis=0, ddof=1).mean())
    assert result["rms_spread"] == pytest.approx(expected, rel=1e-6)


def test_existing_output_is_kept_unless_told(wedge) -> None:
    assert wedge("average", "a.zarr", "b.zarr", "-o", "mean.zarr").code == 0
    refused = wedge("average", "a.zarr", "c.mrc", "-o", "mean.zarr")
    assert (refused.code, refused.out) == (5, "")
    assert formats.open_volume("mean.zarr").array[:] == pytest.approx((array(0) + array(1)) / 2, abs=1e-6)
    assert wedge("average", "a.zarr", "c.mrc", "-o", "mean.zarr", "--overwrite").code == 0
    assert formats.open_volume("mean.zarr").array[:] == pytest.approx((array(0) + array(2)) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["a.zarr", "missing.zarr", "-o", "m.zarr"], 3, "missing.zarr"),
        (["a.zarr", "short.zarr", "-o", "m.zarr"], 3, "a.zarr has (6, 9, 8), short.zarr has (6, 8, 8)"),
        (["a.zarr", "coarse.zarr", "-o", "m.zarr"], 3, "a.zarr has 5 A, coarse.zarr has 10 A"),
        (["a.zarr", "tilts.zarr", "-o", "m.zarr"], 3, "is a tilt series, expected a volume"),
        (["a.zarr", "nan.zarr", "-o", "m.zarr", "--std", "s.zarr"], 3, "NaN or infinite values in nan.zarr, y-row 4"),
        (["a.zarr", "b.zarr", "-o", "none/m.zarr"], 3, "none"),
        (["a.zarr", "-o", "m.zarr", "--std", "s.zarr"], 2, "spread of one volume"),
        (["a.zarr", "a.zarr", "-o", "m.zarr"], 2, "named twice"),
        (["a.zarr", "b.zarr", "-o", "a.zarr", "--overwrite"], 5, "also an input"),
        (["a.zarr", "b.zarr", "-o", "m.zarr", "--std", "m.zarr"], 2, "one path"),
        (["a.zarr", "b.zarr", "-o", "m.tif"], 2, "m.tif"),
        (["a.zarr", "b.zarr", "-o", "m.zarr", "--std", "there.zarr"], 5, "there.zarr"),
    ],
)
def test_bad_input_is_one_line_with_its_code_and_leaves_nothing(files: Path, wedge, arguments: list[str], code: int, says: str) -> None:
    write_volume("short.zarr", array(0)[:, :8])
    write_volume("coarse.zarr", array(0), voxel_size_angstrom=10.0)
    write_volume("there.zarr", array(0))
    spoiled = array(0)
    spoiled[2, 4, 1] = np.nan
    write_volume("nan.zarr", spoiled)
    with store.create_tilts("tilts.zarr", TiltGeometry(ANGLES, SHAPE[1:], SHAPE)) as writer:
        writer.write_rows(0, np.zeros((SHAPE[1], 3, SHAPE[2]), np.float32))
        writer.commit({})
    before = sorted(path.name for path in files.iterdir())
    done = wedge("average", *arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("wedge: error: ")
    assert done.err.count("\n") == 1
    assert says in done.err
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize("places", [("-o", "a.zarr"), ("-o", "mean.zarr", "--std", "c.mrc")])
def test_an_input_is_never_replaced(wedge, places: tuple[str, ...]) -> None:
    told = wedge("average", "a.zarr", "c.mrc", *places, "--overwrite")
    assert told.code == 5
    assert "also an input" in told.error
