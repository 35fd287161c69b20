"""Classical methods that benchmarks compare with: SIRT, by any projector."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wedge import store
from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.registry import Registry
from wedge.slabs import read_sinograms, read_slices, slab_ranges

CHECKS = (2, 5, *range(10, 201, 10))
"""Iterations after which `best_sirt` looks at the truth."""
PATIENCE = 3
BLOCK_ROWS = 16


def sirt(
    sinograms: torch.Tensor, projector: Projector, iterations: int, *, positive: bool, start: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``(y, z, x)`` after some iterations of ``f += C P^T R (p - P f)``, R and C the inverse row and column sums.

    Begins at ``start``, or at 0.

    References
    ----------
    Gregor and Benson (2008), https://doi.org/10.1109/TMI.2008.923696
    """
    num_rays = torch.ones_like(sinograms[:1])
    column_sums = projector.backproject(num_rays)
    row_sums = projector.project(torch.ones_like(column_sums))
    rows = torch.where(row_sums > 1e-3 * row_sums.max(), 1 / row_sums.clamp_min(1e-6), 0)
    columns = torch.where(column_sums > 1e-3 * column_sums.max(), 1 / column_sums.clamp_min(1e-6), 0)
    density = sinograms.new_zeros(len(sinograms), *column_sums.shape[1:]) if start is None else start.clone()
    for _ in range(iterations):
        density += columns * projector.backproject(rows * (sinograms - projector.project(density)))
        if positive:
            density.clamp_(min=0)
    return density


def best_sirt(tilts_path: Path, truth_path: Path, out: Path, positive: bool, offset: float, sign: float) -> dict[str, Any]:
    """Write SIRT of a series less ``offset``, times ``sign``, stopped where its correlation with the truth is largest.

    The stop is one number for the whole volume, looked for up to 200 iterations, or until three checks in a row are worse than the best.
    Returns the seconds up to the best and the number of iterations; the search beyond it is not counted.
    """
    begun = time.perf_counter()
    tilts = store.open_tilts(tilts_path)
    num_rows = tilts.geometry.volume_shape[1]
    truth = sign * read_slices(store.open_volume(truth_path), 0, num_rows)
    projector = Registry.load().resolve("projector", "torch").build(tilts.geometry, torch.device("cpu"))
    sinograms = torch.from_numpy(read_sinograms(tilts, 0, num_rows)) - offset
    density = torch.zeros(truth.shape)
    best, kept, stop, seconds, worse, done = -1.0, density, 0, 0.0, 0, 0
    for check in CHECKS:
        for rows in slab_ranges(num_rows, BLOCK_ROWS):
            part = slice(rows.start, rows.stop)
            density[part] = sirt(sinograms[part], projector, check - done, positive=positive, start=density[part])
        done = check
        found = float(np.corrcoef(density.numpy().ravel(), truth.ravel())[0, 1])
        worse = 0 if found > best else worse + 1
        if found > best:
            best, kept, stop, seconds = found, density.clone(), done, time.perf_counter() - begun
        if worse == PATIENCE:
            break
    projector.close()
    write_volume(
        out, tilts, sign * kept, {"method": "SIRT stopped with the truth", "iterations": stop, "positive": positive, "offset": offset}
    )
    return {"seconds": round(seconds, 1), "iterations": stop}


def write_volume(out: Path, tilts: TiltSeries, slices: torch.Tensor, record: dict[str, Any]) -> None:
    """Write ``(y, z, x)`` density that a rival has made of a series."""
    geometry = tilts.geometry
    with store.create_volume(
        out,
        geometry.volume_shape,
        voxel_size_angstrom=geometry.voxel_size_angstrom,
        tilt_angles_deg=geometry.tilt_angles_deg,
        overwrite=True,
    ) as writer:
        writer.write_rows(0, slices)
        writer.commit(record)
