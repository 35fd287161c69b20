"""The power of a filtered residual, and its gradient."""

import pytest
import torch

from wedge.fit.filtered_power import FilteredPower


@pytest.mark.parametrize(("width", "num_fft"), [(20, 64), (33, 128), (64, 64)])
def test_power_and_gradient_are_those_of_the_filtered_residual(width: int, num_fft: int) -> None:
    """Filtered and squared with the tails beyond the detector, view by view, in double precision."""
    random = torch.Generator().manual_seed(0)
    residual = torch.randn(3, 4, width, generator=random).requires_grad_()
    power, views = torch.rand(num_fft // 2 + 1, generator=random), torch.rand(1, 4, 1, generator=random)
    value = FilteredPower.apply(residual, power, views)
    (0.5 * value).backward()

    plain = residual.detach().double().requires_grad_()
    spectrum = torch.fft.rfft(plain, n=num_fft, dim=2) * power.double().sqrt()
    expected = (torch.fft.irfft(spectrum, n=num_fft, dim=2).square() * views.double()).sum()
    (0.5 * expected).backward()
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert residual.grad is not None
    assert plain.grad is not None
    assert torch.allclose(residual.grad.double(), plain.grad, atol=1e-5 * float(plain.grad.abs().max()))
