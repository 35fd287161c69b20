"""The background of a tilt series: the intensity of a ray that meets no density."""

import math

import numpy as np

from wedge.fit.rays import share_inside
from wedge.geometry import TiltGeometry

BLOCK = 8
_NOISY_SHARE = 0.5
_ALIKE = 1.15
_NORMAL_QUARTILE = 0.6745
_FEWEST_RAYS = 200
_EMPTY_SHARE = 0.3  # of the power of all rays: at signal to noise of 1 to .05 below .16 where a specimen fits, above .55 where it goes on
_OUTLIER = 6.0
_CLIPPED_PERCENT = 0.5
_SIGNIFICANT = 8.0
_FEWEST_VIEWS = 8
_LEAST_LENGTHENING = 0.3  # of the rays through a slab: 40 degrees


def background(sinograms: np.ndarray, geometry: TiltGeometry) -> float:
    """Return the background of ``(y, tilt, x)`` intensities of one sign, as well as their noise and the tilts allow.

    Without noise it is the most frequent intensity. Noise hides that, and then the tilts help: rays of steep views that miss the volume are
    empty if all that they show is noise, and where they are not, the specimen is a slab that goes on, whose means grow with ``1 / cos``.
    """
    if not _is_noisy(sinograms):
        return estimate_offset(sinograms)
    outside = sinograms[:, share_inside(geometry) == 0]
    noise = noise_level(sinograms) ** 2
    if outside.size >= _FEWEST_RAYS:
        middle = float(np.median(outside))
        outside = outside[np.abs(outside - middle) <= _OUTLIER * noise**0.5]
        if float(outside.var()) - noise <= _EMPTY_SHARE * (_spread(sinograms) ** 2 - noise):
            return float(outside.mean())
        found = _offset_of_slab(sinograms, geometry)
        if found is not None:
            return found
    return estimate_offset(sinograms)


def _is_noisy(sinograms: np.ndarray) -> bool:
    return noise_level(sinograms) > _NOISY_SHARE * _spread(sinograms)


def _spread(sinograms: np.ndarray) -> float:
    """Return the standard deviation of all but the outermost values: few hot pixels must not pass for a signal."""
    return float(np.clip(sinograms, *np.percentile(sinograms, [_CLIPPED_PERCENT, 100 - _CLIPPED_PERCENT])).std())


def _offset_of_slab(sinograms: np.ndarray, geometry: TiltGeometry) -> float | None:
    """Return the background of a slab that fills all views, None where the tilts do not tell it.

    Rays run through a slab for ``1 / cos`` of the tilt: a line through the means of the views ends, at no length, in the background.
    """
    lengths = 1 / np.cos(geometry.tilt_angles_rad).clip(1e-3)
    if len(lengths) < _FEWEST_VIEWS or np.ptp(lengths) < _LEAST_LENGTHENING:
        return None
    # What a slab of grains shows of itself varies like its length.
    weights = lengths**-0.5
    (slope, end), covariance = np.polyfit(lengths, sinograms.mean(axis=(0, 2)), 1, w=weights, cov=True)
    # Neighbouring views see much the same grains, so that chance is larger than it looks.
    return float(end) if abs(slope) > _SIGNIFICANT * covariance[0, 0] ** 0.5 else None


def estimate_offset(sinograms: np.ndarray) -> float:
    """Return the background intensity, taken to be the most frequent one, of ``(y, tilt, x)`` intensities."""
    # The mode of all views beats a low percentile: that moves with the noise.
    if sinograms.ndim == 3 and _is_noisy(sinograms):
        # Noise broadens the background until its mode is anywhere: means of neighbours bring it back, if neighbours are alike at all.
        means = block_means(sinograms)
        if means.size > 100 and BLOCK * float(means.var()) > _ALIKE * float(sinograms.var()):
            sinograms = means
    return half_sample_mode(sinograms)


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


def block_means(sinograms: np.ndarray) -> np.ndarray:
    """Return means over blocks of 8 detector pixels, ``(y, tilt, x // 8)``; of all pixels where there are fewer."""
    width = sinograms.shape[2]
    block = min(BLOCK, width)
    return np.asarray(sinograms[:, :, : width // block * block].reshape(*sinograms.shape[:2], -1, block).mean(axis=3))


def noise_level(sinograms: np.ndarray) -> float:
    """Return the standard deviation of white noise in ``(y, tilt, x)`` intensities, from their second differences along the detector."""
    if sinograms.shape[2] < 3:
        return 0.0
    differences = np.diff(sinograms, n=2, axis=2)
    return float(np.median(np.abs(differences))) / (_NORMAL_QUARTILE * math.sqrt(6))
