"""What every projector must obey, as a pytest class to subclass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.contracts import Projector
from wedge.geometry import TiltGeometry
from wedge.projection import backproject, project
from wedge.testing.phantom import PHANTOM, Disc, analytic_sinogram, rasterized_slice

_SMALL = TiltGeometry(tilt_angles_deg=(-52.0, -17.0, 0.0, 31.0, 60.0), detector_shape=(3, 20), volume_shape=(9, 3, 16))
_LARGE = TiltGeometry(tilt_angles_deg=tuple(np.linspace(-60, 60, 13)), detector_shape=(2, 128), volume_shape=(64, 2, 128))
_BOXES = {
    "plain": _SMALL,
    "odd widths": replace(_SMALL, detector_shape=(3, 21), volume_shape=(8, 3, 15)),
    "voxel 0.5": _SMALL.with_volume((9, 3, 16), 0.5),
    "voxel 2": _SMALL.with_volume((9, 3, 16), 2.0),
    "shifted box": _SMALL.with_volume((9, 3, 16), 1.0, (2.5, -3.25)),
    "tilt axis off centre": replace(_SMALL, axis_offset_pixels=1.75),
    "all at once": replace(_SMALL.with_volume((7, 3, 12), 1.5, (-2.0, 3.5)), axis_offset_pixels=-2.25),
    "unsorted and repeated": replace(_SMALL, tilt_angles_deg=(31.0, -52.0, 31.0, 60.0, -17.0, 31.0)),
    "single view": replace(_SMALL, tilt_angles_deg=(37.0,)),
    "steep and flat": replace(_SMALL, tilt_angles_deg=(0.0, 45.0, -45.0, 90.0, 80.0)),
    "wide field": _SMALL.with_volume((9, 3, 40)),
    "binned": replace(_SMALL, detector_shape=(6, 41), volume_shape=(19, 6, 33)).binned(2),
}
every_box = pytest.mark.parametrize("box", list(_BOXES))


class ProjectorLaws:
    """Subclass this, say how to build your projector, and run pytest.

    Examples
    --------
    >>> class TestMine(ProjectorLaws):
    ...     def make(self, geometry, device):
    ...         return MyProjector(geometry, MyOptions(), device)
    """

    device: str = "cpu"
    """Where the projector is built and its inputs lie."""
    chord_tolerance: float = 0.025
    """Relative error against analytic chords at voxels of one detector pixel; four times that at voxels of two."""
    equality_tolerance: float = 1e-4
    """Relative difference that single precision excuses."""

    def make(self, geometry: TiltGeometry, device: torch.device) -> Projector:
        """Build the projector to be tested."""
        raise NotImplementedError("say how to build the projector")

    # -- what it computes

    @every_box
    def test_backproject_is_the_transpose_of_project(self, box: str) -> None:
        """Compare both matrices entry by entry."""
        geometry = _BOXES[box]
        projector = self.make(geometry, torch.device(self.device))
        num_voxels, num_pixels = np.prod(_slices(geometry, 1).shape), np.prod(_sinograms(geometry, 1).shape)
        unit_slices = torch.eye(int(num_voxels), device=self.device).reshape(-1, *_slices(geometry, 1).shape[1:])
        unit_sinograms = torch.eye(int(num_pixels), device=self.device).reshape(-1, *_sinograms(geometry, 1).shape[1:])
        matrix = projector.project(unit_slices).flatten(1)
        transpose = projector.backproject(unit_sinograms).flatten(1).T
        assert float((matrix - transpose).norm() / matrix.norm()) <= max(projector.adjoint_tolerance, 1e-6)

    @every_box
    def test_inner_products_agree_for_zero_mean_vectors(self, box: str) -> None:
        """Vectors of one sign would hide a pair that is matched on average alone."""
        geometry = _BOXES[box]
        projector = self.make(geometry, torch.device(self.device))
        a, b = self._random(_slices(geometry, 3)), self._random(_sinograms(geometry, 3))
        projected = projector.project(a)
        for other in (b, projected):
            mismatch = _dot(projected, other) - _dot(a, projector.backproject(other))
            assert abs(mismatch) <= projector.adjoint_tolerance * float(projected.double().norm() * other.double().norm())

    @pytest.mark.parametrize(
        ("voxel", "shape", "centre", "offset", "factor"),
        [
            (1.0, (64, 2, 128), (0.0, 0.0), 0.0, 1.0),
            (0.5, (128, 2, 256), (0.0, 0.0), 0.0, 1.0),
            (2.0, (32, 2, 64), (0.0, 0.0), 0.0, 4.0),
            (1.0, (57, 2, 111), (1.5, 4.25), 0.0, 1.0),
            (1.0, (64, 2, 128), (0.0, 0.0), 3.3, 1.0),
            (1.5, (42, 2, 79), (0.5, 3.0), -5.5, 2.5),
        ],
    )
    def test_projections_are_chord_lengths(self, voxel: float, shape: tuple, centre: tuple, offset: float, factor: float) -> None:
        """An asymmetric phantom off the centre shows any flip, shift or wrong scale."""
        geometry = replace(_LARGE.with_volume(shape, voxel, centre), axis_offset_pixels=offset)
        assert self._chord_error(geometry, analytic_sinogram(geometry)) < factor * self.chord_tolerance

    def test_a_binned_geometry_sees_binned_projections(self) -> None:
        """Binning a detector of odd width moves the axis; chords then count in larger pixels."""
        geometry = replace(_LARGE, detector_shape=(2, 131), volume_shape=(65, 2, 129))
        binned = geometry.binned(2)
        expected = analytic_sinogram(geometry)[:, :130].unflatten(1, (65, 2)).mean(dim=2) / 2
        smaller = tuple(Disc(disc.z / 2, disc.x / 2, disc.radius / 2, disc.density) for disc in PHANTOM)
        assert self._chord_error(binned, expected, smaller) < 4 * self.chord_tolerance

    @every_box
    def test_a_point_lands_where_the_conventions_say(self, box: str) -> None:
        """The shadow of nine voxels has its centre of mass at ``x cos + z sin + offset``."""
        geometry = _BOXES[box]
        nz, nx = _slices(geometry, 1).shape[1:]
        row, column = nz // 2 + 1, nx // 2 - 2
        point = torch.zeros(1, nz, nx, device=self.device)
        point[0, row - 1 : row + 2, column - 1 : column + 2] = 1
        shadow = self.make(geometry, torch.device(self.device)).project(point)[0].double().cpu().numpy()
        voxel, (centre_z, centre_x) = geometry.voxel_size_in_pixels, geometry.volume_centre_pixels
        z, x = (row - (nz - 1) / 2) * voxel + centre_z, (column - (nx - 1) / 2) * voxel + centre_x
        angles, width = geometry.tilt_angles_rad, geometry.detector_shape[1]
        expected = x * np.cos(angles) + z * np.sin(angles) + geometry.axis_offset_pixels
        found = (shadow * (np.arange(width) - (width - 1) / 2)).sum(axis=1) / shadow.sum(axis=1)
        # sampling a shadow at pixels moves its centre a little; a convention that is wrong moves it by half a pixel and more
        np.testing.assert_allclose(found, expected, atol=0.2)

    def test_projections_keep_the_mass(self) -> None:
        """Every view of what lies inside the field sums to the same density times area."""
        image = rasterized_slice(_LARGE).to(self.device)
        sums = self.make(_LARGE, torch.device(self.device)).project(image[None])[0].sum(dim=1)
        torch.testing.assert_close(sums, image.sum().expand_as(sums), rtol=0.01, atol=0)

    def test_linear(self) -> None:
        """Of sums and multiples; nothing comes of nothing."""
        for function, shaped in self._both(_BOXES["all at once"]):
            a, b = self._random(shaped(2)), self._random(shaped(2), seed=1)
            self._assert_same(function(2 * a - 3 * b), 2 * function(a) - 3 * function(b))
            assert not function(torch.zeros_like(a)).any()

    # -- slices and views

    @pytest.mark.parametrize("count", [0, 1, 2, 35])
    def test_slices_are_independent_in_any_number(self, count: int) -> None:
        """A batch is its slices, one by one; none at all is a batch too."""
        for function, shaped in self._both(_SMALL):
            batch = self._random(shaped(count))
            together = function(batch)
            assert together.shape[0] == count
            for index in range(count):
                self._assert_same(together[index : index + 1], function(batch[index : index + 1]))

    def test_order_of_tilts_is_the_order_of_views(self) -> None:
        """Permuted angles give permuted sinograms, and the same slices back."""
        order = [3, 0, 4, 1, 2]
        sorted_one, permuted = (self.make(g, torch.device(self.device)) for g in (_SMALL, _SMALL.with_views(order)))
        a, b = self._random(_slices(_SMALL, 2)), self._random(_sinograms(_SMALL, 2))
        self._assert_same(permuted.project(a), sorted_one.project(a)[:, order])
        self._assert_same(permuted.backproject(b[:, order]), sorted_one.backproject(b))

    def test_repeated_angles_are_views_of_their_own(self) -> None:
        """Repeats project alike and add up on the way back."""
        once, repeated = (self.make(_SMALL.with_views(views), torch.device(self.device)) for views in ([1, 3], [3, 1, 3]))
        a, b = self._random(_slices(_SMALL, 2)), self._random(torch.empty(2, 3, _SMALL.detector_shape[1]))
        self._assert_same(repeated.project(a), once.project(a)[:, [1, 0, 1]])
        self._assert_same(repeated.backproject(b), once.backproject(torch.stack([b[:, 1], b[:, 0] + b[:, 2]], dim=1)))

    def test_views_are_independent(self) -> None:
        """A single view is what it is among others."""
        a = self._random(_slices(_SMALL, 2))
        together = self.make(_SMALL, torch.device(self.device)).project(a)
        for view in range(_SMALL.num_tilts):
            alone = self.make(_SMALL.with_views([view]), torch.device(self.device)).project(a)
            self._assert_same(together[:, view : view + 1], alone)

    # -- tensors and gradients

    @every_box
    def test_results_are_new_float32_on_the_same_device(self, box: str) -> None:
        """Inputs stay as they are, whatever their strides and type, and no graph is kept."""
        geometry = _BOXES[box]
        for (function, shaped), (_, other) in zip(self._both(geometry), reversed(self._both(geometry)), strict=True):
            a = self._random(shaped(2))
            before = a.clone()
            result = function(a.requires_grad_())
            assert (result.shape, result.dtype, result.device) == (other(2).shape, torch.float32, a.device)
            assert not result.requires_grad
            assert torch.equal(a, before)
            assert result.untyped_storage().data_ptr() != a.untyped_storage().data_ptr()
            strided = before.transpose(1, 2).contiguous().transpose(1, 2)
            self._assert_same(function(strided), result)
            self._assert_same(function(before.double()), result)
            result.zero_()
            self._assert_same(function(before), function(a))

    def test_gradients_are_those_of_the_operator(self) -> None:
        """Of a square of residuals: against the transpose, finite differences and the second derivative."""
        geometry = _BOXES["all at once"]
        projector = self.make(geometry, torch.device(self.device))
        a, direction = (self._random(_slices(geometry, 2), seed) for seed in (0, 1))
        target = self._random(_sinograms(geometry, 2))
        a.requires_grad_()

        def loss(slices: torch.Tensor) -> torch.Tensor:
            return (project(projector, slices) - target).double().square().sum() / 2

        (gradient,) = torch.autograd.grad(loss(a), a, create_graph=True)
        self._assert_same(gradient.detach(), projector.backproject(projector.project(a.detach()) - target))
        slope = float((loss(a.detach() + direction) - loss(a.detach() - direction)) / 2)
        tolerance = max(self.equality_tolerance, projector.adjoint_tolerance)
        assert slope == pytest.approx(_dot(gradient.detach(), direction), rel=5 * tolerance)
        (curvature,) = torch.autograd.grad(gradient, a, direction)
        self._assert_same(curvature, projector.backproject(projector.project(direction)))

    def test_gradients_flow_through_backproject_too(self) -> None:
        """Its gradient is the projection."""
        projector = self.make(_SMALL, torch.device(self.device))
        b, direction = self._random(_sinograms(_SMALL, 2)).requires_grad_(), self._random(_slices(_SMALL, 2))
        (gradient,) = torch.autograd.grad(backproject(projector, b), b, direction)
        self._assert_same(gradient, projector.project(direction))

    def test_memory_grows_with_slices_and_covers_the_results(self) -> None:
        """At the least, the larger of the two results must be counted."""
        projector = self.make(_LARGE, torch.device(self.device))
        bounds = [projector.memory_bytes(count) for count in (1, 8, 64)]
        assert bounds == sorted(bounds)
        assert bounds[2] >= 4 * 64 * max(64 * 128, 13 * 128)
        assert all(isinstance(bound, int) for bound in bounds)
        projector.close()

    # -- what the laws are made of

    def _both(self, geometry: TiltGeometry) -> list:
        projector = self.make(geometry, torch.device(self.device))
        return [
            (projector.project, lambda count: _slices(geometry, count)),
            (projector.backproject, lambda count: _sinograms(geometry, count)),
        ]

    def _random(self, like: torch.Tensor, seed: int = 0) -> torch.Tensor:
        values = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed + like.shape[1]))
        return (values - values.mean() if values.numel() else values).to(self.device)

    def _assert_same(self, found: torch.Tensor, expected: torch.Tensor) -> None:
        assert found.shape == expected.shape
        scale = float(expected.abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(found, expected, rtol=0, atol=self.equality_tolerance * scale)

    def _chord_error(self, geometry: TiltGeometry, expected: torch.Tensor, discs: tuple[Disc, ...] = PHANTOM) -> float:
        image = rasterized_slice(geometry, discs).to(self.device)
        found = self.make(geometry, torch.device(self.device)).project(image[None])[0].cpu()
        return float((found - expected).norm() / expected.norm())


def _slices(geometry: TiltGeometry, count: int) -> torch.Tensor:
    return torch.empty(count, geometry.volume_shape[0], geometry.volume_shape[2])


def _sinograms(geometry: TiltGeometry, count: int) -> torch.Tensor:
    return torch.empty(count, geometry.num_tilts, geometry.detector_shape[1])


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() * b.double()).sum())
