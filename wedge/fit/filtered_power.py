"""The power of a residual whose spectrum is weighted, with its gradient: one transform there, and one back."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable


class FilteredPower(torch.autograd.Function):
    """Sum over all views of the power of a filtered residual, by Parseval's theorem.

    ``apply(residual, power, view_weights)``: the residual ``(y, tilt, x)``, weights ``(n // 2 + 1,)`` of its power at the frequencies of an
    even number ``n`` of pixels, the residual's and zeros, and weights ``(1, tilt, 1)`` of the views. The sum is that of the squares of the
    filtered residual with its tails beyond the detector. Recorded operation by operation, its gradient would take four transforms, one of
    them complex.
    """

    @staticmethod
    def forward(ctx: Any, residual: torch.Tensor, power: torch.Tensor, view_weights: torch.Tensor) -> torch.Tensor:
        """Return the sum, and keep its gradient."""
        num_fft = 2 * (len(power) - 1)
        spectrum = torch.fft.rfft(residual, n=num_fft, dim=2)
        # All frequencies but 0 and Nyquist stand for two.
        both = power * 2
        both[0], both[-1] = power[0], power[-1]
        squares = torch.view_as_real(spectrum).square().sum(3)
        total = ((squares @ (both / num_fft))[:, :, None] * view_weights).sum()
        if ctx.needs_input_grad[0]:
            gradient = torch.fft.irfft(spectrum * power, n=num_fft, dim=2)[:, :, : residual.shape[2]]
            ctx.save_for_backward(gradient * (2 * view_weights))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None
