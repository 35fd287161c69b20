"""An MLP at every point of a lattice by the kernels of `fused_kernels`, differentiable once, and its plain twin."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from wedge_networks.fused_kernels import backward_kernel, forward_kernel


@dataclass(frozen=True)
class Launch:
    """How a kernel is cut into programs.

    Parameters
    ----------
    block
        Points along x that a program has at once.
    num_warps
        Of a program.
    hold
        Whether weights are read once for all lines; they lie in shared memory then.
    programs
        How many there are, about; each is given as many lines as this needs.
    """

    block: int
    num_warps: int
    hold: bool
    programs: int


@dataclass(frozen=True)
class Plan:
    """What both kernels are compiled for: the activation, how factors are multiplied (see `fused_kernels`), and their programs."""

    sine: bool
    precision: str
    forward: Launch
    backward: Launch


class Weights(NamedTuple):
    """The layers, float32; the gradient of each is asked for or not.

    Parameters
    ----------
    lines
        ``(rows * z, width)``, what y and z add to the phases of the first hidden layer; or the bias of the layer on features, ``(width,)``.
    source
        ``(x, width)``, what x adds to them; or features ``(rows, channels, z, x)``.
    first
        ``(width, channels)``, the layer on features; ``(width, 0)`` where there is none.
    matrices, biases
        ``(layers, width, width)`` and ``(layers, width)``, the hidden layers after the first.
    last
        ``(width + 1,)``, the weights of the last layer and its bias.
    """

    lines: torch.Tensor
    source: torch.Tensor
    first: torch.Tensor
    matrices: torch.Tensor
    biases: torch.Tensor
    last: torch.Tensor


def evaluate(plan: Plan, weights: Weights) -> torch.Tensor:
    """Return ``(rows * z, x)`` float32 values of the MLP."""
    return _Fused.apply(plan, *weights)


def evaluate_plainly(sine: bool, weights: Weights, rounded: bool = False) -> torch.Tensor:
    """Return what `evaluate` does by torch's products, in the precision of the weights, or of factors ``rounded`` to bfloat16."""
    lines, source, first, matrices, biases, last = weights

    def product(points: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        if rounded:
            points, matrix = (factor.bfloat16().to(factor.dtype) for factor in (points, matrix))
        return points @ matrix.T

    phase = (product(source.movedim(1, 3), first) + lines).flatten(0, 1) if first.shape[1] else lines[:, None] + source
    activation = torch.sin if sine else torch.relu
    for matrix, bias in zip(matrices, biases, strict=True):
        phase = product(activation(phase), matrix) + bias
    return activation(phase) @ last[:-1] + last[-1]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *given: torch.Tensor) -> torch.Tensor:
        weights = Weights(*(tensor.contiguous() for tensor in given))
        ctx.plan = plan
        ctx.save_for_backward(*weights)
        return run_forward(plan, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, *run_backward(ctx.plan, Weights(*ctx.saved_tensors), gradient, ctx.needs_input_grad[2])


def run_forward(plan: Plan, weights: Weights) -> torch.Tensor:
    """Return ``(rows * z, x)`` float32 values."""
    shape = _shape(weights)
    values = weights.source.new_empty(shape.num_lines, shape.num_x)
    if values.numel():
        launch = plan.forward
        tiles, lines_each, chunks = _cut(shape, launch)
        _start(forward_kernel, tiles * chunks, launch, shape, plan)(
            *_factors(plan, weights), values, shape.num_lines, shape.num_z, shape.num_x, tiles, lines_each
        )
    return values


def run_backward(plan: Plan, weights: Weights, gradient: torch.Tensor, to_source: bool) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients of all ``weights``; None for the features where ``to_source`` is not.

    Notes
    -----
    Every program has sums of its own, added up here: no order of programs changes a bit.
    """
    shape, launch = _shape(weights), plan.backward
    tiles, lines_each, chunks = _cut(shape, launch)
    programs, width, new = tiles * chunks, shape.width, weights.source.new_empty
    on_tables = shape.channels == 0
    d_lines = new(tiles if on_tables else 0, shape.num_lines, width)
    d_source = new(chunks, *weights.source.shape) if on_tables else new(weights.source.shape if to_source else 0)
    d_first = new(programs, width, shape.padded if shape.channels else 0).zero_()
    d_matrices = new(programs, *weights.matrices.shape).zero_()
    d_vectors = new(programs, shape.layers + 2, width).zero_()
    if gradient.numel():
        _start(backward_kernel, programs, launch, shape, plan, TO_SOURCE=to_source)(
            *_factors(plan, weights), gradient.contiguous(), d_lines, d_source, d_first, d_matrices, d_vectors,
            shape.num_lines, shape.num_z, shape.num_x, tiles, lines_each,
        )  # fmt: skip
    vectors = d_vectors.sum(0)
    d_last = torch.cat([vectors[shape.layers], gradient.sum()[None]])
    if on_tables:
        return d_lines.sum(0), d_source.sum(0), None, d_matrices.sum(0), vectors[: shape.layers], d_last
    first = d_first.sum(0)[:, : shape.channels]
    return vectors[shape.layers + 1], d_source if to_source else None, first, d_matrices.sum(0), vectors[: shape.layers], d_last


def partial_bytes(plan: Plan, shape: tuple[int, int, int], layers: int, width: int, channels: int) -> int:
    """Bound on the bytes of the programs' own sums for a lattice of ``(rows, z, x)``, of tables and of their gradients."""
    rows, num_z, num_x = shape
    sizes = _Shape(rows * num_z, num_z, num_x, layers, width, channels)
    tiles, _, chunks = _cut(sizes, plan.backward)
    own = tiles * chunks * ((layers + 1) * width * max(width, sizes.padded) + (layers + 2) * width)
    tables = 0 if channels else rows * num_z * width * (tiles + 6) + num_x * width * (chunks + 6)
    return 4 * (own + own // max(1, tiles * chunks) + tables)


class _Shape(NamedTuple):
    num_lines: int
    num_z: int
    num_x: int
    layers: int
    width: int
    channels: int

    @property
    def padded(self) -> int:
        """Channels of the features as a product wants them: a power of two, 16 at least."""
        return max(16, 1 << max(0, self.channels - 1).bit_length())


def _shape(weights: Weights) -> _Shape:
    layers, width = weights.biases.shape
    channels = weights.first.shape[1]
    if channels:
        rows, _, num_z, num_x = weights.source.shape
        return _Shape(rows * num_z, num_z, num_x, layers, width, channels)
    return _Shape(len(weights.lines), 1, len(weights.source), layers, width, 0)


def _cut(shape: _Shape, launch: Launch) -> tuple[int, int, int]:
    """Return blocks along x, lines of a program, and programs of a block: they have as many lines each, but for the last."""
    tiles = -(-shape.num_x // launch.block)
    chunks = max(1, min(shape.num_lines, launch.programs // max(1, tiles)))
    lines_each = max(1, -(-shape.num_lines // chunks))
    return tiles, lines_each, -(-shape.num_lines // lines_each)


def _factors(plan: Plan, weights: Weights) -> tuple[torch.Tensor, ...]:
    if plan.precision != "bfloat16":
        return tuple(weights)
    return tuple(weights._replace(first=weights.first.bfloat16(), matrices=weights.matrices.bfloat16()))


def _start(kernel: Any, programs: int, launch: Launch, shape: _Shape, plan: Plan, **more: bool) -> Any:
    """Return a kernel that waits for its arguments, on their device: Triton takes the current one."""
    constants = {
        "LAYERS": shape.layers, "WIDTH": shape.width, "CHANNELS": shape.channels, "PADDED": shape.padded, "BLOCK": launch.block,
        "SINE": plan.sine, "PRECISION": plan.precision, "HOLD": launch.hold, **more,
    }  # fmt: skip

    def started(*arguments: Any) -> None:
        device = arguments[0].device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            # One stage: loads of the next line's weights, ahead of their time, would not fit into shared memory.
            kernel[(programs,)](*arguments, **constants, num_warps=launch.num_warps, num_stages=1)

    return started
