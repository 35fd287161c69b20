"""Classical methods that benchmarks compare with: SIRT, by any projector."""

import torch

from wedge.contracts import Projector


def sirt(sinograms: torch.Tensor, projector: Projector, iterations: int, *, positive: bool) -> torch.Tensor:
    """Return ``(y, z, x)`` after some iterations of ``f += C P^T R (p - P f)``, R and C the inverse row and column sums.

    References
    ----------
    Gregor and Benson (2008), https://doi.org/10.1109/TMI.2008.923696
    """
    num_rays = torch.ones_like(sinograms[:1])
    column_sums = projector.backproject(num_rays)
    row_sums = projector.project(torch.ones_like(column_sums))
    rows = torch.where(row_sums > 1e-3 * row_sums.max(), 1 / row_sums.clamp_min(1e-6), 0)
    columns = torch.where(column_sums > 1e-3 * column_sums.max(), 1 / column_sums.clamp_min(1e-6), 0)
    density = torch.zeros(len(sinograms), *column_sums.shape[1:])
    for _ in range(iterations):
        density += columns * projector.backproject(rows * (sinograms - projector.project(density)))
        if positive:
            density.clamp_(min=0)
    return density
