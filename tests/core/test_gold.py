"""Beads are points in space: what looks like one in single views is none. Intensities of ice and of a logarithm."""

from dataclasses import replace

import numpy as np
import pytest

from wedge.align.resample import moved_series
from wedge.align.transforms import ViewTransforms
from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.geometry import TiltGeometry
from wedge.preprocess.gold_fill import smooth_fill
from wedge.preprocess.gold_find import Candidates, ball, bead_sign, find_candidates
from wedge.preprocess.gold_track import track_beads
from wedge.preprocess.hot_pixels import replace_bad_pixels
from wedge.preprocess.intensity import normalize_views, to_logarithm, undo_ice

ANGLES = tuple(np.linspace(-60, 60, 25))
GEOMETRY = TiltGeometry(ANGLES, (60, 80), (32, 60, 80))
COSINES = np.cos(GEOMETRY.tilt_angles_rad)


def candidates(rng: np.random.Generator, beads: list[tuple[float, float, float]], strays: int) -> list[Candidates]:
    found = []
    for angle in GEOMETRY.tilt_angles_rad:
        ways = [(y, x * np.cos(angle) + z * np.sin(angle) + 39.5) for y, x, z in beads]
        ways += [(float(rng.uniform(0, 59)), float(rng.uniform(0, 79))) for _ in range(strays)]
        y, x = np.array(ways).reshape(-1, 2).T
        # Strays are the highest.
        found.append(Candidates(y, x, np.r_[np.ones(len(beads)), 5 * np.ones(strays)]))
    return found


def test_only_what_follows_the_way_of_a_point_is_a_bead() -> None:
    beads = [(20.0, 5.0, -8.0), (21.0, -12.0, 10.0), (45.0, 20.0, 3.0)]
    tracked = track_beads(candidates(np.random.default_rng(1), beads, 4), GEOMETRY, 3.0)
    assert sorted((bead.y, bead.x, bead.z) for bead in tracked) == [pytest.approx(bead, abs=0.5) for bead in beads]
    assert (
        track_beads(candidates(np.random.default_rng(2), [(99.0, 0.0, 0.0)], 4)[:0] or [Candidates(*np.zeros((3, 0)))] * 25, GEOMETRY, 3.0)
        == []
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_ball_is_found_to_a_fraction_of_a_pixel_whatever_its_sign_and_an_edge_is_not(sign) -> None:
    view = np.random.default_rng(3).normal(size=(60, 80)).astype(np.float32)
    template, _ = ball(3.0)
    reach = len(template) // 2
    view[30 - reach : 31 + reach, 40 - reach : 41 + reach] += sign * 40 * template
    view[:, 60:] += sign * 30
    assert bead_sign(np.stack([view] * 3), 3.0) == sign
    found = find_candidates(view, 3.0, sign)
    assert (found.y[0], found.x[0]) == pytest.approx((30, 40), abs=0.2)
    assert len(found.y) == 1


def test_sharp_specimen_and_small_beads_are_no_bad_pixels() -> None:
    views = np.random.default_rng(4).normal(size=(6, 60, 80)).astype(np.float32)
    template, _ = ball(1.5)
    reach = len(template) // 2
    for tilt, view in enumerate(views):
        view[20 - reach : 21 + reach, 20 + tilt - reach : 21 + tilt + reach] += 200 * template
        view[40:44, 10:70] += 100
        view[50, 10:60] += 100
    before = views.copy()
    found = replace_bad_pixels(views)
    assert (found.in_views, found.of_detector) == (0, 0)
    assert np.array_equal(views, before)


def test_a_hole_in_a_plane_is_filled_by_the_plane() -> None:
    plane = np.add.outer(2.0 * np.arange(30), 3.0 * np.arange(40))
    mask = np.zeros(plane.shape, dtype=bool)
    mask[10:20, 15:25] = True
    assert np.allclose(smooth_fill(np.where(mask, 1e4, plane), mask), plane, atol=0.01)


def test_ice_is_given_back_and_its_logarithm_is_its_path() -> None:
    views = (1000 * np.exp(-0.4 / COSINES)[:, None, None] * np.ones((25, 10, 12))).astype(np.float32)
    views[3] *= 0.2  # something came into the beam
    logs = views.copy()
    tau, _ = undo_ice(views, GEOMETRY)
    assert tau == pytest.approx(0.4, rel=1e-3)
    assert np.delete(views.mean(axis=(1, 2)), 3) == pytest.approx(1000 * np.exp(-0.4), rel=1e-3)
    to_logarithm(logs, GEOMETRY, 1000.0)
    assert np.delete(logs.mean(axis=(1, 2)) * COSINES, 3) == pytest.approx(0.4, rel=1e-3)


def test_intensity_that_grows_with_tilt_is_no_ice() -> None:
    with pytest.raises(InputError, match="grows with tilt"):
        undo_ice((np.exp(0.4 / COSINES)[:, None, None] * np.ones((25, 4, 4))).astype(np.float32), GEOMETRY)


def test_a_slab_keeps_its_path_and_loses_its_gains() -> None:
    gains = np.random.default_rng(5).uniform(0.7, 1.4, 25)
    views = np.zeros((25, 60, 80), np.float32)
    views[:, 20:40] = (gains / COSINES)[:, None, None]
    normalize_views(views, GEOMETRY, "slab")
    path = views[:, 30].mean(axis=1) * COSINES
    assert path == pytest.approx(path.mean(), rel=0.03)


def test_a_view_that_holds_nothing_is_refused() -> None:
    views = np.zeros((25, 60, 80), np.float32)
    views[:, 20:40] = 1
    views[7] = 0
    with pytest.raises(InputError, match="view 7 holds nothing"):
        normalize_views(views, GEOMETRY, "mass")


def test_weights_move_with_the_views_that_they_are_of() -> None:
    views = np.random.default_rng(6).normal(size=(25, 60, 80)).astype(np.float32)
    weights = np.ones_like(views)
    weights[:, 30, 40] = 0
    shift = ViewTransforms(np.full(25, 3.0), np.full(25, 2.0), np.zeros(25))
    moved = moved_series(replace(TiltSeries(views, GEOMETRY), weights=weights), shift)
    assert moved.weights is not None
    hidden = np.argwhere(np.asarray(moved.weights)[0] == 0)
    # The filled value stands where its weight says.
    filled = TiltSeries(np.where(weights == 0, 1e3, views).astype(np.float32), GEOMETRY)
    bright = np.argwhere(np.asarray(moved_series(filled, shift).array)[0] > 100)
    assert len(bright)
    assert {tuple(place) for place in bright} <= {tuple(place) for place in hidden}
    assert len(hidden) <= 64
