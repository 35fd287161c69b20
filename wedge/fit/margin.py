"""How far the field goes on beyond the volume in x.

A tilted ray that meets the detector has crossed the specimen far outside the volume above it. Where the specimen goes on there, that
density must have a place in the field, or it is put into the volume, as bright edges and streaks.
"""

import math

import numpy as np

from wedge.fit.background import noise_level
from wedge.fit.rays import share_inside
from wedge.geometry import TiltGeometry

_MOSTLY_OUTSIDE = 0.5
_FULL_SHARE = 0.4
_WIDEST = 1.5  # detector widths to either side; steeper views than 60 degrees would ask for more than they tell
_STEP = 8
_STRICTNESS = 8


def needed_margin(geometry: TiltGeometry) -> int:
    """Return the voxels beyond either side of the volume that rays reach within its thickness, a multiple of 8."""
    num_z, _, num_x = geometry.volume_shape
    voxel = geometry.voxel_size_in_pixels
    half_width = (geometry.detector_shape[1] / 2 + abs(geometry.axis_offset_pixels)) / voxel
    half_thickness = num_z / 2 + abs(geometry.volume_centre_pixels[0]) / voxel
    centre = abs(geometry.volume_centre_pixels[1]) / voxel
    reach = 0.0
    for angle in geometry.tilt_angles_rad:
        cosine = max(abs(math.cos(angle)), 1e-3)
        reach = max(reach, (half_width + half_thickness * abs(math.sin(angle))) / cosine)
    missing = max(0.0, min(reach + centre - num_x / 2, _WIDEST * geometry.detector_shape[1] / voxel))
    return _STEP * math.ceil(missing / _STEP)


def outside_share(
    sinograms: np.ndarray, geometry: TiltGeometry, weights: np.ndarray | None = None, noise_variance: float | None = None
) -> float:
    """Return the power of rays that run mostly outside the volume, relative to that of all rays, noise left out of both.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)`` intensities without their offset.
    weights
        Of their rays, or None where all are 1: what stands at those of weight 0 is made up, and is left out.
    noise_variance
        Of the intensities, where it is known; else the noise is taken to be white.
    """
    outside = share_inside(geometry) < _MOSTLY_OUTSIDE
    if not outside.any() or outside.all():
        return 0.0
    noise = noise_level(sinograms, weights) ** 2 if noise_variance is None else noise_variance
    seen = np.broadcast_to(True if weights is None else weights > 0, sinograms.shape)
    power = sinograms.astype(np.float64) ** 2
    if not (seen & outside).any():
        return 0.0
    whole = float(power[seen].mean()) - noise
    return 0.0 if whole <= 0 else (float(power[seen & outside].mean()) - noise) / whole


def fitted_margin(
    margin: int | str,
    sinograms: np.ndarray,
    geometry: TiltGeometry,
    weights: np.ndarray | None = None,
    noise_variance: float | None = None,
) -> int:
    """Return the margin in voxels: as told, or found from ``(y, tilt, x)`` intensities without their offset; see `outside_share`."""
    if margin != "auto":
        return int(margin)
    return needed_margin(geometry) if outside_share(sinograms, geometry, weights, noise_variance) > _FULL_SHARE else 0


def widened(geometry: TiltGeometry, margin: int) -> TiltGeometry:
    """Return the same views around a volume with ``margin`` voxels more on either side in x."""
    num_z, num_y, num_x = geometry.volume_shape
    return geometry.with_volume((num_z, num_y, num_x + 2 * margin), geometry.voxel_size_in_pixels, geometry.volume_centre_pixels)


def judging_weights(geometry: TiltGeometry, margin: int) -> np.ndarray:
    """Return how much each ray may judge a field that is wider than its volume, ``(tilt, x)`` float32, 1 for rays that stay inside.

    What lies beside the volume is seen by few views, and no field tells the others what they would see there: rays through it judge that
    lottery, and not how right the volume is.

    Parameters
    ----------
    geometry
        The views around the fitted box, margins included.
    margin
        Voxels of the box on either side that do not belong to the volume.
    """
    num_tilts, width = geometry.num_tilts, geometry.detector_shape[1]
    if not margin:
        return np.ones((num_tilts, width), np.float32)
    return (share_inside(widened(geometry, -margin)) ** _STRICTNESS).astype(np.float32)
