"""Where the rays of a tilt series run."""

import numpy as np

from wedge.geometry import TiltGeometry


def share_inside(geometry: TiltGeometry) -> np.ndarray:
    """Return which part of each ray's way through the specimen's thickness lies in the volume, ``(tilt, x)`` float64."""
    num_z, _, num_x = geometry.volume_shape
    voxel = geometry.voxel_size_in_pixels
    centre_z, centre_x = geometry.volume_centre_pixels
    width = geometry.detector_shape[1]
    s = np.arange(width) - (width - 1) / 2 - geometry.axis_offset_pixels
    z = (np.arange(num_z) - (num_z - 1) / 2) * voxel + centre_z
    angles = geometry.tilt_angles_rad[:, None, None]
    x = (s[None, :, None] - z * np.sin(angles)) / np.where(np.abs(np.cos(angles)) < 1e-3, 1e-3, np.cos(angles))
    return (np.abs(x - centre_x) <= num_x * voxel / 2).mean(axis=2)
