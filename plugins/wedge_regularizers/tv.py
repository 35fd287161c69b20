"""Isotropic total variation in three dimensions."""

from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field

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

    def __init__(self, geometry: TiltGeometry, options: TotalVariationOptions) -> None:
        self._epsilon = options.epsilon

    def __call__(self, slices: torch.Tensor, context: RegularizerContext) -> torch.Tensor:
        """Return the mean over the interior rows of ``(y, z, x)`` slices."""
        rows = range(*context.interior.indices(len(slices)))
        inside = slices[rows.start : rows.stop]
        # One row more for the forward difference; at the far edge of the volume there is none.
        along_y = slices[rows.start : rows.stop + 1].diff(dim=0)
        squares = torch.full_like(inside, self._epsilon**2)
        inverse = 1 / context.spacing_voxels
        squares[: len(along_y)] += (along_y * inverse).square()
        squares[:, :-1] += (inside.diff(dim=1) * inverse).square()
        squares[:, :, :-1] += (inside.diff(dim=2) * inverse).square()
        return (squares.sqrt() - self._epsilon).mean()
