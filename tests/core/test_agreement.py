"""Agreement of a volume with a tilt series."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.agreement import agreement_geometry, evaluate_tilts
from wedge.data import TiltSeries, Volume
from wedge.errors import InputError
from wedge.geometry import TiltGeometry

GEOMETRY = TiltGeometry((40.0, -50.0, -20.0, 10.0), (13, 9), (5, 13, 9))


class RandomProjector:
    """A fixed random matrix: what agreement does must not depend on what a projection is."""

    def __init__(self, geometry: TiltGeometry) -> None:
        nz, _, nx = geometry.volume_shape
        self._views = (geometry.num_tilts, geometry.detector_shape[1])
        self._matrix = torch.from_numpy(np.random.default_rng(2).standard_normal((math.prod(self._views), nz * nx))).float()

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        return (slices.reshape(len(slices), -1) @ self._matrix.T).reshape(-1, *self._views)


@pytest.fixture
def case() -> tuple[Volume, Callable[[np.ndarray], TiltSeries], RandomProjector, np.ndarray]:
    """Return a volume, a function that makes a tilt series of views, the projector and the volume's exact views ``(tilt, y, x)``."""
    density = np.random.default_rng(0).standard_normal((5, 13, 9)).astype(np.float32)
    projector = RandomProjector(GEOMETRY)
    views = projector.project(torch.from_numpy(density.transpose(1, 0, 2).copy())).numpy().transpose(1, 0, 2)
    return Volume(density), lambda array: TiltSeries(array.astype(np.float32), GEOMETRY), projector, views


def test_exact_views_leave_no_residual(case) -> None:
    volume, series, projector, views = case
    found = evaluate_tilts(volume, series(views), projector, intensity_fit="none")
    assert found.values["tilts.residual"] < 1e-5
    assert found.values["tilts.correlation"] == pytest.approx(1.0)


def test_affine_fit_finds_scale_and_offset_of_raw_counts(case) -> None:
    volume, series, projector, views = case
    found = evaluate_tilts(volume, series(1000 * views + 5000), projector)
    assert (found.intensity_fit.scale, found.intensity_fit.offset) == pytest.approx((1000, 5000), rel=1e-4)
    assert found.values["tilts.residual"] < 1e-3
    assert "plus 5000" in found.notes["tilts"]


def test_residual_and_correlation_are_those_of_numpy(case) -> None:
    volume, series, projector, views = case
    noisy = (views + np.random.default_rng(1).standard_normal(views.shape) + 7).astype(np.float32)
    found = evaluate_tilts(volume, series(noisy), projector, slab_rows=4)
    scale, offset = np.polyfit(views.ravel().astype(np.float64), noisy.ravel().astype(np.float64), 1)
    difference, signal = noisy - (scale * views + offset), noisy - offset
    assert found.values["tilts.residual"] == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(signal), rel=1e-5)
    assert found.values["tilts.correlation"] == pytest.approx(np.corrcoef(views.ravel(), noisy.ravel())[0, 1], rel=1e-6)
    rows = [np.linalg.norm(difference[:, y]) / np.linalg.norm(signal[:, y]) for y in range(13)]
    assert found.per_slice["tilts.residual"] == pytest.approx(rows, rel=1e-5)
    views_by_angle = np.argsort(GEOMETRY.tilt_angles_deg)
    curve = found.curves["tilts"]
    assert curve.x == [-50.0, -20.0, 10.0, 40.0]
    expected = [np.corrcoef(views[i].ravel(), noisy[i].ravel())[0, 1] for i in views_by_angle]
    assert curve.series["correlation"] == pytest.approx(expected, rel=1e-5)


def test_a_bad_view_is_seen_at_its_angle(case) -> None:
    volume, series, projector, views = case
    spoiled = views.copy()
    spoiled[1] = np.random.default_rng(3).permutation(spoiled[1].ravel()).reshape(spoiled[1].shape)
    curve = evaluate_tilts(volume, series(spoiled), projector).curves["tilts"]
    assert int(np.argmax(curve.series["residual"])) == curve.x.index(-50.0)


@pytest.mark.parametrize("slab_rows", [1, 5, 13])
def test_result_does_not_depend_on_slab_height(case, slab_rows: int) -> None:
    volume, series, projector, views = case
    noisy = series(views + np.random.default_rng(1).standard_normal(views.shape))
    done: list[int] = []
    found = evaluate_tilts(volume, noisy, projector, slab_rows=slab_rows, on_progress=done.append)
    assert found.values == pytest.approx(evaluate_tilts(volume, noisy, projector, slab_rows=3).values, rel=1e-6)
    assert sum(done) == 13


def test_other_rows_are_refused_naming_both(case) -> None:
    volume, series, projector, views = case
    short = Volume(volume.array[:, :12], name="short.zarr")
    with pytest.raises(InputError, match=r"short.zarr has shape \(z, y, x\) \(5, 12, 9\).*\(13, 9\)"):
        evaluate_tilts(short, series(views), projector)


def test_what_is_not_finite_or_constant_is_refused(case) -> None:
    volume, series, projector, views = case
    spoiled = views.copy()
    spoiled[0, 6, 0] = np.nan
    with pytest.raises(InputError, match="tilt series, y-row 6"):
        evaluate_tilts(volume, series(spoiled), projector)
    with pytest.raises(InputError, match="the views are constant"):
        evaluate_tilts(volume, series(np.ones_like(views)), projector)


def test_geometry_takes_the_volumes_box(case) -> None:
    volume, series, _, views = case
    assert agreement_geometry(volume, series(views)) == GEOMETRY
    thicker = Volume(np.zeros((8, 13, 9), np.float32))
    assert agreement_geometry(thicker, series(views)).volume_shape == (8, 13, 9)


def test_a_volume_of_another_thickness_stays_where_the_series_has_it(case) -> None:
    _, series, _, views = case
    placed = series(views)
    placed = replace(placed, geometry=placed.geometry.with_volume((5, 13, 9), 1.0, (5.0, -6.0)))
    thicker = Volume(np.zeros((8, 13, 9), np.float32))
    assert agreement_geometry(thicker, placed).volume_centre_pixels == (5.0, -6.0)
