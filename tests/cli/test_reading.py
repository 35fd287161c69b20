"""Options of reading are the same for every command that reads a tilt series, and mean the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from wedge import store
from wedge.cli.reading import reads_tilts
from wedge.reading import AS_STORED, Reading


@pytest.fixture(scope="module")
def tilts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wedge.simulate import simulate_spheres

    folder = tmp_path_factory.mktemp("reading")
    simulate_spheres(folder, shape=(12, 20, 40), num_tilts=15, tilt_range_deg=(-60, 60), seed=5)
    return folder / "tilts.zarr"


def values(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(str(path / "0"), mode="r")[:])


def test_a_cropped_reconstruction_is_that_part_of_the_whole(wedge: Callable, tilts: Path, tmp_path: Path) -> None:
    for name, options in (("whole", ()), ("part", ("--crop-x", 6, 17, "--crop-y", 4, 15))):
        assert wedge("fbp", tilts, "-o", tmp_path / f"{name}.zarr", *options).code == 0
    part = values(tmp_path / "part.zarr")
    assert part.shape == (12, 11, 11)
    np.testing.assert_allclose(part, values(tmp_path / "whole.zarr")[:, 4:15, 6:17], atol=2e-5)


def test_a_binned_reconstruction_is_coarser_and_says_so(wedge: Callable, tilts: Path, tmp_path: Path) -> None:
    for name, options in (("whole", ()), ("coarse", ("--bin", 2))):
        assert wedge("fbp", tilts, "-o", tmp_path / f"{name}.zarr", *options).code == 0
    fine, coarse = values(tmp_path / "whole.zarr"), values(tmp_path / "coarse.zarr")
    # Density is per voxel edge of the detector: a coarse ray crosses half as many coarse pixels.
    means = fine.reshape(6, 2, 10, 2, 20, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(coarse.ravel(), means.ravel())[0, 1] > 0.95
    whole, binned = (store.open_volume(tmp_path / f"{name}.zarr").voxel_size_angstrom for name in ("whole", "coarse"))
    assert binned == (None if whole is None else 2 * whole)


def test_a_fit_of_a_part_repeats_from_its_record(wedge: Callable, tilts: Path, tmp_path: Path) -> None:
    options = ("--crop-x", 10, 30, "--crop-y", 2, 10, "--views", "even", "--passes", 2, "--tune", "none", "--method", "network")
    assert wedge("reconstruct", tilts, "-o", tmp_path / "a.zarr", *options).code == 0
    assert values(tmp_path / "a.zarr").shape == (12, 8, 20)
    assert wedge("reconstruct", tilts, "-o", tmp_path / "b.zarr", "--config", tmp_path / "a.zarr").code == 0
    np.testing.assert_allclose(values(tmp_path / "b.zarr"), values(tmp_path / "a.zarr"), atol=1e-6)


def test_what_a_record_says_of_reading_can_be_taken_back(wedge: Callable, tilts: Path, tmp_path: Path) -> None:
    part = ("--crop-x", 10, 30, "--crop-y", 2, "end", "--views", "even", "--exclude-views", "0", "--tilt-range", -50, 50, "--bin", 2)
    quick = ("--passes", 2, "--tune", "none", "--method", "network")
    whole = ("--crop-x", 0, "end", "--crop-y", 0, "end", "--views", "all", "--exclude-views", "none", "--tilt-range", -180, 180, "--bin", 1)
    assert wedge("reconstruct", tilts, "-o", tmp_path / "a.zarr", *part, *quick).code == 0
    assert values(tmp_path / "a.zarr").shape == (6, 9, 10)
    assert wedge("reconstruct", tilts, "-o", tmp_path / "b.zarr", "--config", tmp_path / "a.zarr", *whole).code == 0
    assert values(tmp_path / "b.zarr").shape == (12, 20, 40)
    record = store.open_volume(tmp_path / "b.zarr").provenance
    assert (record["config"]["input"], record["views"]["seen_places"]) == ({}, list(range(15)))
    # Only what is taken back is: the rest is as recorded.
    some = ("--crop-y", 0, "end", "--views", "all")
    assert wedge("reconstruct", tilts, "-o", tmp_path / "d.zarr", "--config", tmp_path / "a.zarr", *some).code == 0
    assert values(tmp_path / "d.zarr").shape == (6, 10, 10)
    record = store.open_volume(tmp_path / "d.zarr").provenance["config"]["input"]
    assert record == {"crop_x": [10, 30], "exclude_views": [0], "tilt_range": [-50.0, 50.0], "bin": 2}


def test_a_whole_series_by_name_is_the_whole_series_everywhere(wedge: Callable, tilts: Path, tmp_path: Path) -> None:
    whole = ("--crop-x", 0, "end", "--crop-y", 0, "end", "--views", "all", "--exclude-views", "none", "--bin", 1)
    for command, opened in (("fbp", store.open_volume), ("import", store.open_tilts)):
        for name, options in (("silent", ()), ("whole", whole)):
            assert wedge(command, tilts, "-o", tmp_path / f"{command}-{name}.zarr", *options).code == 0
        assert np.array_equal(*(opened(tmp_path / f"{command}-{name}.zarr").array[:] for name in ("silent", "whole")))
    # Transforms of a part are refused, and the whole is no part.
    quick = ("--finest", 8, "--rounds", 1, "--alignment-out", tmp_path / "a.xf")
    assert wedge("align", tilts, "-o", tmp_path / "align.zarr", *quick, *whole).code == 0
    told = wedge("fbp", tilts, "-o", tmp_path / "no.zarr", "--crop-x", 3, "last")
    assert (told.code, "expected a first pixel and the one after the last, or end" in told.error) == (2, True)
    assert wedge("fbp", tilts, "-o", tmp_path / "end.zarr", "--crop-x", 30, "end", "--crop-y", 12, "end").code == 0
    assert values(tmp_path / "end.zarr").shape == (12, 8, 10)


@pytest.mark.parametrize("command", ["import", "export", "fbp", "reconstruct", "plan", "evaluate"])
def test_every_command_that_reads_a_series_has_the_options(wedge: Callable, command: str) -> None:
    text = wedge(command, "--help").out
    for option in ("--angles", "--voxel-size", "--tilt-range", "--views", "--exclude-views", "--crop-x", "--crop-y", "--bin"):
        assert option in text


def test_the_options_become_one_value_and_stand_where_it_stood() -> None:
    seen = {}

    @reads_tilts
    def command(first: int = 1, reading: Reading = AS_STORED, last: int = 2) -> None:
        seen.update(first=first, reading=reading, last=last)

    command(exclude_views="1,3-4", bin=2, last=5)
    assert seen == {"first": 1, "reading": Reading(exclude_views=(1, 3, 4), bin=2), "last": 5}
    assert seen["reading"].options() == {"exclude_views": (1, 3, 4), "bin": 2}
    assert seen["reading"].needs_tilts
    assert not Reading(voxel_size_angstrom=3.0).needs_tilts
