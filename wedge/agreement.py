"""How well a volume explains a tilt series: quality without a reference."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wedge.contracts import Curve, Projector
from wedge.data import TiltSeries, Volume
from wedge.errors import InputError
from wedge.evaluate import Evaluation, Progress
from wedge.geometry import TiltGeometry
from wedge.intensity import FitKind, IntensityFit, fit_intensities, fit_notes, refuse_not_finite
from wedge.slabs import chunk_rows, read_sinograms, read_slices, read_weights, slab_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "tilts"
RESIDUAL, CORRELATION = "residual", "correlation"


def agreement_geometry(volume: Volume, tilts: TiltSeries) -> TiltGeometry:
    """Return the geometry in which the volume is to be projected: that of the views, around the volume's own box.

    Raises
    ------
    InputError
        If the volume has other rows than the views.
    """
    nz, ny, nx = (int(n) for n in volume.array.shape)
    geometry = tilts.geometry
    if ny != geometry.detector_shape[0]:
        raise InputError(
            f"rows (y) differ: {volume.name} has shape (z, y, x) {(nz, ny, nx)}, the views of {tilts.name} "
            f"have (y, x) {geometry.detector_shape}; "
            "crop or bin one to match the other"
        )
    return geometry.with_volume((nz, ny, nx), geometry.voxel_size_in_pixels, geometry.volume_centre_pixels)


def evaluate_tilts(
    volume: Volume,
    tilts: TiltSeries,
    projector: Projector,
    *,
    intensity_fit: FitKind = "affine",
    slab_rows: int | None = None,
    device: torch.device | str = "cpu",
    on_progress: Progress | None = None,
) -> Evaluation:
    """Score the projections of a volume against measured views.

    Parameters
    ----------
    volume
        ``(z, y, x)``.
    tilts
        ``(tilt, y, x)``. Give views that the volume was not made from to learn something of what it says between the views.
    projector
        Built for `agreement_geometry`.
    intensity_fit
        "affine" finds one scale of all projections and one offset of all views by least squares; "none" compares as it is.
    slab_rows
        Rows at once; by default those of a chunk. Results don't depend on it.
    device
        Where to compute; the projector's.
    on_progress
        Called with the rows done; there are ``y`` of them.

    Returns
    -------
    Evaluation
        ``tilts.residual``, relative: the norm of views minus fitted projections over the norm of views minus fitted offset, and
        ``tilts.correlation``, Pearson's, over all pixels; both for every y-row too, and for every view as a curve over the tilt angle.

    Raises
    ------
    InputError
        If the rows differ, a value is not finite, or the views are constant.
    """
    geometry = agreement_geometry(volume, tilts)
    shape = geometry.volume_shape
    moments: list[NDArray[np.float64]] = []
    with torch.no_grad():
        for rows in slab_ranges(shape[1], slab_rows or chunk_rows(shape)):
            slices, views = read_slices(volume, rows.start, rows.stop), read_sinograms(tilts, rows.start, rows.stop)
            refuse_not_finite(slices, volume.name, rows)
            refuse_not_finite(views, tilts.name, rows)
            ours = projector.project(torch.from_numpy(slices).to(device)).double()
            theirs = torch.from_numpy(views).to(device).double()
            weights = read_weights(tilts, rows.start, rows.stop)
            # Squared, as the residuals that they multiply are: a ray of weight 0 doesn't count.
            count = torch.ones_like(theirs) if weights is None else torch.from_numpy(weights).to(device).double().square()
            products = (ours * count, theirs * count, ours * ours * count, ours * theirs * count, theirs * theirs * count, count)
            moments.append(torch.stack([part.sum(dim=2) for part in products]).cpu().numpy())
            if on_progress is not None:
                on_progress(len(rows))
    sums = _Moments(np.concatenate(moments, axis=1))
    return _score(volume, tilts, sums, intensity_fit)


@dataclass(frozen=True)
class _Moments:
    """Sums of a, b, aa, ab, bb and 1 over detector pixels, ``(6, y, tilt)``, of projections a and views b, rays by their weights."""

    sums: "NDArray[np.float64]"

    def over(self, axes: tuple[int, ...]) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """Return the moments summed over rows (1) or views (2), and how many values they are of."""
        summed = self.sums.sum(axis=axes)
        return summed[:5], np.asarray(summed[5])


def _score(volume: Volume, tilts: TiltSeries, sums: _Moments, kind: FitKind) -> Evaluation:
    whole, counted = sums.over((1, 2))
    count = float(counted)
    if not count > 0:
        raise InputError(f"all weights are 0: {tilts.name}; nothing can be compared with them")
    if not whole[4] / count - (whole[1] / count) ** 2 > 1e-14 * whole[4] / count:
        raise InputError(f"the views are constant: {tilts.name}; nothing can be compared with them")
    fit = fit_intensities(kind, count, [float(part) for part in whole[:4]])
    residual, correlation = _scores(whole, count, fit)
    row_residual, row_correlation = _scores(*sums.over((2,)), fit)
    view_residual, view_correlation = _scores(*sums.over((1,)), fit)
    angles = np.asarray(tilts.geometry.tilt_angles_deg)
    order = np.argsort(angles, kind="stable")
    series = {RESIDUAL: view_residual[order].tolist(), CORRELATION: view_correlation[order].tolist()}
    curve = Curve("tilt angle in degrees", angles[order].tolist(), series)
    fitted = (
        f"projections times {fit.scale:.6g} plus {fit.offset:.6g} fitted to the views; residual relative to the views less that offset"
        if kind == "affine"
        else "intensities not fitted; residual relative to the views"
    )
    return Evaluation(
        volume.name,
        tilts.name,
        fit,
        values={f"{NAME}.{RESIDUAL}": float(residual), f"{NAME}.{CORRELATION}": float(correlation)},
        per_slice={f"{NAME}.{RESIDUAL}": row_residual.tolist(), f"{NAME}.{CORRELATION}": row_correlation.tolist()},
        curves={NAME: curve},
        notes={NAME: "; ".join([fitted, *fit_notes(fit)])},
    )


def _scores(
    moments: "NDArray[np.float64]", count: "NDArray[np.float64] | float", fit: IntensityFit
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return relative residuals and correlations from ``(5, ...)`` moments; NaN where they are not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b, aa, ab, bb = (np.asarray(part) / count for part in moments)
    scale, offset = fit.scale, fit.offset
    signal = bb - 2 * offset * b + offset**2
    residual = signal - 2 * scale * (ab - offset * a) + scale**2 * aa
    spread = (aa - a**2) * (bb - b**2)
    defined = spread > 1e-24 * aa * bb
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(signal > 0, np.sqrt(np.maximum(residual, 0) / signal), np.nan)
        correlation = np.where(defined, (ab - a * b) / np.sqrt(np.maximum(spread, 0)), np.nan)
    return relative, correlation
