"""Automatic differentiation around a projector, with one that is a dense matrix."""

import pytest
import torch

from wedge.projection import backproject, project


class DenseProjector:
    """A random matrix of 5x4 voxels and 3x6 pixels that watches what it is given."""

    adjoint_tolerance = 1e-6

    def __init__(self) -> None:
        self.matrix = torch.randn(18, 20, generator=torch.Generator().manual_seed(0))
        self.calls: list[str] = []

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        assert not slices.requires_grad
        assert slices.dtype == torch.float32
        self.calls.append("project")
        return (slices.flatten(1) @ self.matrix.T).reshape(-1, 3, 6)

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        assert not sinograms.requires_grad
        assert sinograms.dtype == torch.float32
        self.calls.append("backproject")
        return (sinograms.flatten(1) @ self.matrix).reshape(-1, 5, 4)

    def memory_bytes(self, n_slices: int) -> int:
        return 0

    def close(self) -> None: ...


@pytest.fixture
def dense() -> DenseProjector:
    return DenseProjector()


def test_gradients_equal_those_of_the_matrix_itself(dense: DenseProjector) -> None:
    slices = torch.randn(2, 5, 4, requires_grad=True)
    weights = torch.randn(2, 3, 6)
    (found,) = torch.autograd.grad((project(dense, slices).square() * weights).sum(), slices)
    (expected,) = torch.autograd.grad(((slices.flatten(1) @ dense.matrix.T).reshape(2, 3, 6).square() * weights).sum(), slices)
    torch.testing.assert_close(found, expected)


def test_backproject_has_the_projection_as_its_gradient(dense: DenseProjector) -> None:
    sinograms, direction = torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 5, 4)
    (found,) = torch.autograd.grad(backproject(dense, sinograms), sinograms, direction)
    torch.testing.assert_close(found, dense.project(direction))


def test_second_derivatives_exist(dense: DenseProjector) -> None:
    slices, direction = torch.randn(2, 5, 4, requires_grad=True), torch.randn(2, 5, 4)
    (gradient,) = torch.autograd.grad(project(dense, slices).square().sum() / 2, slices, create_graph=True)
    (curvature,) = torch.autograd.grad(gradient, slices, direction)
    torch.testing.assert_close(curvature, dense.backproject(dense.project(direction)))


def test_nothing_is_backprojected_for_input_without_gradients(dense: DenseProjector) -> None:
    scale = torch.ones((), requires_grad=True)
    (project(dense, torch.randn(2, 5, 4)) * scale).sum().backward()
    assert dense.calls == ["project"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_cast_and_their_gradients_cast_back(dense: DenseProjector, dtype: torch.dtype) -> None:
    slices = torch.randn(2, 5, 4).to(dtype).requires_grad_()
    sinograms = project(dense, slices)
    assert sinograms.dtype == torch.float32
    sinograms.sum().backward()
    assert slices.grad is not None
    assert slices.grad.dtype == dtype


def test_mixed_precision_leaves_the_projector_in_single(dense: DenseProjector) -> None:
    weights = torch.randn(20, 20, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        slices = (torch.randn(2, 20) @ weights).reshape(2, 5, 4)
        assert slices.dtype == torch.bfloat16
        project(dense, slices).sum().backward()
    assert weights.grad is not None
    assert weights.grad.isfinite().all()
