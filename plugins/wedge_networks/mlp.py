"""Small MLPs at every point of a lattice, channels before points."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

_BLOCK_POINTS = 16384
"""Points that the layers see at once on a CPU: what they pass on then stays in its caches, which was 3 times faster [2 cores, width 32]."""


def block_sizes(rows: int, points: int, device: torch.device) -> tuple[int, int]:
    """Return the rows and points of a block: whole rows where they are short, else a part of one row; everything on a GPU.

    Cut tensors with ``split``, not by slices: a slice's gradient is as large as the whole, so that many of them cost time without end.
    """
    if device.type != "cpu":
        return rows, points
    return max(1, _BLOCK_POINTS // points), min(points, _BLOCK_POINTS)


class PointwiseLayers(torch.nn.Module):
    """Linear layers with an activation between them, on ``(rows, channels, points)``.

    Parameters
    ----------
    widths
        Channels before, between and after the layers.
    activation
        Applied after every layer but the last; may work in place.
    """

    def __init__(self, widths: Sequence[int], activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linears = torch.nn.ModuleList(torch.nn.Linear(before, after) for before, after in pairwise(widths))
        self._activation = activation
        with torch.no_grad():
            # The field is about 0 at the start, and yet every parameter has a gradient.
            self.linears[-1].weight.mul_(0.1)
            self.linears[-1].bias.zero_()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map ``(rows, widths[0], points)`` to ``(rows, widths[-1], points)``."""
        for linear in self.linears:
            if linear is not self.linears[0]:
                hidden = self._activation(hidden)
            hidden = torch.baddbmm(linear.bias[None, :, None], linear.weight.expand(len(hidden), -1, -1), hidden)
        return hidden


class SeparableLayer(torch.nn.Module):
    """A linear layer of what each axis says by itself: ``W g(z, y, x) = a(z) + b(y) + c(x)``, three small tables, no large product.

    Parameters
    ----------
    features_per_axis
        Length of the encoding of one coordinate.
    width
        Channels of the result.
    """

    def __init__(self, features_per_axis: int, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(3, width, features_per_axis))
        self.bias = torch.nn.Parameter(torch.zeros(width))

    def forward(self, z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tables of the rows ``(rows, width, 1)`` and of a slice ``(width, z * x)``, whose sum is the layer.

        ``z``, ``y`` and ``x`` are the axes' encodings, ``(points, features_per_axis)`` float32.
        """
        along_z, along_y, along_x = (self.weight[axis] @ encoding.T for axis, encoding in enumerate((z, y, x)))
        in_slice = (along_z + self.bias[:, None])[:, :, None] + along_x[:, None, :]
        return along_y.T[:, :, None], in_slice.flatten(1)

    def tables(self, z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what each axis says, ``(points, width)``, the bias with ``z``; the sum over the axes is the layer."""
        along_z, along_y, along_x = (encoding @ self.weight[axis].T for axis, encoding in enumerate((z, y, x)))
        return along_z + self.bias, along_y, along_x
