"""Products block by block are those of the whole matrix."""

import pytest
import torch

from wedge.banded import Banded


def hats(nodes: int, points: int) -> torch.Tensor:
    """Linear interpolation of ``nodes`` at ``points`` equally spaced places."""
    places = torch.linspace(0, nodes - 1, points)
    return (1 - (places[:, None] - torch.arange(nodes)).abs()).clamp_min(0)


def gaussian(points: int, reach: int) -> torch.Tensor:
    distance = torch.arange(points + 2 * reach)[None] - torch.arange(points)[:, None] - reach
    return torch.exp(-0.5 * (3 * distance / reach) ** 2) * (distance.abs() <= reach)


MATRICES = {
    "finer": hats(300, 599),
    "coarser": hats(599, 200),
    "filter": gaussian(500, 7),
    "uneven": hats(257, 900),
    "empty rows": torch.cat([torch.zeros(200, 400), torch.eye(400)]),
    "short": hats(20, 40),
    "few rows of few columns": torch.nn.functional.pad(gaussian(50, 20), (100, 210)),
    "full": torch.rand(300, 200, generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("dim", [0, -2, -1])
@pytest.mark.parametrize("name", MATRICES)
def test_product_and_gradient_are_those_of_the_matrix(name: str, dim: int) -> None:
    """Also along an axis that is a part of a larger tensor."""
    matrix = MATRICES[name]
    shape = [3, 5, 4]
    shape[dim] = matrix.shape[1] + 2
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    part = values.narrow(dim, 1, matrix.shape[1])
    product = Banded(matrix).along(part, dim)
    outer = torch.randn(product.shape, generator=torch.Generator().manual_seed(2))
    (product * outer).sum().backward()
    expected = torch.einsum("pn,...n->...p", matrix.double(), part.detach().double().movedim(dim, -1)).movedim(-1, dim)
    back = torch.einsum("pn,...p->...n", matrix.double(), outer.double().movedim(dim, -1)).movedim(-1, dim)
    assert product.shape == expected.shape
    assert torch.allclose(product.detach().double(), expected, atol=2e-5)
    assert values.grad is not None
    assert torch.allclose(values.grad.narrow(dim, 1, matrix.shape[1]).double(), back, atol=2e-5)


@pytest.mark.parametrize("points", [512, 4096])
def test_work_a_point_does_not_grow_with_the_axis(points: int) -> None:
    """Both ways: at most the numbers of a block and its reach for every row."""
    banded = Banded(gaussian(points, 6))
    for blocks in (banded._forward, banded._backward):
        assert sum(block.values.numel() for block in blocks) <= (points + 12) * (64 + 2 * 6)
