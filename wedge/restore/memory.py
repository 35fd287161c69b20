"""What a network that restores takes of memory, and how much of a volume it may learn from for that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from wedge.errors import DeviceError
from wedge.restore.halves import PAD
from wedge.restore.network import REACH, slab_bytes
from wedge.restore.training import LEAST_CUBE

LEARNED_VOXELS = 2**25
"""Of the rows that a network learns from, at the most."""
BLOCK_ROWS = 128
"""y-rows that are restored at once: always the same, so that the result does not depend on memory."""
FILTER_ROWS = 24
"""Rows that a filter looks at on either side."""
_COPIES = 20  # arrays of the learned rows that are held at once, spectra included
_COPIES_MORE = 7  # for each further way in which they are halved


@dataclass(frozen=True)
class Footprint:
    """What the memory of a network depends on beside the volume.

    Parameters
    ----------
    channels, half_precision
        Of the network.
    pairs
        In how many ways what it learns from is halved.
    """

    channels: int
    device: torch.device
    half_precision: bool = False
    pairs: int = 1

    def needed_bytes(self, shape: Sequence[int], rows: int) -> int:
        """Return what restoring a volume ``(y, z, x)`` takes beside its halves, of which some rows are learned from."""
        total, num_z, num_x = shape
        block = min(total, BLOCK_ROWS + 2 * (REACH + FILTER_ROWS))
        learning = 4 * (_COPIES + _COPIES_MORE * (self.pairs - 1)) * (rows + 2 * PAD) * num_z * num_x
        applying = 4 * 8 * (block + 2 * PAD) * (num_z + 2 * PAD) * (num_x + 2 * PAD)
        return max(learning, applying) + slab_bytes((block, num_z, num_x), self.channels, self.device, self.half_precision)

    def voxels_within(self, shape: Sequence[int], free_bytes: int) -> int:
        """Return the voxels to learn from so that restoring a volume ``(y, z, x)`` fits into some memory; 0 where nothing does."""
        _, num_z, num_x = shape
        most = min(LEARNED_VOXELS, math.prod(shape))
        while self.needed_bytes(shape, most // (num_z * num_x)) > free_bytes:
            most //= 2
            if most < LEAST_CUBE * num_z * num_x:
                return 0
        return most

    def refusal(self, shape: Sequence[int], limit_bytes: int, free_bytes: int, otherwise: str) -> DeviceError:
        """Return the error of a volume ``(y, z, x)`` that no part of can be learned from, and what is to be done about it."""
        needed = self.needed_bytes(shape, LEAST_CUBE) + limit_bytes - free_bytes
        return DeviceError(
            f"memory limit of {limit_bytes / 2**20:.0f} MiB is too small to restore slices of {shape[1]} x {shape[2]} voxels: "
            f"allow at least {needed / 2**20 + 1:.0f} MiB (--max-memory), or {otherwise}"
        )
