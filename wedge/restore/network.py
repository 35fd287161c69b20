"""The network that restores: a small U-Net of three resolutions."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from wedge.restore.resolution import doubled, halved

COARSEST = 4
"""Voxels of the coarsest resolution along an axis: inputs are multiples of it."""
REACH = 28
"""Voxels, a multiple of `COARSEST`, beyond which an input has no say in an output."""


class _Two(nn.Sequential):
    """Two convolutions, each with its rectifier."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__(nn.Conv3d(given, made, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv3d(made, made, 3, padding=1), nn.LeakyReLU(0.1))


class Restorer(nn.Module):
    """Adds to a density ``(n, 1, y, z, x)`` what it lacks and takes away what is too much; sides are multiples of `COARSEST`.

    With ``half_precision``, layers compute in bfloat16.
    """

    def __init__(self, channels: int, half_precision: bool = False) -> None:
        super().__init__()
        self.half_precision = half_precision
        self.fine, self.middle, self.coarse = _Two(1, channels), _Two(channels, 2 * channels), _Two(2 * channels, 4 * channels)
        self.to_middle, self.from_middle = nn.Conv3d(4 * channels, 2 * channels, 1), _Two(4 * channels, 2 * channels)
        self.to_fine, self.from_fine = nn.Conv3d(2 * channels, channels, 1), _Two(2 * channels, channels)
        self.last = nn.Conv3d(channels, 1, 1)
        # Channels beside one another are what convolutions of few of them are fastest with.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, density: torch.Tensor) -> torch.Tensor:
        """Return the restored density, of the same shape."""
        # A copy: with a single channel any layout is taken for this one, and convolutions would change it back and forth.
        given = density.clone(memory_format=torch.channels_last_3d)
        with torch.autocast(density.device.type, torch.bfloat16, enabled=self.half_precision):
            added = self._added(given)
        return density + added.float()

    def _added(self, density: torch.Tensor) -> torch.Tensor:
        fine = self.fine(density)
        middle = self.middle(halved(fine))
        coarse = self.coarse(halved(middle))
        middle = self.from_middle(torch.cat([doubled(self.to_middle(coarse)), middle], 1))
        fine = self.from_fine(torch.cat([doubled(self.to_fine(middle)), fine], 1))
        added: torch.Tensor = self.last(fine)
        return added


def half_precision_pays(device: torch.device) -> bool:
    """Return whether convolutions in bfloat16 are faster than in float32, and not only smaller."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Torch has no public word for what a processor can do beside its vectors' length.
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(bool(ask()) for ask in asked if ask is not None)


_AT_ONCE = {"cpu": 2**20, "cuda": 2**23}  # voxels of a slab, halos not counted; large ones spend less on halos
_LEAST_ROWS = REACH
_ARRAYS = {"cpu": 8, "cuda": 10}  # of all channels in single precision, that a forward pass holds at once, at the most
_ALIKE_DEG = 6.0  # between the outermost views of either side


def slab_rows(num_z: int, num_x: int, voxels_at_once: int) -> int:
    """Return the y-rows that are restored at once, a multiple of `COARSEST`; with fewer most would be spent on their halos."""
    return max(_LEAST_ROWS, voxels_at_once // (num_z * num_x) // COARSEST * COARSEST)


def slab_bytes(shape: Sequence[int], channels: int, device: torch.device, half_precision: bool = False) -> int:
    """Return what a slab of a volume ``(y, z, x)`` takes while it is restored."""
    rows, num_z, num_x = (count + 5 * COARSEST for count in shape)
    voxels = min(rows, slab_rows(num_z, num_x, _AT_ONCE[device.type]) + 2 * REACH) * num_z * num_x
    # What convolutions on a GPU take beside is not measured: there the numbers count as whole.
    return (2 if half_precision and device.type == "cpu" else 4) * _ARRAYS[device.type] * channels * voxels


@torch.no_grad()
def applied(network: Restorer, density: torch.Tensor, voxels_at_once: int | None = None) -> torch.Tensor:
    """Return a whole density ``(y, z, x)`` restored, slab by slab with halos that leave no seams."""
    voxels_at_once = voxels_at_once or _AT_ONCE[density.device.type]
    rows, num_z, num_x = density.shape
    sides = [(COARSEST * 2, COARSEST * 2 + -count % COARSEST) for count in (rows, num_z, num_x)]
    padding = [pad for side in reversed(sides) for pad in side]
    padded = functional.pad(density[None, None], padding, mode="replicate")
    length = padded.shape[2]
    step = slab_rows(padded.shape[3], padded.shape[4], voxels_at_once)
    found = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        low, high = max(0, start - REACH), min(length, stop + REACH)
        found.append(network(padded[:, :, low:high])[0, 0, start - low : stop - low])
    margin = COARSEST * 2
    return torch.cat(found)[margin : margin + rows, margin : margin + num_z, margin : margin + num_x]


def half_turns(tilt_angles_deg: Sequence[float]) -> list[tuple[int, ...]]:
    """Return the axes ``(y, z, x)`` to be flipped for each half turn after which views would have measured the same frequencies.

    About the tilt axis that is always so, about the others where views are tilted to both sides alike.
    """
    alike = abs(min(tilt_angles_deg) + max(tilt_angles_deg)) <= _ALIKE_DEG
    return [(), (1, 2), *([(0, 1), (0, 2)] if alike else [])]


def applied_all_round(network: Restorer, density: torch.Tensor, turns: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Return the mean of what a network makes of a density ``(y, z, x)`` in several positions, see `half_turns`."""
    made = torch.zeros_like(density)
    for axes in turns:
        made += applied(network, density.flip(axes)).flip(axes)
    return made / len(turns)
