"""Features at other resolutions: what torch makes of them, in the layout and precision in which it is asked for."""

import pytest
import torch
from torch.nn import functional

from wedge.restore.resolution import doubled, halved

THEIRS = {
    halved: lambda features: functional.avg_pool3d(features, 2),
    doubled: lambda features: functional.interpolate(features, scale_factor=2, mode="trilinear", align_corners=False),
}
both = pytest.mark.parametrize("ours", THEIRS, ids=lambda function: function.__name__)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return made.contiguous(memory_format=torch.channels_last_3d)


@both
@pytest.mark.parametrize("shape", [(2, 3, 4, 6, 8), (1, 1, 2, 2, 2), (1, 5, 8, 2, 4)])
def test_values_and_gradients_are_those_of_torch(ours, shape):
    features = drawn(*shape).requires_grad_()
    found, expected = ours(features), THEIRS[ours](features)
    torch.testing.assert_close(found, expected)
    weights = drawn(*found.shape, seed=1)
    torch.testing.assert_close(*(torch.autograd.grad(made, features, weights)[0] for made in (found, expected)))


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layout_and_precision_stay(ours, dtype):
    """Rounded where they are given and where they are returned, and next to nowhere else."""
    features = drawn(2, 8, 6, 4, 10, dtype=dtype)
    given = features.clone().requires_grad_()
    found, exact = ours(given), THEIRS[ours](features.double())
    (gradient,) = torch.autograd.grad(found, given, drawn(*found.shape, seed=1, dtype=dtype))
    for made in (found, gradient):
        assert made.dtype == dtype
        assert made.is_contiguous(memory_format=torch.channels_last_3d)
    rounding = torch.finfo(dtype).eps / 2 * exact.abs() + 4 * torch.finfo(torch.float32).eps * features.abs().max()
    assert ((found.detach().double() - exact).abs() <= rounding).all()


@both
def test_any_layout_will_do(ours):
    features = drawn(2, 3, 4, 6, 8)
    assert torch.equal(ours(features.contiguous()), ours(features))


def test_what_rises_evenly_goes_on_to_do_so():
    """Nothing is repeated: that would be a pattern of its own."""
    rising = torch.arange(8.0)[:, None, None] + 3 * torch.arange(8.0)[:, None] - 2 * torch.arange(8.0)
    fine = doubled(rising[None, None])[0, 0, 1:-1, 1:-1, 1:-1]
    for axis, slope in enumerate((0.5, 1.5, -1.0)):
        assert torch.allclose(fine.diff(dim=axis), torch.tensor(slope), atol=1e-5)
