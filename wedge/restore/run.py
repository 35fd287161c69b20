"""Restoring a whole tomogram from its two halves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from wedge.errors import DeviceError
from wedge.output import Writer
from wedge.restore.halves import LOWEST, Pair, pair_of, radius, shell_of
from wedge.restore.network import applied
from wedge.restore.training import RestoreConfig, trained
from wedge.slabs import available_memory_bytes, chunk_rows, slab_ranges

_COPIES = 20  # arrays of the volume's size that are held at once, spectra and the network's included


@dataclass(frozen=True)
class Restored:
    """What was made, ``(y, z, x)``, and how much of each shell's measured part is the halves' own."""

    density: torch.Tensor
    share_measured: list[float]


def require_memory(shape: Sequence[int], device: torch.device) -> None:
    """Refuse volumes that do not fit.

    Raises
    ------
    DeviceError
        If there is less memory than the volumes need.
    """
    needed = 4 * _COPIES * shape[0] * shape[1] * shape[2]
    free = available_memory_bytes() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise DeviceError(
            f"restoring {'x'.join(map(str, shape))} voxels takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free on {device}: "
            "make halves of averaged voxels (wedge fbp --bin) or of a part (--crop-x, --crop-y)"
        )


def restored(
    first: torch.Tensor,
    second: torch.Tensor,
    tilt_angles_deg: Sequence[float],
    config: RestoreConfig,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Restored:
    """Return what two half volumes ``(y, z, x)`` say of their specimen, once a network has learned from them.

    What views measured stays as they measured it, frequency by frequency as far as that is better than what the network says of it.
    """
    pair = pair_of(first, second, tilt_angles_deg)
    network = trained(pair, tilt_angles_deg, config, on_step)
    made = [applied(network, half) for half in pair.filtered]
    return _joined(pair, made)


def _joined(pair: Pair, made: Sequence[torch.Tensor]) -> Restored:
    """Join what a network makes of both halves with what was measured.

    A half's noise is no part of what was made of the other one: their difference, less that noise, is the error of what was made.
    """
    shape, device = pair.halves[0].shape, pair.halves[0].device
    measured = [torch.fft.rfftn(half) for half in pair.halves]
    guessed = [torch.fft.rfftn(each) for each in made]
    apart = [pair.shell_mean((measured[one] - guessed[1 - one]).abs().square()) for one in (0, 1)]
    noise = pair.noise.to(device)
    error = ((apart[0] + apart[1]) / 2 - noise).clamp_min(0)
    share = error / (error + noise / 2)
    frequency = radius(tuple(shape), device)
    kept = share[shell_of(frequency)] * pair.measured
    joined = torch.lerp((guessed[0] + guessed[1]) / 2, (measured[0] + measured[1]) / 2, kept.to(measured[0].dtype))
    low = torch.fft.rfftn((pair.filtered[0] + pair.filtered[1]) / 2)
    joined = torch.where(frequency > LOWEST, joined, low)
    density = torch.fft.irfftn(joined, s=shape) * pair.scale + pair.mean
    return Restored(density, share.tolist())


def write(density: torch.Tensor, writer: Writer) -> None:
    """Write ``(y, z, x)`` density."""
    rows, num_z, num_x = density.shape
    for part in slab_ranges(rows, chunk_rows((num_z, rows, num_x))):
        writer.write_rows(part.start, density[part.start : part.stop].cpu())
