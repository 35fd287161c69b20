"""Isotropic total variation in three dimensions."""

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.autograd.function import once_differentiable

from wedge.plugin_api import RegularizerContext, TiltGeometry


class TotalVariationOptions(BaseModel):
    """Options of `TotalVariation`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: float = Field(1e-3, gt=0, description="gradients well below this, in density per voxel, are penalized quadratically")


class TotalVariation:
    """Mean length of the density's gradient per voxel, by forward differences.

    ``mean of sqrt(dz^2 + dy^2 + dx^2 + epsilon^2) - epsilon``; differences across the box's far faces are zero.

    Notes
    -----
    The row above the interior is halo, so the penalties of slabs, weighted by their rows, add up to that of the whole.

    References
    ----------
    Rudin, Osher and Fatemi (1992), doi:10.1016/0167-2789(92)90242-F
    """

    halo_rows: ClassVar[int] = 1
    zero_for_constant: ClassVar[bool] = True
    homogeneity: ClassVar[int] = 1
    of_slices_alone: ClassVar[bool] = True

    def __init__(self, geometry: TiltGeometry, options: TotalVariationOptions) -> None:
        self._epsilon = options.epsilon

    def __call__(self, slices: torch.Tensor, context: RegularizerContext) -> torch.Tensor:
        """Return the mean over the interior rows of ``(y, z, x)`` slices."""
        rows = range(*context.interior.indices(len(slices)))
        length: torch.Tensor = _MeanLength.apply(slices.float(), rows, 1 / context.spacing_voxels, self._epsilon)
        return length


class _MeanLength(torch.autograd.Function):
    """The mean with its gradient, which costs half the passes over memory of one that is recorded operation by operation."""

    @staticmethod
    def forward(ctx: Any, slices: torch.Tensor, rows: range, inverse: float, epsilon: float) -> torch.Tensor:
        inside = slices[rows.start : rows.stop]
        # One row more for the forward difference; at the far edge of the volume there is none.
        differences = (slices[rows.start : rows.stop + 1].diff(dim=0), inside.diff(dim=1), inside.diff(dim=2))
        squares = torch.full_like(inside, (epsilon / inverse) ** 2)
        for dim, difference in enumerate(differences):
            squares.narrow(dim, 0, difference.shape[dim]).addcmul_(difference, difference)
        lengths = squares.sqrt_()
        mean = lengths.mean() * inverse - epsilon
        if ctx.needs_input_grad[0]:
            weight = lengths.reciprocal_().mul_(inverse / max(1, inside.numel()))
            gradient = torch.zeros_like(slices)
            for dim, difference in enumerate(differences):
                count = difference.shape[dim]
                difference.mul_(weight.narrow(dim, 0, count))
                part = gradient if dim == 0 else gradient[rows.start : rows.stop]
                first = rows.start if dim == 0 else 0
                part.narrow(dim, first, count).sub_(difference)
                part.narrow(dim, first + 1, count).add_(difference)
            ctx.save_for_backward(gradient)
        return mean

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None
