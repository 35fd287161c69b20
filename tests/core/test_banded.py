"""Products block by block, and by a kernel, are those of the whole matrix: the kernel on a GPU, otherwise by Triton's interpreter."""

from collections.abc import Callable

import pytest
import torch

# Triton decides when it is imported whether kernels are interpreted.
with pytest.MonkeyPatch.context() as patch:
    if not torch.cuda.is_available():
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton")
    import wedge.banded_kernel

from wedge import banded
from wedge.banded import Banded
from wedge.fit.kept import Kept


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


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> torch.device:
    """Take kernels wherever rows are short enough, or never."""
    monkeypatch.setattr(banded, "_kernel", lambda device: banded.kernel_of if request.param else None)
    if not torch.cuda.is_available():
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    return torch.device("cuda" if torch.cuda.is_available() and request.param else "cpu")


def test_a_kernel_is_compiled_where_tests_are_run_on_a_gpu() -> None:
    found = banded._kernel(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    assert found == (banded.kernel_of if torch.cuda.is_available() else None)


def test_rows_of_many_numbers_are_left_to_blocks() -> None:
    assert banded.kernel_of(MATRICES["full"]) is None
    assert banded.kernel_of(MATRICES["filter"]) is not None


@pytest.mark.parametrize("kernels", [False, True], indirect=True, ids=["blocks", "kernel"])
@pytest.mark.parametrize("dim", [0, -2, -1])
@pytest.mark.parametrize("name", MATRICES)
def test_product_and_gradient_are_those_of_the_matrix(name: str, dim: int, kernels: torch.device) -> None:
    """Also along an axis that is a part of a larger tensor."""
    matrix = MATRICES[name]
    shape = [3, 5, 4]
    shape[dim] = matrix.shape[1] + 2
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(kernels).requires_grad_()
    part = values.narrow(dim, 1, matrix.shape[1])
    product = Banded(matrix.to(kernels)).along(part, dim)
    outer = torch.randn(product.shape, generator=torch.Generator().manual_seed(2))
    (product * outer.to(kernels)).sum().backward()
    expected = torch.einsum("pn,...n->...p", matrix.double(), part.detach().cpu().double().movedim(dim, -1)).movedim(-1, dim)
    back = torch.einsum("pn,...p->...n", matrix.double(), outer.double().movedim(dim, -1)).movedim(-1, dim)
    assert product.shape == expected.shape
    assert torch.allclose(product.detach().cpu().double(), expected, atol=2e-5)
    assert values.grad is not None
    assert torch.allclose(values.grad.narrow(dim, 1, matrix.shape[1]).cpu().double(), back, atol=2e-5)


class Launched:
    """A kernel that is launched and does nothing."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self._launch

    def _launch(self, *given: object, **constants: int) -> None:
        self.given = given


@pytest.mark.parametrize(("kernel", "dim"), [("_along_last", -1), ("_along_inner", -2)])
def test_who_keeps_what_is_read_hears_of_what_a_kernel_reads(monkeypatch: pytest.MonkeyPatch, kernel: str, dim: int) -> None:
    """A step that was recorded goes on reading it, whatever has become of the matrix; torch does not see the kernel itself."""
    matrix, launched = MATRICES["filter"], Launched()
    product, shape = banded.kernel_of(matrix), [2, 3, 4]
    shape[dim] = matrix.shape[1]
    assert product is not None
    monkeypatch.setattr(wedge.banded_kernel, kernel, launched)
    with Kept() as kept:
        product(torch.ones(shape), dim)
    read = {tensor.data_ptr() for tensor in launched.given[2:4]}
    assert read <= {tensor.data_ptr() for tensor in kept.tensors}


@pytest.mark.parametrize("points", [512, 4096])
def test_work_a_point_does_not_grow_with_the_axis(points: int) -> None:
    """Both ways: at most the numbers of a block and its reach for every row."""
    banded = Banded(gaussian(points, 6))
    for way in (banded._forward, banded._backward):
        assert sum(block.values.numel() for block in way.blocks) <= (points + 12) * (64 + 2 * 6)
