"""A bank of small MLPs of sines, one for every few y-rows."""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field

from wedge.plugin_api import FieldBox, Lattice
from wedge_networks.mlp import block_sizes

_SNAP = 1e-3
"""Rows this near below a border, in voxels, are taken as on it: float32 coordinates of a 4096-voxel side are good to about 1e-4."""


class SirenSlicesOptions(BaseModel):
    """Options of `SirenSlices`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(64, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=2, description="hidden layers, the first one on coordinates included")
    omega: float | None = Field(
        None,
        gt=0,
        description="highest frequency of the first layer, in radians per half of the longest side; default: a wave of 32 voxels",
    )
    rows: int = Field(2, ge=1, description="y-rows that share a network")


class SirenSlices(torch.nn.Module):
    """A `Siren` for rows ``0 .. rows - 1`` of the box, another for the next ones, and so on; they share no parameter.

    Rows outside the box belong to the nearest network. Along y the field jumps where one network ends and the next begins.

    Notes
    -----
    The parameters of each network are tensors of their own, so that an optimizer leaves those alone whose rows a step doesn't see: in a
    single tensor of all networks, Adam's momentum would move them on. They are stacked row by row when they are used, for batched products.
    Layers are affine matrices whose last column is the bias. All of it is computed in float32, as in `Siren`.

    References
    ----------
    Van Veen et al. (2024), doi:10.3390/ijms25105473; Sitzmann et al. (2020), doi:10.48550/arXiv.2006.09661
    """

    def __init__(self, field_box: FieldBox, options: SirenSlicesOptions) -> None:
        super().__init__()
        self._options = options
        self._num_rows, self._longest = field_box.shape[1], max(field_box.shape)
        count, width = math.ceil(self._num_rows / options.rows), options.width
        omega = options.omega or math.pi * self._longest / 32
        first = torch.empty(count, width, 4).uniform_(-math.pi, math.pi)
        first[:, :, [0, 2]] *= omega / math.pi
        hidden = torch.empty(count, options.depth - 1, width, width + 1).uniform_(-1, 1) * math.sqrt(6 / width)
        hidden[..., -1] /= math.sqrt(6)
        # The field is about 0 at the start, and yet every parameter has a gradient.
        last = torch.empty(count, 1, width + 1).uniform_(-0.1, 0.1) / math.sqrt(width)
        last[..., -1] = 0
        self.first, self.hidden, self.last = (torch.nn.ParameterList(part.clone() for part in parts) for parts in (first, hidden, last))

    def forward(self, lattice: Lattice) -> torch.Tensor:
        """Return ``(y, z, x)`` float32."""
        device = lattice.x.device
        with torch.autocast(device.type, enabled=False):
            owners, y = self._place(lattice.y)
            first, hidden, last = (torch.stack([bank[owner] for owner in owners]) for bank in (self.first, self.hidden, self.last))
            along_z, along_y, along_x, bias = first.split(1, dim=2)
            by_z = along_z * lattice.z + along_y * y[:, None, None] + bias
            in_slice = (by_z[..., None] + (along_x * lattice.x)[:, :, None]).flatten(2)
            rows, points = block_sizes(len(in_slice), in_slice.shape[2], device)
            blocks = zip(*(part.split(rows) for part in (in_slice, *hidden.unbind(1), last)), strict=True)
            values = [_evaluate(layers, piece).flatten() for some, *layers in blocks for piece in some.split(points, dim=2)]
        return torch.cat(values).view(lattice.shape)

    def _place(self, coordinates: torch.Tensor) -> tuple[list[int], torch.Tensor]:
        """Map ``(rows,)`` coordinates to the networks that own them, and to float32 coordinates in which a network's rows span -1..1.

        Notes
        -----
        One network's rows are few, and must be free to differ: a coordinate of the whole box would hardly change from one to the next.
        """
        positions = coordinates.double() * (self._longest / 2) + self._num_rows / 2
        voxels = (positions + _SNAP).floor().clamp(0, self._num_rows - 1)
        owners = voxels.div(self._options.rows, rounding_mode="floor")
        return owners.long().tolist(), (2 * (positions / self._options.rows - owners) - 1).float()

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        """Bound for a forward and a backward pass over ``(y, z, x)`` points: two arrays per hidden layer, stacked parameters, and room."""
        rows, nz, nx = lattice_shape
        width, depth = self._options.width, self._options.depth
        parameters = (depth - 1) * width * (width + 1) + 5 * width + 1
        return 4 * rows * (nz * nx * (2 * width * depth + 3 * width + 4) + 4 * (nz + nx) * width + 4 * parameters) + (1 << 20)

    def learning_rates(self) -> dict[str, float]:
        """Return the suggested learning rate of parameters by the beginning of their name, relative to the fit's."""
        return {"first": 3.0, "hidden": 3.0, "last": 1.0}


def _evaluate(layers: list[torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
    """Map phases ``(rows, width, points)`` to values ``(rows, 1, points)``; every row has a layer ``(after, before + 1)`` of its own."""
    for layer in layers:
        weight, bias = layer.split([layer.shape[2] - 1, 1], dim=2)
        hidden = torch.baddbmm(bias, weight, torch.sin(hidden))
    return hidden
