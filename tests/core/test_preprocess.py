"""What preprocessing does to views, and what it leaves alone."""

from pathlib import Path

import numpy as np
import pytest

from wedge import store
from wedge.cli import run
from wedge.geometry import TiltGeometry
from wedge.preprocess.dose import weight_by_dose
from wedge.preprocess.gold_fill import bead_mask
from wedge.preprocess.hot_pixels import replace_bad_pixels
from wedge.preprocess.intensity import normalize_views
from wedge.preprocess.taper import taper_edges
from wedge.spheres import chords, make_spheres

SHAPE = (24, 40, 48)
RADIUS = 3.0
BEADS = ((12.0, -9.0, 4.0), (27.0, 8.0, -6.0))
"""Row, and x and z from the axis."""
GEOMETRY = TiltGeometry(tuple(float(angle) for angle in np.linspace(-50, 50, 11)), SHAPE[1:], SHAPE, pixel_size_angstrom=5.0)
CENTRE = (SHAPE[2] - 1) / 2


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(GEOMETRY.num_tilts, *SHAPE[1:])).astype(np.float32)


def places(tilt: int) -> np.ndarray:
    angle = GEOMETRY.tilt_angles_rad[tilt]
    return np.array([(y, x * np.cos(angle) + z * np.sin(angle) + CENTRE) for y, x, z in BEADS])


def with_beads() -> np.ndarray:
    views = noise()
    y, x = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[2]), indexing="ij")
    for tilt, view in enumerate(views):
        for row, column in places(tilt):
            view += 100 * np.sqrt(np.clip(1 - ((y - row) ** 2 + (x - column) ** 2) / RADIUS**2, 0, None))
    return views


def written(folder: Path, views: np.ndarray) -> Path:
    with store.create_tilts(folder / "views.zarr", GEOMETRY) as out:
        out.write_rows(0, views.transpose(1, 0, 2))
        return out.commit({})


def test_hot_and_dead_pixels_are_replaced_and_no_others() -> None:
    before = noise() + 50
    bad = np.zeros(before.shape, dtype=bool)
    bad[3, 10, 10] = bad[7, 30, 5] = bad[0, 0, 47] = True
    spoiled = before.copy()
    spoiled[3, 10, 10], spoiled[7, 30, 5], spoiled[0, 0, 47] = 500, 0, 300
    found = replace_bad_pixels(spoiled)
    assert found.in_views == 3
    assert np.abs(spoiled[bad] - 50).max() < 3
    assert spoiled[~bad].tobytes() == before[~bad].tobytes()


def test_a_gain_and_an_offset_of_each_view_are_taken_back() -> None:
    random = np.random.default_rng(1)
    one = np.zeros(SHAPE[1:])
    one[15:25, 18:30] = 20 + random.normal(size=(10, 12))
    gains, offsets = random.uniform(0.5, 2, GEOMETRY.num_tilts), random.uniform(-30, 30, GEOMETRY.num_tilts)
    views = (one * gains[:, None, None] + offsets[:, None, None]).astype(np.float32)
    normalize_views(views, GEOMETRY, "mass")
    assert views == pytest.approx(np.broadcast_to(np.median(gains) * one, views.shape), abs=1e-3)


def crowded_views(background: np.ndarray, noise: float = 0.0) -> tuple[TiltGeometry, np.ndarray]:
    """Return views of a thick slab, full of spheres, that goes on beyond them: the more tilted, the less background is to be seen."""
    wide = TiltGeometry(tuple(np.linspace(-60, 60, len(background))), (96, 96), (64, 96, 288))
    views = chords(make_spheres((64, 96, 288), 0), wide, 0, 96).transpose(1, 0, 2)
    views = views + noise * views.std() * np.random.default_rng(0).normal(size=views.shape)
    return wide.with_volume((64, 96, 96), 1.0, (0.0, 0.0)), (views + background[:, None, None]).astype(np.float32)


def test_crowded_views_take_the_background_on_which_the_others_agree() -> None:
    gains = np.random.default_rng(1).uniform(0.6, 1.4, 15)
    geometry, views = crowded_views(np.zeros(15))
    views *= gains[:, None, None].astype(np.float32)
    found = normalize_views(views, geometry, "slab")
    assert found.borrowed
    assert 0 < found.crowded.sum() < 8
    left = gains * found.factors
    assert left / np.median(left) == pytest.approx(np.ones(15), abs=0.15)


def test_crowded_views_are_not_multiplied_where_no_background_is_known(tmp_path: Path, capsys) -> None:
    geometry, views = crowded_views(np.zeros(15), noise=1.0)
    before = views.copy()
    found = normalize_views(views, geometry, "slab")
    assert found.crowded.all()
    assert not found.borrowed
    assert (found.factors == 1).all()
    # Nothing but one constant is taken from them.
    assert np.ptp(before - views) < 1e-3
    with store.create_tilts(tmp_path / "in.zarr", geometry) as writer:
        writer.write_rows(0, before.transpose(1, 0, 2))
        writer.commit({})
    assert run(["preprocess", str(tmp_path / "in.zarr"), "-o", str(tmp_path / "out.zarr"), "--normalize", "slab"]) == 0
    assert (
        "in 15 views (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14) the background is hardly visible: they are"
        in capsys.readouterr().err
    )
    # Where backgrounds differ from view to view, nobody knows those of the crowded ones.
    geometry, views = crowded_views(np.random.default_rng(2).uniform(-200, 200, 15))
    found = normalize_views(views, geometry, "slab")
    assert found.crowded.any()
    assert not found.borrowed
    assert (found.factors[found.crowded] == 1).all()


@pytest.mark.parametrize("cycles", [3, 12])
def test_a_dose_attenuates_by_its_share_of_the_critical_exposure(cycles: int) -> None:
    rows, dose, size = 64, 40.0, 5.0
    # A cosine that its mirror image goes on from.
    wave = np.cos(np.pi * 2 * cycles * (np.arange(rows) + 0.5) / rows)
    views = np.tile(wave[None, :, None], (2, 1, 16)) + 7
    weight_by_dose(views, (0.0, dose), size)
    critical = 0.245 * (cycles / (rows * size)) ** -1.665 + 2.81
    kept = np.exp(-dose / (2 * critical))
    assert views[0] - 7 == pytest.approx(np.tile(wave[:, None], (1, 16)), abs=1e-9)
    assert views[1] - 7 == pytest.approx(np.tile(kept * wave[:, None], (1, 16)), abs=1e-9)


def test_a_taper_keeps_the_middle_and_leads_the_borders_to_the_mean() -> None:
    before = noise()
    after = before.copy()
    taper_edges(after, 6)
    assert after[:, 6:-6, 6:-6] == pytest.approx(before[:, 6:-6, 6:-6], abs=1e-6)
    means = before.mean(axis=(1, 2))
    corners = np.abs(after[:, 0, 0] - means)
    assert (corners < 0.01 * np.abs(before[:, 0, 0] - means) + 1e-6).all()


@pytest.mark.parametrize("treatment", ["erase", "mask"])
def test_beads_are_found_and_taken_out_and_a_fit_takes_what_is_left(tmp_path: Path, treatment: str) -> None:
    views = with_beads()
    source, ready, volume = written(tmp_path, views), tmp_path / "ready.zarr", tmp_path / "volume.zarr"
    assert run(["preprocess", str(source), "-o", str(ready), "--gold", treatment, "--gold-diameter-pixels", str(2 * RADIUS)]) == 0
    opened = store.open_tilts(ready)
    beads = sorted(opened.provenance["config"]["found"]["gold"]["beads"], key=lambda bead: bead["y"])
    assert np.array([(bead["y"], bead["x"], bead["z"]) for bead in beads]) == pytest.approx(np.array(BEADS), abs=1)
    inside = np.stack([bead_mask(SHAPE[1:], places(tilt), RADIUS - 0.5) for tilt in range(len(views))])
    beyond = ~np.stack([bead_mask(SHAPE[1:], places(tilt), RADIUS + 3) for tilt in range(len(views))])
    after = np.asarray(opened.array[:])
    assert np.abs(after[inside]).max() < 8
    assert after[beyond].tobytes() == views[beyond].tobytes()
    if treatment == "erase":
        assert opened.weights is None
        return
    assert opened.weights is not None
    weights = np.asarray(opened.weights[:])
    assert (weights[inside] == 0).all()
    assert (weights[beyond] == 1).all()
    words = ["--method", "network", "--passes", "1", "--network", "voxel", "--projector-opt", "cache=false", "--device", "cpu"]
    assert run(["reconstruct", str(ready), "-o", str(volume), *words]) == 0
    assert np.isfinite(np.asarray(store.open_volume(volume).array[:])).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("mode", ["mass", "slab"])
def test_views_of_few_rows_are_normalized(rows: int, mode: str) -> None:
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 9)), (rows, 64), (16, rows, 64))
    views = np.random.default_rng(3).normal(100, 0.1, (9, rows, 64)).astype(np.float32)
    views[:, :, 26:38] += 50 * np.linspace(1, 2, 9, dtype=np.float32)[:, None, None]
    found = normalize_views(views, geometry, mode)
    assert not found.crowded.any()
    assert found.offsets == pytest.approx(100, abs=0.5)
    if mode == "mass":
        assert views.sum(axis=(1, 2)) == pytest.approx(np.full(9, 75 * 12 * rows), rel=0.1)
