"""Where the field is evaluated: at the voxels, or at several points of each.

A field is defined between voxels too, and views show edges more finely than voxels can: a surface that crosses a voxel at an angle casts
another shadow than a half-filled voxel. So the field is projected from a lattice that is finer along z and x, at first from the voxels
themselves, which costs less, and the result is the mean over each voxel.
"""

from typing import Any

import torch

from wedge.geometry import TiltGeometry
from wedge.lattice import FieldBox, Lattice


class Sampling:
    """A lattice of ``factor`` points per voxel along z and x, and one along y, in a field's box."""

    def __init__(self, box: FieldBox, factor: int, device: torch.device) -> None:
        self.factor = factor
        # Kept: networks know an axis again by its tensor, and a GPU would be waited for wherever a part of one is sent there.
        self._z = box.axis(0, 0.0, box.shape[0], 1 / factor, device)
        self._y = box.axis(1, 0.0, box.shape[1], 1.0, device)
        self._x = box.axis(2, 0.0, box.shape[2], 1 / factor, device)

    def lattice(self, y_start: int, y_stop: int) -> Lattice:
        """Return the points of rows ``y_start`` to ``y_stop``."""
        return self.lattice_of(self.rows(y_start, y_stop))

    def rows(self, y_start: int, y_stop: int) -> torch.Tensor:
        """Return the coordinates of rows, ``(y,)``."""
        return self._y[y_start:y_stop]

    def lattice_of(self, rows: torch.Tensor) -> Lattice:
        """Return the points of rows with such coordinates, ``(y,)``."""
        return Lattice(self._z, rows, self._x, (1 / self.factor, 1.0, 1 / self.factor))

    def pooled(self, fine: torch.Tensor) -> torch.Tensor:
        """Return the means over voxels, ``(y, z, x)``, of values ``(y, factor z, factor x)``."""
        if self.factor == 1:
            return fine
        pooled: torch.Tensor = _Pooled.apply(fine, self.factor)
        return pooled


class _Pooled(torch.autograd.Function):
    """Means of squares of points; torch's own gradient of them takes ten times as long on a GPU."""

    @staticmethod
    def forward(ctx: Any, fine: torch.Tensor, factor: int) -> torch.Tensor:
        ctx.factor = factor
        return torch.nn.functional.avg_pool2d(fine[None], factor)[0]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows, num_z, num_x = gradient.shape
        spread = (gradient / ctx.factor**2)[:, :, None, :, None].expand(rows, num_z, ctx.factor, num_x, ctx.factor)
        return spread.reshape(rows, num_z * ctx.factor, num_x * ctx.factor), None


def finer_geometry(geometry: TiltGeometry, factor: int) -> TiltGeometry:
    """Return the same views around the same box cut into ``factor`` voxels along z and x."""
    num_z, num_y, num_x = geometry.volume_shape
    return geometry.with_volume(
        (factor * num_z, num_y, factor * num_x), geometry.voxel_size_in_pixels / factor, geometry.volume_centre_pixels
    )
