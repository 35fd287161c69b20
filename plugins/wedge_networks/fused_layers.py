"""The layers of a network on a whole lattice by the kernels of `fused`, in place of `mlp.PointwiseLayers` block by block."""

from collections.abc import Sequence

import torch

from wedge_networks.fused import Plan, Weights, evaluate, partial_bytes

_SMALL_SLICE = 1 << 14
"""Slices of at most so many points are taken as one line each: blocks of short lines would be half empty."""


def on_tables(plan: Plan, linears: Sequence[torch.nn.Linear], z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return ``(y, z, x)`` float32 values.

    Parameters
    ----------
    plan
        How the kernels work.
    linears
        The layers after the first one.
    z, y, x
        ``(points, width)``, what each axis adds to the phases of the first hidden layer.
    """
    if len(z) * len(x) <= _SMALL_SLICE:
        lines, along = y, (z[:, None] + x).flatten(0, 1)
    else:
        lines, along = (y[:, None] + z).flatten(0, 1), x
    weights = Weights(lines, along, lines.new_empty(lines.shape[1], 0), *_stacked(linears))
    return evaluate(plan, weights).view(len(y), len(z), len(x))


def on_features(plan: Plan, linears: Sequence[torch.nn.Linear], features: torch.Tensor) -> torch.Tensor:
    """Return ``(y, z, x)`` float32 values; ``linears`` begin with the layer that reads ``features (y, channels, z, x)``."""
    rows, _, num_z, num_x = features.shape
    source = features.flatten(2)[:, :, None] if num_z * num_x <= _SMALL_SLICE else features
    weights = Weights(linears[0].bias, source, linears[0].weight, *_stacked(linears[1:]))
    return evaluate(plan, weights).view(rows, num_z, num_x)


def extra_bytes(plan: Plan, shape: tuple[int, int, int], layers: int, width: int, channels: int) -> int:
    """Bound on the bytes that a forward and a backward pass over ``(y, z, x)`` points needs, features and their gradients left out."""
    rows, num_z, num_x = shape
    merged = (rows, 1, num_z * num_x) if num_z * num_x <= _SMALL_SLICE else shape
    return 8 * rows * num_z * num_x + partial_bytes(plan, merged, layers, width, channels)


def _stacked(linears: Sequence[torch.nn.Linear]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    *hidden, last = linears
    width = last.in_features
    matrices, biases = last.weight.new_empty(0, width, width), last.weight.new_empty(0, width)
    if hidden:
        matrices, biases = torch.stack([linear.weight for linear in hidden]), torch.stack([linear.bias for linear in hidden])
    return matrices, biases, torch.cat([last.weight[0], last.bias])
