"""An MLP of sines."""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from wedge.plugin_api import FieldBox, Lattice
from wedge_networks.kernel_choice import KERNEL, KernelChoice, KernelName, checked_kernel, misfit
from wedge_networks.mlp import PointwiseLayers, SeparableLayer, block_sizes


class SirenOptions(BaseModel):
    """Options of `Siren`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(64, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers, the first one on coordinates included")
    omega: float | None = Field(
        None,
        gt=0,
        description="highest frequency of the first layer, in radians per half of the longest side; default: a wave of 32 voxels",
    )
    kernel: KernelName = Field("auto", description=KERNEL)

    @field_validator("kernel")
    @classmethod
    def _fits(cls, kernel: KernelName, info: ValidationInfo) -> KernelName:
        sizes = info.data
        return checked_kernel(kernel, misfit(sizes["width"], sizes["depth"] - 1, "sine")) if {"width", "depth"} <= sizes.keys() else kernel


class Siren(torch.nn.Module):
    """``W ... sin(W sin(W_1 (z, y, x) + b_1) + b)``, initialized so that every layer is as wide in its values as the one before.

    Notes
    -----
    The factor ``omega`` of the original's sines is multiplied into the weights, so learning rates are ``omega`` times the original's.
    All of it is computed in float32, also under autocast: the phase of a sine doesn't survive half precision.

    References
    ----------
    Sitzmann et al. (2020), doi:10.48550/arXiv.2006.09661
    """

    def __init__(self, field_box: FieldBox, options: SirenOptions) -> None:
        super().__init__()
        self._options = options
        self.first = SeparableLayer(1, options.width)
        self.hidden = PointwiseLayers([options.width] * options.depth + [1], torch.sin)
        self._choice = KernelChoice(options.kernel, options.width, options.depth - 1, "sine")
        bound = math.sqrt(6 / options.width)
        # Detail has a size in voxels, whatever the size of the box; the layers after the first one make shorter waves of it.
        omega = options.omega or math.pi * max(field_box.shape) / 32
        with torch.no_grad():
            self.first.weight.uniform_(-omega, omega)
            self.first.bias.uniform_(-math.pi, math.pi)
            for linear in self.hidden.linears[:-1]:
                linear.weight.uniform_(-bound, bound)

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return ``(y, z, x)`` float32."""
        device = lattice.x.device
        with torch.autocast(device.type, enabled=False):
            axes = lattice.z[:, None], lattice.y[:, None], lattice.x[:, None]
            if plan := self._choice.plan(device):
                from wedge_networks.fused_layers import on_tables

                return on_tables(plan, self.hidden.linears, *self.first.tables(*axes))
            by_row, in_slice = self.first(*axes)
            rows, points = block_sizes(len(by_row), in_slice.shape[1], device)
            pieces = in_slice.split(points, dim=1)
            values = [self.hidden(torch.sin(some + piece)).flatten() for some in by_row.split(rows) for piece in pieces]
        return torch.cat(values).view(lattice.shape)

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        """Bound for a forward and a backward pass over ``(y, z, x)`` points: two arrays per hidden layer, and room to work."""
        rows, nz, nx = lattice_shape
        width, depth = self._options.width, self._options.depth
        kernels = self._choice.extra_bytes(self.first.bias.device, lattice_shape)
        return 4 * nz * nx * (rows * (2 * width * depth + 2 * width + 4) + 4 * width) + (1 << 20) + kernels

    def learning_rates(self) -> dict[str, float]:
        """Return the suggested learning rate of parameters by the beginning of their name, relative to the fit's."""
        return {"first": 3.0, "hidden": 3.0, f"hidden.linears.{self._options.depth - 1}": 1.0}

    def record(self) -> dict[str, str]:
        """Return what computed the layers: ``torch`` or ``triton``."""
        return self._choice.record()
