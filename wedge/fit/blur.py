"""A Gaussian that bounds the detail of a field: density is made of blobs instead of points.

Specimens and microscopes have a finest detail, and where no view measured, nothing else keeps a field from having finer ones. A positive
density that is blurred after it was made positive stays positive and smooth: what is missing is then filled by blobs as wide as the detail
that the views show, not by noise.
"""

import math

import torch

from wedge.banded import Banded
from wedge.lattice import Lattice

_REACH = 3.0
"""Standard deviations at which the Gaussian is cut off."""


def reach_points(sigma_voxels: float, spacing_voxels: float) -> int:
    """Return how many lattice points the Gaussian reaches to either side."""
    return math.ceil(_REACH * sigma_voxels / spacing_voxels) if sigma_voxels > 0 else 0


class Blur:
    """A Gaussian of ``sigma_voxels`` along the three axes of a lattice; the same on any lattice, however it is cut.

    Parameters
    ----------
    sigma_voxels
        Standard deviation in voxels of the field box.
    longest
        Voxels along the box's longest side, which the coordinates -1..1 span.
    """

    def __init__(self, sigma_voxels: float, longest: int) -> None:
        self.sigma_voxels = sigma_voxels
        self._unit = 2 / longest
        self._axes: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._bands: dict[tuple[int, float, torch.device], Banded] = {}

    def widened(self, lattice: Lattice) -> Lattice:
        """Return the lattice with the points around it that the Gaussian reaches."""
        z, y, x = (
            self._widen(axis, spacing, keep)
            for axis, spacing, keep in zip((lattice.z, lattice.y, lattice.x), lattice.spacing_voxels, (True, False, True), strict=True)
        )
        return Lattice(z, y, x, lattice.spacing_voxels)

    def _widen(self, axis: torch.Tensor, spacing: float, keep: bool) -> torch.Tensor:
        # Axes that every step uses are kept: networks know an axis again by its tensor.
        known = self._axes.get(id(axis))
        if known is not None and known[0] is axis:
            return known[1]
        steps = torch.arange(1, reach_points(self.sigma_voxels, spacing) + 1, device=axis.device) * (spacing * self._unit)
        wide = torch.cat([axis[0] - steps.flip(0), axis, axis[-1] + steps])
        if keep:
            if len(self._axes) > 8:
                self._axes.clear()
            self._axes[id(axis)] = axis, wide
        return wide

    def __call__(self, values: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        """Blur values ``(y, z, x)`` on the widened lattice; return those of ``lattice``."""
        spacing_z, spacing_y, spacing_x = lattice.spacing_voxels
        rows, num_z, num_x = lattice.shape
        # Along y first: it leaves the fewest rows for the other two.
        values = self._band(rows, spacing_y, values.device).along(values, 0)
        values = self._band(num_x, spacing_x, values.device).along(values, -1)
        return self._band(num_z, spacing_z, values.device).along(values, -2)

    def _band(self, points: int, spacing: float, device: torch.device) -> Banded:
        """Return the ``(points, points + 2 reach)`` matrix whose rows are the kernel."""
        key = (points, spacing, device)
        if key not in self._bands:
            reach = reach_points(self.sigma_voxels, spacing)
            distance = torch.arange(-reach, reach + 1, device=device) * (spacing / self.sigma_voxels)
            kernel = torch.exp(-0.5 * distance.square())
            kernel = kernel / kernel.sum()
            band = torch.zeros(points, points + 2 * reach, device=device)
            for offset, weight in enumerate(kernel):
                band[:, offset : offset + points].diagonal().fill_(weight)
            if len(self._bands) > 16:
                self._bands.clear()
            self._bands[key] = Banded(band)
        return self._bands[key]
