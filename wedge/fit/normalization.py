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
from wedge.fit.background import BLOCK, background, block_means, noise_level
from wedge.geometry import TiltGeometry
from wedge.slabs import read_sinograms, read_weights

_SAMPLE_ROWS = 32
_NEGATIVE_SHARE = 0.05
_MOST_NEGATIVE_SHARE = 0.25


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


def looks_positive(sinograms: np.ndarray, weights: np.ndarray | None = None) -> bool:
    """Return whether ``(y, tilt, x)`` intensities without their offset can be projections of positive density.

    They are averaged over blocks of 8 detector pixels first. Then at most 5 % of the absolute sum may be negative beyond what noise can
    make of empty rays, and never more than a quarter: of views with zero mean it is half, however noisy they are. Noise is that of rays
    whose weight is not 0.
    """
    blocks = block_means(sinograms)
    block = min(BLOCK, sinograms.shape[2])
    total, negative = np.abs(blocks).sum(), -blocks[blocks < 0].sum()
    # A normal variable's negative part has the mean sigma / sqrt(2 pi).
    allowed = blocks.size * noise_level(sinograms, weights) / math.sqrt(2 * math.pi * block)
    return bool(negative <= min(_NEGATIVE_SHARE * total + allowed, _MOST_NEGATIVE_SHARE * total))


def estimate_scale(sinograms: np.ndarray, projector: Projector, geometry: TiltGeometry, device: torch.device) -> float:
    """Return the density that the brightest 0.5 % of a smoothed FBP of some rows exceed in absolute value, 0 for an empty series."""
    data = torch.from_numpy(sinograms.astype(np.float32)).to(device)
    peaks = [torch.quantile(fbp_slices(rows[None], projector, geometry, "hann").abs().flatten(), 0.995) for rows in data]
    return float(torch.stack(peaks).mean())


def find_offset(sinograms: np.ndarray, tilts: TiltSeries, offset: float | str, positivity: str) -> tuple[float, bool, bool]:
    """Return the offset of a series' rows, see `sample_rows`, as `normalize` does, and whether density is brighter, or darker."""
    known_zero = offset == "none" or (offset == "auto" and tilts.simulated)
    weights = None if tilts.weights is None else sample_weights(tilts)
    value = 0.0 if known_zero else background(sinograms, tilts.geometry, weights) if offset == "auto" else float(offset)
    bright = looks_positive(sinograms - value, weights)
    dark = not bright and looks_positive(value - sinograms, weights)
    one_sign = positivity == "on" or (positivity == "auto" and (bright or dark))
    if offset == "auto" and not (known_zero or one_sign):
        # No background is empty where density has both signs: the mean is what the views agree on.
        value = float(sinograms.mean())
    return value, bright, dark


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
    value, bright, dark = find_offset(sinograms, tilts, offset, positivity)
    sinograms -= value
    # Scaling first keeps the estimate of the scale inside float32 whatever the detector's units.
    peak = float(np.abs(sinograms).max())
    scale = peak * estimate_scale(sinograms / peak, projector, tilts.geometry, device) if peak > 0 else 0.0
    if not scale > 0:
        raise InputError(f"{tilts.name}: all intensities equal {value}: nothing to reconstruct")
    if positivity == "auto":
        return Normalization(value, -scale if dark else scale, bright or dark)
    return Normalization(value, scale, positivity == "on")
