"""Dense feature grids of several resolutions, read by a small MLP."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from wedge.plugin_api import FieldBox, Lattice
from wedge_networks.interpolation import grid_axes
from wedge_networks.kernel_choice import KERNEL, KernelChoice, KernelName, checked_kernel, misfit
from wedge_networks.mlp import PointwiseLayers, block_sizes

_ACTIVATIONS = {"relu": torch.relu_, "silu": torch.nn.functional.silu, "gelu": torch.nn.functional.gelu}


class FeatureGridOptions(BaseModel):
    """Options of `FeatureGrid`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: int = Field(5, ge=1, le=12, description="number of grids")
    features: int = Field(4, ge=1, le=64, description="features per node")
    finest: float = Field(1.0, gt=0, description="distance of the finest grid's nodes in voxels")
    coarsest: float = Field(16.0, gt=0, description="distance of the coarsest grid's nodes in voxels")
    width: int = Field(32, ge=1, description="units of a hidden layer")
    depth: int = Field(2, ge=1, description="hidden layers")
    activation: Literal["relu", "silu", "gelu"] = Field("relu", description="function between layers")
    kernel: KernelName = Field("auto", description=KERNEL)

    @field_validator("kernel")
    @classmethod
    def _fits(cls, kernel: KernelName, info: ValidationInfo) -> KernelName:
        if not {"width", "depth", "activation", "levels", "features"} <= info.data.keys():
            return kernel
        width, depth, activation, levels, features = (info.data[key] for key in ("width", "depth", "activation", "levels", "features"))
        return checked_kernel(kernel, misfit(width, depth - 1, activation, levels * features))


class FeatureGrid(torch.nn.Module):
    """Levels of features from coarse to fine, interpolated axis by axis and concatenated, then an MLP at each point.

    References
    ----------
    Mueller et al. (2022), doi:10.1145/3528223.3530127, with dense grids in the place of hash tables.
    """

    def __init__(self, field_box: FieldBox, options: FeatureGridOptions) -> None:
        super().__init__()
        steps = max(1, options.levels - 1)
        ratio = (options.coarsest / options.finest) ** (1 / steps)
        self._axes = [grid_axes(field_box.shape, options.finest * ratio**level) for level in range(options.levels)]
        self.grids = torch.nn.ParameterList(
            # y first, so that a slab's rows are one block; features before z and x, so that both are matrix axes.
            torch.nn.Parameter(1e-2 * torch.randn(y.num_nodes, options.features, z.num_nodes, x.num_nodes))
            for z, y, x in self._axes
        )
        widths = [options.levels * options.features] + [options.width] * options.depth + [1]
        self.layers = PointwiseLayers(widths, _ACTIVATIONS[options.activation])
        self._options = options
        self._choice = KernelChoice(options.kernel, options.width, options.depth - 1, options.activation, widths[0])

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return ``(y, z, x)`` float32; the layers obey autocast, interpolation stays in float32."""
        device = lattice.x.device
        with torch.autocast(device.type, enabled=False):
            levels = []
            for grid, (z, y, x) in zip(self.grids, self._axes, strict=True):
                # x before z, as z is the shorter of the two in most boxes.
                features = x.plan(lattice.x).along(y.rows(grid, lattice.y), -1)
                levels.append(z.plan(lattice.z).along(features, -2))
            features = torch.cat(levels, dim=1)
        if plan := self._choice.plan(device):
            from wedge_networks.fused_layers import on_features

            with torch.autocast(device.type, enabled=False):
                return on_features(plan, self.layers.linears, features)
        features = features.flatten(2)
        rows, points = block_sizes(len(features), features.shape[2], device)
        values = [self.layers(block).flatten() for slab in features.split(rows) for block in slab.split(points, dim=2)]
        return torch.cat(values).view(lattice.shape).float()

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        """Bound for a forward and a backward pass over ``(y, z, x)`` points, the dense gradients' scratch copies included."""
        rows, nz, nx = lattice_shape
        options = self._options
        features = options.levels * options.features
        per_point = 4 * features + 4 * options.width * options.depth + 4
        kernels = self._choice.extra_bytes(self.layers.linears[0].bias.device, lattice_shape)
        return 4 * (rows * nz * nx * per_point + sum(grid.numel() for grid in self.grids)) + kernels

    def learning_rates(self) -> dict[str, float]:
        """Return the suggested learning rate of parameters by the beginning of their name, relative to the fit's."""
        # The finest grid could fit everything by itself; held back, it adds what the coarser ones can't (2 dB on hollow spheres).
        return {"grids": 10.0, "grids.0": 0.5, "layers": 0.5}

    def record(self) -> dict[str, str]:
        """Return what computed the layers: ``torch`` or ``triton``."""
        return self._choice.record()
