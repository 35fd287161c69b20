"""Density that is known before a fit, which then adds only what the views show beyond it."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from wedge.contracts import Projector
from wedge.fit.adaptive import smoothed
from wedge.restore.one_sign import Background

COARSE_VOXELS = 4.7
"""Standard deviation of the Gaussian that tells what is coarse: it leaves half of what has a frequency of 0.04 cycles per voxel."""


def less_coarse(density: torch.Tensor) -> torch.Tensor:
    """Return a density ``(y, z, x)`` without what is coarse in it.

    Of what is beyond known density that is an exchange between the volume and its margins, which views hardly decide.
    """
    return density - smoothed(density, COARSE_VOXELS)


class Known(Protocol):
    """Density of any rows, around the fitted box, and what its views would show."""

    def density(self, rows: range) -> torch.Tensor:
        """Return rows ``(y, z, x)`` with the margins of the fitted box."""

    def views(self, rows: range) -> np.ndarray:
        """Return its sinograms ``(y, tilt, x)``."""

    def bounded(self, density: torch.Tensor) -> torch.Tensor:
        """Return density, known and beyond, without what cannot be."""


class KnownDensity:
    """Density in the units of intensity per pixel, nothing in the margins.

    Parameters
    ----------
    read
        ``read(y_start, y_stop)`` gives rows ``(y, z, x)`` of the volume, without margins.
    projector
        Of the fitted views around the volume, without margins.
    margin
        Voxels that the fitted box is wider on either side in x.
    background
        That nothing lies beyond; None where density has both signs.
    """

    def __init__(
        self,
        read: Callable[[int, int], torch.Tensor],
        projector: Projector,
        margin: int,
        device: torch.device,
        background: Background | None = None,
    ) -> None:
        self._read, self._projector, self._margin, self._device, self._background = read, projector, margin, device, background

    def density(self, rows: range) -> torch.Tensor:
        """Return rows ``(y, z, x)`` with the margins of the fitted box."""
        return functional.pad(self._read(rows.start, rows.stop).to(self._device), (self._margin, self._margin))

    def views(self, rows: range) -> np.ndarray:
        """Return its sinograms ``(y, tilt, x)``."""
        return self._projector.project(self._read(rows.start, rows.stop).to(self._device)).cpu().numpy()

    def bounded(self, density: torch.Tensor) -> torch.Tensor:
        """Return density ``(y, z, x)`` with a flat background, where there is one."""
        return density if self._background is None else self._background.flat(density)
