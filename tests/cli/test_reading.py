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
