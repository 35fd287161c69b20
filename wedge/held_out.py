"""What a volume says of views that it was not made from: their error and their Fourier ring correlation, view by view."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries, Volume
from wedge.errors import InputError
from wedge.evaluate import Progress
from wedge.fourier import BANDS, band_means, voronoi_weights_rad
from wedge.intensity import refuse_not_finite
from wedge.rings import RingSums, edge_taper, ring_sums
from wedge.slabs import chunk_rows, read_sinograms, read_slices, read_weights, slab_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAME_ANGLE_DEG = 0.01


@dataclass(frozen=True)
class Views:
    """Views of a series beside those that a volume predicts, ``(y, tilt, x)`` float32, and those of a box of density 1, ``(tilt, x)``.

    ``weights`` ``(y, tilt, x)`` multiply the residuals of rays; None where all are 1.
    """

    measured: "NDArray[np.float32]"
    predicted: "NDArray[np.float32]"
    box: "NDArray[np.float32]"
    weights: "NDArray[np.float32] | None" = None

    def fitted(self, scale: float, density: float, offset: float) -> "NDArray[np.float32]":
        """Return the predicted views of ``scale * volume + density``, plus an offset."""
        found = self.predicted * np.float32(scale)
        found += np.float32(density) * self.box + np.float32(offset)
        return found


def unseen_views(volume: Volume, tilts: TiltSeries, places: Sequence[int], unseen: Sequence[int] | None = None) -> "NDArray[np.bool_]":
    """Return which views a volume was not made from, ``(tilt,)``.

    Parameters
    ----------
    volume
        Its record, or the angles of its views, tell.
    places
        Where each view of ``tilts`` stands in its stack.
    unseen
        Places of the views that it was not made from, for a volume that does not say.

    Raises
    ------
    InputError
        If nobody says which views it was made from.

    Notes
    -----
    A view was seen if the volume was made from one of its angle, so that of two views of one angle neither passes for unseen by mistake.
    """
    if unseen is not None:
        return np.isin(np.asarray(places), np.asarray(list(unseen), dtype=int))
    if volume.tilt_angles_deg is None:
        raise InputError(
            f"{volume.name} does not say which views it was made from: name the ones that it has not seen by --unseen-views, or none"
        )
    apart = np.abs(np.asarray(tilts.geometry.tilt_angles_deg)[:, None] - np.asarray(volume.tilt_angles_deg)[None])
    return np.asarray(apart.min(axis=1) > _SAME_ANGLE_DEG)


def predict_views(
    volume: Volume, tilts: TiltSeries, projector: Projector, *, device: torch.device | str = "cpu", on_progress: Progress | None = None
) -> Views:
    """Return all views beside those predicted by a volume.

    Parameters
    ----------
    projector
        Built for `wedge.agreement.agreement_geometry`.

    Raises
    ------
    InputError
        If a value is not finite.

    Notes
    -----
    Both stacks, and weights where there are some, are kept in main memory: rings go through whole views, the files through rows.
    """
    num_rows = int(volume.array.shape[1])
    shape = (num_rows, tilts.geometry.num_tilts, tilts.geometry.detector_shape[1])
    num_z, _, num_x = (int(n) for n in volume.array.shape)
    with torch.no_grad():
        box = projector.project(torch.ones((1, num_z, num_x), device=device))[0].cpu().numpy()
    views = Views(
        np.empty(shape, np.float32), np.empty(shape, np.float32), box, None if tilts.weights is None else np.empty(shape, np.float32)
    )
    with torch.no_grad():
        for rows in slab_ranges(num_rows, chunk_rows((num_z, num_rows, num_x))):
            slices, sinograms = read_slices(volume, rows.start, rows.stop), read_sinograms(tilts, rows.start, rows.stop)
            refuse_not_finite(slices, volume.name, rows)
            refuse_not_finite(sinograms, tilts.name, rows)
            views.predicted[rows.start : rows.stop] = projector.project(torch.from_numpy(slices).to(device)).cpu().numpy()
            views.measured[rows.start : rows.stop] = sinograms
            if views.weights is not None and (weights := read_weights(tilts, rows.start, rows.stop)) is not None:
                views.weights[rows.start : rows.stop] = weights
            if on_progress is not None:
                on_progress(len(rows))
    return views


def fit_on(views: Views, chosen: "NDArray[np.bool_]") -> tuple[float, float, float]:
    """Return scale and constant of the density, and offset of the intensities, that bring chosen predicted views closest to the measured.

    Raises
    ------
    InputError
        If the chosen measured views are constant.
    """
    # Rows: predicted, box, 1; columns: these, measured. View by view: float64 of a whole series is gigabytes.
    products, of_seen = np.zeros((3, 4)), []
    for view in np.flatnonzero(chosen):
        measured = views.measured[:, view].astype(np.float64)
        columns = [views.predicted[:, view].astype(np.float64), np.broadcast_to(views.box[view], measured.shape).astype(np.float64)]
        columns += [np.ones_like(measured), measured]
        # Squared, as the residuals that they multiply are.
        counted = np.ones(()) if views.weights is None else np.square(views.weights[:, view].astype(np.float64))
        products += [[float((row * counted * column).sum()) for column in columns] for row in columns[:3]]
        seen = measured if views.weights is None else measured[counted > 0]
        if seen.size:
            of_seen.append((seen.size, float(seen.mean()), float(seen.var())))
    counts, means, variances = np.array(of_seen).reshape(-1, 3).T
    middle = float((counts * means).sum() / max(counts.sum(), 1))
    spread = float((counts * (variances + (means - middle) ** 2)).sum() / max(counts.sum(), 1)) ** 0.5
    if not spread > 1e-12 * max(abs(middle), 1e-300):
        raise InputError("the views are constant: nothing can be compared with them")
    normal, target = products[:, :3], products[:, 3]
    size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    # What the views cannot tell apart, as a box as wide as the detector from an offset, is shared out.
    found = np.linalg.pinv(normal / size / size[:, None], rcond=1e-9) @ (target / size) / size
    return float(found[0]), float(found[1]), float(found[2])


@dataclass(frozen=True)
class ViewErrors:
    """Errors of each view, in the order of the series.

    Parameters
    ----------
    tilt_angles_deg, unseen
        ``(tilt,)``: angles, and whether the volume was not made from the view.
    rings
        Sums over rings of each view.
    noise_power
        Power of the measured noise at each frequency of a view, or 0 where none was found.
    """

    tilt_angles_deg: "NDArray[np.float64]"
    unseen: "NDArray[np.bool_]"
    rings: RingSums
    noise_power: float

    def error(self, chosen: "NDArray[np.bool_]", weight: str = "plain", angular: bool = False) -> float:
        """Return the relative error of the chosen views together; NaN where there is none.

        ``weight`` is plain, or ramp: power times frequency across the tilt axis, as views make up a volume. ``angular``: each view counts
        for the angle it stands for, the outermost for what lies beyond them as well.
        """
        chosen = self._counting(chosen)
        if not chosen.any():
            return math.nan
        per_view = self._angular_weights(chosen) if angular else np.ones(int(chosen.sum()))
        difference, measured = (getattr(self.rings, f"{name}_{weight}")[chosen] for name in ("difference", "measured"))
        return math.sqrt(float((per_view * difference).sum() / max((per_view * measured).sum(), 1e-300)))

    def noise_error(self, chosen: "NDArray[np.bool_]", weight: str = "plain") -> float:
        """Return the error of the chosen views that noise alone makes: that of a volume without any."""
        chosen = self._counting(chosen)
        if not chosen.any():
            return math.nan
        noise = self.noise_power * getattr(self.rings, f"count_{weight}") * int(chosen.sum())
        return math.sqrt(min(1.0, noise / max(float(getattr(self.rings, f"measured_{weight}")[chosen].sum()), 1e-300)))

    def correlation(self, chosen: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        """Return the Fourier ring correlation, ``(ring,)``, the mean over the chosen views; NaN in empty rings."""
        chosen = self._counting(chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            each = self.rings.cross[chosen] / np.sqrt(self.rings.predicted[chosen] * self.rings.measured[chosen])
        each = np.where(self.rings.predicted[chosen] > 0, each, 0.0)
        each[:, self.rings.count == 0] = np.nan
        return np.asarray(each.mean(axis=0)) if chosen.any() else np.full(self.rings.count.shape, np.nan)

    def limit(self, chosen: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        """Return the correlation that the noise-free truth would have with the chosen views, ``(ring,)``."""
        chosen = self._counting(chosen)
        if not chosen.any():
            return np.full(self.rings.count.shape, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = 1 - self.noise_power * self.rings.count / self.rings.measured[chosen]
        return np.asarray(np.sqrt(np.clip(share, 0, 1)).mean(axis=0))

    def _counting(self, chosen: "NDArray[np.bool_]") -> "NDArray[np.bool_]":
        """Return which of the chosen views have a ray that counts."""
        return np.asarray(chosen & (self.rings.measured_plain > 0))

    def _angular_weights(self, chosen: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        angles = self.tilt_angles_deg[chosen]
        weights = voronoi_weights_rad(angles) if len(angles) > 1 else np.ones(1)
        beyond = np.deg2rad(max(0.0, 180.0 - float(np.ptp(self.tilt_angles_deg)))) / 2
        for end in (np.argmin(angles), np.argmax(angles)):
            weights[end] += beyond
        return np.asarray(weights)

    def summary(self, chosen: "NDArray[np.bool_]") -> dict[str, float]:
        """Return the figures of the chosen views by name."""
        correlation, limit = self.correlation(chosen), self.limit(chosen)
        values = {"error": self.error(chosen), "frc": _mean(correlation), "ramp-error": self.error(chosen, "ramp")}
        if self.noise_power > 0:
            values |= {"noise-error": self.noise_error(chosen), "frc-limit": _mean(limit)}
        bands = band_means(self.rings.frequency, correlation)
        return values | {f"frc-{low:g}-{high:g}": bands[place] for place, (low, high) in enumerate(BANDS)}


def _mean(values: "NDArray[np.float64]") -> float:
    finite = values[1:][np.isfinite(values[1:])]
    return float(finite.mean()) if finite.size else math.nan


def errors_of(views: Views, tilts: TiltSeries, unseen: "NDArray[np.bool_]", noise_power: float) -> ViewErrors:
    """Return the errors of all views after one fit of intensities on the views that the volume has seen; on all where it has seen none."""
    scale, density, offset = fit_on(views, ~unseen if not unseen.all() else unseen)
    fitted, taper = views.fitted(scale, density, offset), edge_taper(tilts.geometry.detector_shape)
    rings = ring_sums(fitted, views.measured, offset, taper, views.weights)
    return ViewErrors(np.asarray(tilts.geometry.tilt_angles_deg), unseen, rings, noise_power)


def measured_noise(tilts: TiltSeries) -> dict[str, Any]:
    """Return ``power`` of white noise in a pixel of the views, and ``signal_to_noise``; power 0 where signal fills the whole band."""
    from wedge.fit.normalization import sample_rows, sample_weights
    from wedge.fit.spectrum import NOISE_FREE, measure

    spectrum = measure(sample_rows(tilts), tilts.geometry)
    ratio = spectrum.signal_to_noise
    # What is led over into rays of weight 0 has hardly any noise.
    seen = max(float((sample_weights(tilts) > 0).mean()), 1e-3)
    return {"power": spectrum.noise_variance / seen if ratio < NOISE_FREE else 0.0, "signal_to_noise": ratio}
