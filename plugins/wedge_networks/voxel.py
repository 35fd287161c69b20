"""A plain grid of values: no network at all, and hard to beat."""

import torch
from pydantic import BaseModel, ConfigDict, Field

from wedge.plugin_api import FieldBox, Lattice
from wedge_networks.interpolation import grid_axes


class VoxelOptions(BaseModel):
    """Options of `Voxel`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spacing: float = Field(1.0, gt=0, le=64, description="distance of the grid's nodes in voxels")


class Voxel(torch.nn.Module):
    """One value per node, interpolated linearly; constant beyond the outermost nodes. All zero at the start.

    Notes
    -----
    With ``spacing=1`` nodes are the voxels' centres, and a lattice of voxels is a slice of the grid: exact and free. Rows outside a slab
    are not touched in the forward pass; their gradient is zero.
    """

    def __init__(self, field_box: FieldBox, options: VoxelOptions) -> None:
        super().__init__()
        self._z, self._y, self._x = grid_axes(field_box.shape, options.spacing)
        self.values = torch.nn.Parameter(torch.zeros(self._y.num_nodes, self._z.num_nodes, self._x.num_nodes))

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return ``(y, z, x)`` float32, also under autocast."""
        with torch.autocast(lattice.x.device.type, enabled=False):
            slices = self._y.rows(self.values, lattice.y)
            slices = self._x.plan(lattice.x).along(slices, -1)
            slices = self._z.plan(lattice.z).along(slices, -2)
        # A copy even where all plans are slices: callers must not be handed the parameter itself.
        return slices.clone(memory_format=torch.contiguous_format)

    def begin_with(self, values: torch.Tensor) -> None:
        """Begin with ``(y, z, x)`` values at the voxels' centres."""
        if values.shape != self.values.shape:
            values = torch.nn.functional.interpolate(values[None, None], self.values.shape, mode="trilinear")[0, 0]
        with torch.no_grad():
            self.values.copy_(values)

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        """Bound for a forward and a backward pass over ``(y, z, x)`` points, the dense gradient's scratch copy included."""
        rows, nz, nx = lattice_shape
        reach_z, reach_x = max(nz, self._z.num_nodes), max(nx, self._x.num_nodes)
        return 4 * (4 * rows * reach_z * reach_x + self.values.numel())

    def learning_rates(self) -> dict[str, float]:
        """Return the suggested learning rate of parameters by the beginning of their name, relative to the fit's."""
        return {"values": 10.0}
