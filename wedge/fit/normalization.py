"""Units of the fit: the offset of the intensities, the scale of the density and whether it is positive.

All three are found from the tilt series alone and are equivariant: intensities ``a p + b`` give the offset ``a o + b`` and the scale
``a s``, so that the normalized problem, and with it the fit, is the same.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fbp import fbp_slices
from wedge.geometry import TiltGeometry
from wedge.slabs import read_sinograms, read_weights

_SAMPLE_ROWS = 32
_BLOCK = 8
_NOISY_SHARE = 0.5
_ALIKE = 1.15
_SIGNIFICANT = 8.0
_FEWEST_VIEWS = 8
_LEAST_LENGTHENING = 0.3  # of the rays through a slab: 40 degrees
_NEGATIVE_SHARE = 0.05
_MOST_NEGATIVE_SHARE = 0.25
_NORMAL_QUARTILE = 0.6745


@dataclass(frozen=True)
class Normalization:
    """``density = scale * normalized``; ``sinogram = offset + scale * projected normalized``.

    Parameters
    ----------
    offset
        Intensity of a ray that meets no density.
    scale
        Density that the fit calls 1; negative where the specimen is darker than its background.
    positive
        Whether the normalized density is fitted as positive.
    """

    offset: float
    scale: float
    positive: bool


def sample_rows(tilts: TiltSeries) -> np.ndarray:
    """Return up to 32 evenly spread rows as ``(y, tilt, x)`` float64."""
    return np.concatenate([read_sinograms(tilts, y, y + 1) for y in _sampled(tilts)]).astype(np.float64)


def sample_weights(tilts: TiltSeries) -> np.ndarray:
    """Return the weights of the rows of `sample_rows`, ``(y, tilt, x)`` float32; of a series without, a single 1."""
    if tilts.weights is None:
        return np.ones((1, 1, 1), np.float32)
    found = [read_weights(tilts, y, y + 1) for y in _sampled(tilts)]
    return np.concatenate([weights for weights in found if weights is not None])


def _sampled(tilts: TiltSeries) -> list[int]:
    num_rows = tilts.geometry.detector_shape[0]
    return [int(y) for y in np.unique(np.linspace(0, num_rows - 1, min(num_rows, _SAMPLE_ROWS)).round())]


def half_sample_mode(values: np.ndarray) -> float:
    """Return the mode of ``values`` by halving the densest interval, the median where many are equal.

    References
    ----------
    D. R. Bickel, R. Fruehwirth, Comput. Stat. Data Anal. 50 (2006) 3500, doi:10.1016/j.csda.2005.07.011
    """
    ordered = np.sort(values.ravel())
    while len(ordered) > 3:
        half = (len(ordered) + 1) // 2
        widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        # Of equally dense intervals the middle one: ties come from quantized detectors.
        best = np.flatnonzero(widths == widths.min())
        start = int(best[len(best) // 2])
        ordered = ordered[start : start + half]
    return float(np.median(ordered))


def estimate_offset(sinograms: np.ndarray) -> float:
    """Return the background intensity, taken to be the most frequent one, of ``(y, tilt, x)`` intensities."""
    # The mode of all views beats a low percentile: that moves with the noise.
    if sinograms.ndim == 3 and noise_level(sinograms) > _NOISY_SHARE * float(sinograms.std()):
        # Noise broadens the background until its mode is anywhere: means of neighbours bring it back, if neighbours are alike at all.
        means = _block_means(sinograms)
        if means.size > 100 and _BLOCK * float(means.var()) > _ALIKE * float(sinograms.var()):
            sinograms = means
    return half_sample_mode(sinograms)


def offset_of_slab(sinograms: np.ndarray, geometry: TiltGeometry) -> float | None:
    """Return the background intensity of a slab that fills all views, where noise hides it and the tilts tell it; else None.

    The rays of a slab run through it for ``1 / cos`` of the tilt, and through its background alike: a line through the means of the views
    ends, at no density, in the background. Without noise the most frequent intensity is nearer, even if few rays are empty.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)`` intensities.
    """
    lengths = 1 / np.cos(geometry.tilt_angles_rad).clip(1e-3)
    hidden = noise_level(sinograms) > _NOISY_SHARE * float(sinograms.std())
    if not hidden or len(lengths) < _FEWEST_VIEWS or np.ptp(lengths) < _LEAST_LENGTHENING:
        return None
    # What a slab of grains shows of itself varies like its length.
    weights = lengths**-0.5
    (slope, end), covariance = np.polyfit(lengths, sinograms.mean(axis=(0, 2)), 1, w=weights, cov=True)
    # Neighbouring views see much the same grains, so that chance is larger than it looks.
    return float(end) if abs(slope) > _SIGNIFICANT * covariance[0, 0] ** 0.5 else None


def _block_means(sinograms: np.ndarray) -> np.ndarray:
    """Return means over blocks of 8 detector pixels, ``(y, tilt, x // 8)``; of all pixels where there are fewer."""
    width = sinograms.shape[2]
    block = min(_BLOCK, width)
    return np.asarray(sinograms[:, :, : width // block * block].reshape(*sinograms.shape[:2], -1, block).mean(axis=3))


def looks_positive(sinograms: np.ndarray) -> bool:
    """Return whether ``(y, tilt, x)`` intensities without their offset can be projections of positive density.

    They are averaged over blocks of 8 detector pixels first. Then at most 5 % of the absolute sum may be negative beyond what noise can
    make of empty rays, and never more than a quarter: of views with zero mean it is half, however noisy they are.
    """
    blocks = _block_means(sinograms)
    block = min(_BLOCK, sinograms.shape[2])
    total, negative = np.abs(blocks).sum(), -blocks[blocks < 0].sum()
    # A normal variable's negative part has the mean sigma / sqrt(2 pi).
    allowed = blocks.size * noise_level(sinograms) / math.sqrt(2 * math.pi * block)
    return bool(negative <= min(_NEGATIVE_SHARE * total + allowed, _MOST_NEGATIVE_SHARE * total))


def noise_level(sinograms: np.ndarray) -> float:
    """Return the standard deviation of white noise in ``(y, tilt, x)`` intensities, from their second differences along the detector."""
    if sinograms.shape[2] < 3:
        return 0.0
    differences = np.diff(sinograms, n=2, axis=2)
    return float(np.median(np.abs(differences))) / (_NORMAL_QUARTILE * math.sqrt(6))


def estimate_scale(sinograms: np.ndarray, projector: Projector, geometry: TiltGeometry, device: torch.device) -> float:
    """Return the density that the brightest 0.5 % of a smoothed FBP of some rows exceed in absolute value, 0 for an empty series."""
    data = torch.from_numpy(sinograms.astype(np.float32)).to(device)
    peaks = [torch.quantile(fbp_slices(rows[None], projector, geometry, "hann").abs().flatten(), 0.995) for rows in data]
    return float(torch.stack(peaks).mean())


def normalize(tilts: TiltSeries, projector: Projector, device: torch.device, offset: float | str, positivity: str) -> Normalization:
    """Find the units of a fit.

    Parameters
    ----------
    offset
        ``"auto"``: the background for measured data, the mean where density has both signs, 0 for simulated data; ``"none"``: 0; or a
        value.
    positivity
        ``"on"``, ``"off"`` or ``"auto"``: on for density that is brighter, or darker, than its background.

    Raises
    ------
    InputError
        If all sampled intensities are equal: there is nothing to reconstruct.
    """
    sinograms = sample_rows(tilts)
    known_zero = offset == "none" or (offset == "auto" and tilts.simulated)
    value = 0.0 if known_zero else estimate_offset(sinograms) if offset == "auto" else float(offset)
    bright = looks_positive(sinograms - value)
    dark = not bright and looks_positive(value - sinograms)
    one_sign = positivity == "on" or (positivity == "auto" and (bright or dark))
    if offset == "auto" and not (known_zero or one_sign):
        # No background is empty where density has both signs: the mean is what the views agree on.
        value = float(sinograms.mean())
    sinograms -= value
    # Scaling first keeps the estimate of the scale inside float32 whatever the detector's units.
    peak = float(np.abs(sinograms).max())
    scale = peak * estimate_scale(sinograms / peak, projector, tilts.geometry, device) if peak > 0 else 0.0
    if not scale > 0:
        raise InputError(f"{tilts.name}: all intensities equal {value}: nothing to reconstruct")
    if positivity == "auto":
        return Normalization(value, -scale if dark else scale, bright or dark)
    return Normalization(value, scale, positivity == "on")
