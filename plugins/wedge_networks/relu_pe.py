"""A ReLU MLP on positionally encoded coordinates."""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from wedge.plugin_api import FieldBox, Lattice
from wedge_networks.kernel_choice import KERNEL, KernelChoice, KernelName, checked_kernel, misfit
from wedge_networks.mlp import PointwiseLayers, SeparableLayer, block_sizes


class ReluPositionalOptions(BaseModel):
    """Options of `ReluPositional`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(128, ge=1, description="units of a hidden layer")
    layers: int = Field(5, ge=2, description="linear layers, the first and the last included")
    octaves: int | None = Field(None, ge=1, le=16, description="frequencies per axis; default: up to a wavelength of about 8 voxels")
    kernel: KernelName = Field("auto", description=KERNEL)

    @field_validator("kernel")
    @classmethod
    def _fits(cls, kernel: KernelName, info: ValidationInfo) -> KernelName:
        sizes = info.data
        return (
            checked_kernel(kernel, misfit(sizes["width"], sizes["layers"] - 2, "relu")) if {"width", "layers"} <= sizes.keys() else kernel
        )


class ReluPositional(torch.nn.Module):
    """MLP of ``(c, sin(2^k pi c), cos(2^k pi c))`` for each coordinate ``c`` and each octave ``k``.

    References
    ----------
    Mildenhall et al. (2020), doi:10.48550/arXiv.2003.08934; Tancik et al. (2020), doi:10.48550/arXiv.2006.10739
    """

    def __init__(self, field_box: FieldBox, options: ReluPositionalOptions) -> None:
        super().__init__()
        self._options = options
        # sin(2^k pi c) has a wavelength of longest / 2^k voxels.
        self.octaves = options.octaves or max(1, round(math.log2(max(field_box.shape) / 8)) + 1)
        features = 1 + 2 * self.octaves
        self.first = SeparableLayer(features, options.width)
        self.hidden = PointwiseLayers([options.width] * (options.layers - 1) + [1], torch.relu_)
        self._choice = KernelChoice(options.kernel, options.width, options.layers - 2, "relu")
        with torch.no_grad():
            # About half of the features' squares add up to 3 * octaves / 2.
            self.first.weight.normal_(0, math.sqrt(2 / (3 * self.octaves)))
            for linear in self.hidden.linears[:-1]:
                torch.nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
                linear.bias.zero_()

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return ``(y, z, x)`` float32; hidden layers obey autocast, the encoding and the first layer stay in float32."""
        device = lattice.x.device
        plan = self._choice.plan(device)
        with torch.autocast(device.type, enabled=False):
            axes = self._encode(lattice.z), self._encode(lattice.y), self._encode(lattice.x)
            if plan:
                from wedge_networks.fused_layers import on_tables

                return on_tables(plan, self.hidden.linears, *self.first.tables(*axes))
            by_row, in_slice = self.first(*axes)
        rows, points = block_sizes(len(by_row), in_slice.shape[1], device)
        pieces = in_slice.split(points, dim=1)
        values = [self.hidden(torch.relu_(some + piece)).flatten() for some in by_row.split(rows) for piece in pieces]
        return torch.cat(values).view(lattice.shape).float()

    def _encode(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Map ``(points,)`` to ``(points, 1 + 2 octaves)`` float32, phases computed in float64."""
        powers = torch.arange(self.octaves, device=coordinates.device)
        phases = coordinates.double()[:, None] * (math.pi * 2.0**powers)
        return torch.cat([coordinates[:, None], phases.sin().float(), phases.cos().float()], dim=1)

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        """Bound for a forward and a backward pass over ``(y, z, x)`` points: an array per hidden layer, and room to work."""
        rows, nz, nx = lattice_shape
        width, hidden = self._options.width, self._options.layers - 1
        kernels = self._choice.extra_bytes(self.first.bias.device, lattice_shape)
        return 4 * nz * nx * (rows * (width * hidden + 3 * width + 4) + 4 * width) + (1 << 20) + kernels

    def learning_rates(self) -> dict[str, float]:
        """Return the suggested learning rate of parameters by the beginning of their name, relative to the fit's."""
        return {"first": 2.0, "hidden": 2.0}

    def record(self) -> dict[str, str]:
        """Return what computed the layers: ``torch`` or ``triton``."""
        return self._choice.record()
