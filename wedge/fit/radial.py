"""Filters of a volume that depend on the frequency's magnitude alone, slab by slab of rows.

Rows are always cut alike, so that the result does not depend on memory; beyond its faces a volume is taken to go on as its mirror image.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from wedge.fit.stack import REACH, spline_basis
from wedge.slabs import slab_ranges

SLAB_ROWS = 32
_PAD = REACH // 2  # what wraps around meets what wraps around from the other side
_TABLE = 4096
_COPIES = 8


def filter_bytes(shape: tuple[int, int, int]) -> int:
    """Return what filtering a slab of a ``(z, y, x)`` volume takes."""
    return 4 * _COPIES * (SLAB_ROWS + 2 * REACH) * (shape[0] + 2 * _PAD) * (shape[2] + 2 * _PAD)


def mirrored(start: int, stop: int, count: int) -> np.ndarray:
    """Return places ``start`` to ``stop``, which may lie outside ``0..count``, as places inside, mirrored at the faces."""
    place = np.arange(start, stop) % (2 * count)
    return np.where(place < count, place, 2 * count - 1 - place)


@cache
def _splines() -> np.ndarray:
    """Return the splines of the weights at each frequency of a table, ``(frequency, knot)``."""
    return spline_basis(np.arange(_TABLE + 1) / _TABLE)


class RadialFilter:
    """Filters for slabs of a ``(z, y, x)`` volume, whose voxels along z and x are so many pixels large."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device, voxel_size_in_pixels: float = 1.0) -> None:
        num_z, self._rows, num_x = shape
        self._device = device
        self._z, self._x = (torch.from_numpy(mirrored(-_PAD, n + _PAD, n)).to(device) for n in (num_z, num_x))
        # The weights are those of frequencies in cycles per pixel.
        along_y = torch.fft.fftfreq(SLAB_ROWS + 2 * REACH, device=device)
        along_z = torch.fft.fftfreq(num_z + 2 * _PAD, voxel_size_in_pixels, device=device)
        along_x = torch.fft.rfftfreq(num_x + 2 * _PAD, voxel_size_in_pixels, device=device)
        squared = along_y[:, None, None].square() + along_z[:, None].square() + along_x.square()
        self._place = (squared.sqrt() * _TABLE).clamp_max(_TABLE - 1)

    def response(self, weights: np.ndarray) -> torch.Tensor:
        """Return what multiplies the spectrum of a slab, for the weights of one estimate at the knots of `wedge.fit.stack`."""
        table = torch.from_numpy(_splines() @ weights).float().to(self._device)
        low = self._place.floor()
        return torch.lerp(table[low.long()], table[low.long() + 1], self._place - low)

    def add(self, into: torch.Tensor, read: Callable[[int, int], torch.Tensor], weights: np.ndarray) -> None:
        """Add a filtered volume to ``into``, ``(y, z, x)``; ``read(y_start, y_stop)`` gives its rows."""
        response = self.response(weights)
        for rows in slab_ranges(self._rows, SLAB_ROWS):
            into[rows.start : rows.stop] += self.filtered(rows, read, response).to(into.device)

    def filtered(self, rows: range, read: Callable[[int, int], torch.Tensor], response: torch.Tensor) -> torch.Tensor:
        """Return one of the slabs of `SLAB_ROWS` rows ``(y, z, x)``, filtered by a `response`."""
        places = mirrored(rows.start - REACH, rows.start + SLAB_ROWS + REACH, self._rows)
        low, high = int(places.min()), int(places.max()) + 1
        slab = read(low, high).to(self._device)[torch.from_numpy(places - low).to(self._device)]
        slab = slab[:, self._z][:, :, self._x]
        spectrum = torch.fft.rfftn(slab) * response
        return torch.fft.irfftn(spectrum, s=slab.shape)[REACH : REACH + len(rows), _PAD:-_PAD, _PAD:-_PAD]
