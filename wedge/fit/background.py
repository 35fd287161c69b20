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
_KEPT_POWER = 0.9819  # of normal noise that is clipped so
_SIGNIFICANT = 8.0
_FEWEST_VIEWS = 8
_LEAST_LENGTHENING = 0.3  # of the rays through a slab: 40 degrees
_LEAST_COSINE = 0.25  # 75 degrees
_EVIDENT = 3.0
_SAME = 1e-3
_FEW_COUNTS = 0.1


def background(sinograms: np.ndarray, geometry: TiltGeometry, weights: np.ndarray | None = None) -> float:
    """Return the background of ``(y, tilt, x)`` intensities of one sign, as well as their noise and the tilts allow.

    Without noise it is the most frequent intensity. Noise hides that, and then the tilts help: rays of steep views that miss the volume are
    empty if all that they show is noise, and where they are not, the specimen is a slab that goes on, whose means grow with ``1 / cos``.

    Parameters
    ----------
    weights
        Of the rays, as `wedge.fit.normalization.sample_weights` gives them; None where all are 1. What stands at a ray of weight 0 is made
        up of others, and tells nothing of it.
    """
    seen = np.broadcast_to(True if weights is None else weights > 0, sinograms.shape)
    spread = _spread(sinograms[seen]) if seen.any() else 0.0
    if not noise_level(sinograms, weights) > _NOISY_SHARE * spread:
        return estimate_offset(sinograms)
    outside = seen & (share_inside(geometry) == 0)
    if int(outside.sum()) >= _FEWEST_RAYS:
        noise = noise_level(sinograms, weights) ** 2
        values, of_these = _without_outliers(sinograms, outside, noise)
        signal = spread**2 - _KEPT_POWER * noise
        if values.size and float(values.var()) - of_these <= _EMPTY_SHARE * signal:
            return float(values.mean())
        found = _offset_of_slab(sinograms, geometry, seen)
        if found is not None:
            return found
    return estimate_offset(sinograms)


def _without_outliers(sinograms: np.ndarray, rays: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Return the intensities of some rays ``(y, tilt, x)`` without few that stand out, none if these are many, and the variance of noise.

    That is the one told, of all rays, unless these evidently have another: counts make more noise where there are more.
    """
    middle = float(np.median(sinograms[rays]))
    near = rays & (np.abs(sinograms - middle) <= _OUTLIER * noise**0.5)
    if near.sum() < rays.sum() / 2:
        return sinograms[:0], noise
    three = near[..., 2:] & near[..., 1:-1] & near[..., :-2]
    squares = np.square(np.diff(sinograms, n=2, axis=2)[three])
    of_these = float(squares.mean()) / 6 if squares.size else noise
    # Second differences of white noise vary as of half as many values.
    chance = noise * (4 / max(squares.size, 1)) ** 0.5
    return sinograms[near], of_these if abs(of_these - noise) > _EVIDENT * chance else noise


def _is_noisy(sinograms: np.ndarray) -> bool:
    return noise_level(sinograms) > _NOISY_SHARE * _spread(sinograms)


def _spread(sinograms: np.ndarray) -> float:
    """Return the standard deviation of all but the outermost values: few hot pixels must not pass for a signal."""
    return float(np.clip(sinograms, *np.percentile(sinograms, [_CLIPPED_PERCENT, 100 - _CLIPPED_PERCENT])).std())


def _offset_of_slab(sinograms: np.ndarray, geometry: TiltGeometry, seen: np.ndarray) -> float | None:
    """Return the background of a slab that fills all views, None where the tilts do not tell it.

    Rays run through a slab for ``1 / cos`` of the tilt: a line through the means of the views ends, at no length, in the background.
    """
    cosines = np.abs(np.cos(geometry.tilt_angles_rad))
    # From the side no slab goes on for as long as that.
    told = (cosines > _LEAST_COSINE) & seen.any(axis=(0, 2))
    lengths = 1 / cosines[told]
    if len(lengths) < _FEWEST_VIEWS or np.ptp(lengths) < _LEAST_LENGTHENING:
        return None
    means = sinograms[:, told].mean(axis=(0, 2), where=seen[:, told])
    # What a slab of grains shows of itself varies like its length.
    (slope, end), covariance = np.polyfit(lengths, means, 1, w=lengths**-0.5, cov=True)
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


def noise_level(sinograms: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the standard deviation of white noise in ``(y, tilt, x)`` intensities, from their second differences along the detector.

    Their median, which edges and hot pixels leave alone, tells it; of few counts, which differ by whole numbers, the mean of their squares.
    What stands at rays of weight 0 is made up and has none: it is left out.
    """
    if sinograms.shape[2] < 3:
        return 0.0
    differences = np.abs(np.diff(sinograms, n=2, axis=2))
    if weights is not None and not (weights > 0).all():
        seen = weights > 0
        differences = differences[seen[..., 2:] & seen[..., 1:-1] & seen[..., :-2]]
        if not differences.size:
            return 0.0
    middle = float(np.median(differences))
    found = middle / _NORMAL_QUARTILE
    if middle > 0 and float((np.abs(differences - middle) <= _SAME * middle).mean()) > _FEW_COUNTS:
        found = float(np.square(differences[differences <= _OUTLIER * found]).mean()) ** 0.5
    return found / math.sqrt(6)
