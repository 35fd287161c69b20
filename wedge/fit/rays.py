"""Where the rays of a tilt series run."""

import numpy as np

from wedge.geometry import TiltGeometry

_BLOCK = 2**15  # points


def share_inside(geometry: TiltGeometry) -> np.ndarray:
    """Return which part of each ray's way through the specimen's thickness lies in the volume, ``(tilt, x)`` float64."""
    num_z, _, num_x = geometry.volume_shape
    voxel = geometry.voxel_size_in_pixels
    centre_z, centre_x = geometry.volume_centre_pixels
    width = geometry.detector_shape[1]
    s = np.arange(width) - (width - 1) / 2 - geometry.axis_offset_pixels
    z = (np.arange(num_z) - (num_z - 1) / 2) * voxel + centre_z
    inside = np.zeros((geometry.num_tilts, width), dtype=np.int64)
    # Block by block: all at once are gigabytes for large views.
    step = max(1, _BLOCK // width)
    for view, angle in enumerate(geometry.tilt_angles_rad):
        cosine = np.cos(angle) if abs(np.cos(angle)) >= 1e-3 else 1e-3
        for start in range(0, num_z, step):
            x = (s - z[start : start + step, None] * np.sin(angle)) / cosine
            inside[view] += np.count_nonzero(np.abs(x - centre_x) <= num_x * voxel / 2, axis=0)
    return inside / num_z
