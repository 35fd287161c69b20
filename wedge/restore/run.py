"""Restoring a whole tomogram from its two halves."""

from collections.abc import Callable, Sequence

import torch

from wedge.errors import DeviceError
from wedge.output import Writer
from wedge.restore.halves import pair_of
from wedge.restore.network import applied, slab_bytes
from wedge.restore.training import RestoreConfig, trained
from wedge.slabs import available_memory_bytes, chunk_rows, slab_ranges

_COPIES = 20  # arrays of the volume's size that are held at once, spectra included


def require_memory(shape: Sequence[int], channels: int, device: torch.device) -> None:
    """Refuse volumes ``(z, y, x)`` that do not fit, with what a network of some channels takes.

    Raises
    ------
    DeviceError
        If there is less memory than the volumes need.
    """
    num_z, rows, num_x = shape
    needed = 4 * _COPIES * num_z * rows * num_x + slab_bytes((rows, num_z, num_x), channels)
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
) -> torch.Tensor:
    """Return the mean of two half volumes ``(y, z, x)``, both restored by a network that has learned from them."""
    pair = pair_of(first, second, tilt_angles_deg)
    network = trained(pair, tilt_angles_deg, config, on_step)
    made = (applied(network, pair.filtered[0]) + applied(network, pair.filtered[1])) / 2
    # The mean is not learned.
    return (made - made.mean()) * pair.scale + pair.mean


def write(density: torch.Tensor, writer: Writer) -> None:
    """Write ``(y, z, x)`` density."""
    rows, num_z, num_x = density.shape
    for part in slab_ranges(rows, chunk_rows((num_z, rows, num_x))):
        writer.write_rows(part.start, density[part.start : part.stop].cpu())
