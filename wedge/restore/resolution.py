"""Features ``(n, channel, z, y, x)`` at half and at twice their resolution, with channels beside one another in memory.

Torch's own pooling and interpolation know neither that layout nor bfloat16 on a CPU: they copy to and fro, and take a quarter of a step.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_LAYOUT = torch.channels_last_3d
_AXES = (2, 3, 4)  # what is large goes along the first, where what is added lies together in long runs


def halved(features: torch.Tensor) -> torch.Tensor:
    """Return the means of blocks of 2 x 2 x 2; sides are even."""
    made: torch.Tensor = _Halved.apply(features)
    return made


def doubled(features: torch.Tensor) -> torch.Tensor:
    """Return features at twice the resolution, interpolated linearly: repeated they would leave a pattern of period 2 in fine detail."""
    made: torch.Tensor = _Doubled.apply(features)
    return made


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        made = _precise(features).contiguous(memory_format=_LAYOUT)
        for axis in _AXES:
            first, second = _pairs(made, axis)
            made = first + second
        return made.mul_(0.125).to(features.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        made = gradient.contiguous(memory_format=_LAYOUT) * 0.125
        for axis in reversed(_AXES):
            twice = _twice_as_long(made, axis)
            for each in _pairs(twice, axis):
                each.copy_(made)
            made = twice
        return made


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        ctx.dtype = features.dtype
        made = _precise(features).contiguous(memory_format=_LAYOUT)
        for axis in reversed(_AXES):
            last, twice = made.shape[axis] - 1, _twice_as_long(made, axis)
            before, after = _pairs(twice, axis)
            low, high = made.narrow(axis, 0, last), made.narrow(axis, 1, last)
            torch.lerp(high, low, 0.25, out=before.narrow(axis, 1, last))
            torch.lerp(low, high, 0.25, out=after.narrow(axis, 0, last))
            # Beyond the faces features are taken to stay as they are there.
            before.select(axis, 0).copy_(made.select(axis, 0))
            after.select(axis, last).copy_(made.select(axis, last))
            made = twice
        return made.to(ctx.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        made = _precise(gradient).contiguous(memory_format=_LAYOUT)
        for axis in _AXES:
            before, after = _pairs(made, axis)
            last = before.shape[axis] - 1
            made = (before + after).mul_(0.75)
            made.narrow(axis, 0, last).add_(before.narrow(axis, 1, last), alpha=0.25)
            made.narrow(axis, 1, last).add_(after.narrow(axis, 0, last), alpha=0.25)
            made.select(axis, 0).add_(before.select(axis, 0), alpha=0.25)
            made.select(axis, last).add_(after.select(axis, last), alpha=0.25)
        return made.to(ctx.dtype)


def _pairs(features: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return every other layer along an axis, from the first on and from the second on."""
    first, second = features.unflatten(axis, (-1, 2)).unbind(axis + 1)
    return first, second


def _twice_as_long(features: torch.Tensor, axis: int) -> torch.Tensor:
    shape = list(features.shape)
    shape[axis] *= 2
    return torch.empty(shape, dtype=features.dtype, device=features.device, memory_format=_LAYOUT)


def _precise(features: torch.Tensor) -> torch.Tensor:
    """Return features in no less than single precision: rounded thrice, half precision would be worth less."""
    return features if features.dtype == torch.float64 else features.float()
