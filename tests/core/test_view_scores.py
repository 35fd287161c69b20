"""What is said of seen and unseen views."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries, Volume
from wedge.errors import InputError
from wedge.geometry import TiltGeometry
from wedge.held_out import ViewErrors, Views, errors_of, fit_on, predict_views, unseen_views
from wedge.rings import edge_taper, ring_sums
from wedge.view_scores import evaluate_views

ANGLES = tuple(float(angle) for angle in (-60, 60, -40, -20, 0, 20, 40))
GEOMETRY = TiltGeometry(ANGLES, (24, 30), (8, 24, 30))
PLACES = range(len(ANGLES))


class Sums:
    """A stand-in for a projector: every view is a weighted sum over z."""

    def __init__(self) -> None:
        self._weights = torch.from_numpy(np.random.default_rng(3).random((len(ANGLES), 8))).float()

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        return torch.einsum("tz,yzx->ytx", self._weights, slices)


def density(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((8, 24, 30), dtype=np.float32)


def series(volume: np.ndarray, noise: float = 0.0) -> TiltSeries:
    views = Sums().project(torch.from_numpy(volume.transpose(1, 0, 2).copy())).numpy().transpose(1, 0, 2)
    return TiltSeries(views + noise * np.random.default_rng(9).standard_normal(views.shape).astype(np.float32), GEOMETRY)


def seen(volume: np.ndarray, *angles: float) -> Volume:
    return Volume(volume, tilt_angles_deg=angles or tuple(a for a in ANGLES if a not in (60.0, -20.0)), name="v.zarr")


def test_unseen_are_exactly_the_views_that_the_volume_was_not_made_from() -> None:
    tilts = series(density())
    assert np.flatnonzero(unseen_views(seen(density()), tilts, PLACES)).tolist() == [1, 3]
    assert np.flatnonzero(unseen_views(seen(density()), tilts, PLACES, [2, 4])).tolist() == [2, 4]
    assert not unseen_views(seen(density(), *ANGLES), tilts, PLACES).any()
    # Places are those in the stack, wherever a view stands among those in use.
    assert np.flatnonzero(unseen_views(seen(density()), tilts, range(10, 17), [12])).tolist() == [2]
    with pytest.raises(InputError, match=r"v.zarr does not say which views it was made from.*--unseen-views"):
        unseen_views(replace(seen(density()), tilt_angles_deg=None), tilts, PLACES)


def test_a_volume_that_is_right_has_no_error_and_full_correlation() -> None:
    found = evaluate_views(seen(2 * density() + 1), series(density()), Sums(), PLACES)
    for group in ("unseen", "outermost", "inner", "seen"):
        assert found.values[f"{group}.error"] < 0.05
        assert found.values[f"{group}.frc"] > 0.99
    assert found.values["score"] < 0.05
    assert found.curves["views"].x == sorted(ANGLES)
    assert found.curves["views"].series["unseen"] == [float(a in (60.0, -20.0)) for a in sorted(ANGLES)]


def test_errors_of_unseen_views_do_not_touch_those_of_seen_ones() -> None:
    tilts = series(density())
    spoiled = tilts.array.copy()
    spoiled[[1, 3]] = np.random.default_rng(5).permutation(spoiled[[1, 3]].ravel()).reshape(2, 24, 30)
    found = [evaluate_views(seen(density()), replace(tilts, array=array), Sums(), PLACES).values for array in (tilts.array, spoiled)]
    assert found[0]["seen.error"] == found[1]["seen.error"]
    assert found[1]["unseen.error"] > 10 * found[0]["unseen.error"]
    assert found[1]["unseen.frc"] < 0.3
    assert found[1]["score"] > 10 * found[0]["score"]


def test_a_volume_that_has_seen_all_is_told_to_be_no_test() -> None:
    found = evaluate_views(seen(density(), *ANGLES), series(density()), Sums(), PLACES)
    assert "no test" in found.notes["score"]
    assert found.values["score"] == found.values["seen.error"]
    assert not [name for name in found.values if name.startswith(("unseen", "inner", "outermost"))]


def test_inner_views_alone_are_told_to_say_little_of_the_wedge() -> None:
    found = evaluate_views(seen(density(), *(a for a in ANGLES if a != 0)), series(density()), Sums(), PLACES)
    assert "says little of the missing wedge" in found.notes["score"]
    assert "outermost.error" not in found.values


def test_power_and_noise_of_rings_have_the_variance_of_white_noise() -> None:
    noise = np.random.default_rng(0).normal(scale=3.0, size=(40, 20, 50))
    sums = ring_sums(np.zeros_like(noise), noise, 0.0, edge_taper((40, 50)))
    inner = (sums.frequency > 0.1) & (sums.frequency < 0.5)
    assert (sums.measured.mean(axis=0) / sums.count)[inner] == pytest.approx(9.0, rel=0.1)
    for weight in ("plain", "ramp"):
        whole = getattr(sums, f"measured_{weight}").mean() / getattr(sums, f"count_{weight}")
        assert whole == pytest.approx(9.0, rel=0.05)
        assert getattr(sums, f"difference_{weight}") == pytest.approx(getattr(sums, f"measured_{weight}"))


def test_noise_bounds_error_and_correlation_of_the_truth_itself() -> None:
    tilts = series(density(), noise=1.0)
    unseen = np.array([False, True, False, True, False, False, False])
    views = predict_views(seen(density()), tilts, Sums())
    errors = errors_of(views, tilts, unseen, 1.0)
    assert errors.error(unseen) == pytest.approx(errors.noise_error(unseen), rel=0.1)
    inner = (errors.rings.frequency > 0.1) & (errors.rings.frequency <= 0.5)
    assert errors.correlation(~unseen)[inner].mean() == pytest.approx(errors.limit(~unseen)[inner].mean(), abs=0.1)
    assert math.isnan(errors.error(np.zeros(7, dtype=bool)))


def test_the_outermost_views_count_for_the_wedge_beside_them() -> None:
    tilts = series(density())
    views = predict_views(seen(density(1)), tilts, Sums())
    errors = errors_of(views, tilts, np.array([True, True, False, False, True, False, False]), 0.0)
    weights = errors._angular_weights(errors.unseen)
    # 60 degrees between them, and the 60 of the missing wedge in two halves.
    assert np.rad2deg(weights) == pytest.approx([60 + 30, 60 + 30, 60])
    assert isinstance(errors, ViewErrors)


def test_views_that_are_constant_are_refused() -> None:
    tilts = series(density())
    with pytest.raises(InputError, match="the views are constant"):
        evaluate_views(seen(density()), replace(tilts, array=np.ones_like(tilts.array)), Sums(), PLACES)


def hidden_rays(seed: int = 4) -> np.ndarray:
    """Return weights with a hole of some pixels in each view."""
    holes = np.ones((len(ANGLES), 24, 30), np.float32)
    draws = np.random.default_rng(seed)
    for view in range(len(ANGLES)):
        y, x = draws.integers(4, 18, 2)
        holes[view, y : y + 4, x : x + 4] = 0
    return holes


class Beads(Sums):
    """Predictions that are wrong where rays are hidden, and only there."""

    def __init__(self, hidden: np.ndarray, height: float) -> None:
        super().__init__()
        self._added = torch.from_numpy(height * hidden.transpose(1, 0, 2)).float()
        self._rows = 0

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        found = super().project(slices)
        if len(found) == 1:  # the box
            return found
        self._rows += len(found)
        return found + self._added[self._rows - len(found) : self._rows]


def test_rays_without_weight_do_not_count_whatever_was_measured_or_is_predicted_there() -> None:
    weights = hidden_rays()
    tilts = replace(series(density(), noise=0.2), weights=weights)
    spoiled = tilts.array + np.where(weights == 0, 1e4, 0).astype(np.float32)
    volume = seen(density())
    found = [
        evaluate_views(volume, replace(tilts, array=array), Beads(weights == 0, height), PLACES).values
        for array, height in ((tilts.array, 0.0), (spoiled, 0.0), (tilts.array, 50.0))
    ]
    assert found[0] == found[1]
    assert found[2] == pytest.approx(found[0], rel=1e-5)
    # Without weights both would have counted.
    bare = replace(tilts, weights=None)
    assert evaluate_views(volume, bare, Beads(weights == 0, 50.0), PLACES).values["score"] > 1.5 * found[0]["score"]


def test_weights_of_one_change_nothing_and_a_view_without_any_is_as_if_it_were_not_there() -> None:
    tilts = series(density(), noise=0.2)
    plain = evaluate_views(seen(density(1)), tilts, Sums(), PLACES).values
    ones = np.ones(tilts.array.shape, np.float32)
    assert evaluate_views(seen(density(1)), replace(tilts, weights=ones), Sums(), PLACES).values == pytest.approx(plain, rel=1e-6)
    ones[1] = 0  # 60 degrees, the one unseen view beyond the others
    without = evaluate_views(seen(density(1)), replace(tilts, weights=ones), Sums(), PLACES).values
    inner = evaluate_views(seen(density(1)), tilts, Sums(), PLACES).values
    assert without["unseen.error"] == pytest.approx(inner["inner.error"], rel=1e-6)
    assert without["unseen.frc"] == pytest.approx(inner["inner.frc"], rel=1e-6)


def test_residuals_are_multiplied_by_the_weights_of_their_rays() -> None:
    measured, predicted = (np.random.default_rng(seed).normal(size=(12, 3, 16)) for seed in (0, 1))
    weights = np.random.default_rng(2).uniform(0.2, 1, measured.shape)
    flat = np.ones((12, 16))
    sums = ring_sums(predicted, measured, 0.5, flat, weights)
    counted = np.square(weights)
    assert sums.difference_plain / sums.measured_plain == pytest.approx(
        (counted * (measured - predicted) ** 2).sum(axis=(0, 2)) / (counted * (measured - 0.5) ** 2).sum(axis=(0, 2))
    )


def test_holes_do_not_correlate_by_themselves() -> None:
    """Views and predictions with slow waves alone in common: the fast rings stay without correlation, though both are hidden alike."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    slow = 30 * np.stack([np.cos(2 * np.pi * (x + y * view) / 64) for view in range(6)], axis=1)
    measured = slow + draws.normal(size=slow.shape)
    weights = np.ones(slow.shape)
    for view in range(6):
        for _ in range(8):
            top, left = draws.integers(4, 56, 2)
            weights[top : top + 4, view, left : left + 4] = 0
    sums = ring_sums(slow + 0.3 * draws.normal(size=slow.shape), measured, 0.0, edge_taper((64, 64)), weights)
    fast = (sums.frequency > 0.25) & (sums.frequency <= 0.5)
    correlation = sums.cross[:, fast].sum() / np.sqrt(sums.predicted[:, fast].sum() * sums.measured[:, fast].sum())
    assert abs(correlation) < 0.1


@pytest.mark.parametrize("weighted", [False, True])
def test_intensities_are_fitted_without_a_copy_of_all_views(weighted: bool) -> None:
    random = np.random.default_rng(6)
    predicted = random.random((60, 21, 60), dtype=np.float32)
    weights = (random.random(predicted.shape) > 0.1).astype(np.float32) if weighted else None
    views = Views((2 * predicted + 5).astype(np.float32), predicted, np.zeros((21, 60), np.float32), weights)
    tracemalloc.start()
    try:
        found = fit_on(views, np.arange(21) % 4 > 0)
        assert tracemalloc.get_traced_memory()[1] < 4 * predicted.size
    finally:
        tracemalloc.stop()
    assert found == pytest.approx((2, 0, 5), abs=1e-5)
