"""A phantom whose projections are known exactly: discs in one slice."""

from dataclasses import dataclass

import numpy as np
import torch

from wedge.geometry import TiltGeometry


@dataclass(frozen=True)
class Disc:
    """A disc in a slice: centre and radius in detector pixels relative to the tilt axis, and its density."""

    z: float
    x: float
    radius: float
    density: float


PHANTOM = (
    Disc(-7.3, 21.6, 17.0, 1.0),
    Disc(-7.3, 21.6, 12.0, -1.0),
    Disc(8.1, -26.4, 10.0, 0.7),
    Disc(13.2, 5.5, 6.0, 1.4),
    Disc(-14.0, -12.0, 8.5, 0.5),
)
"""An annulus and three discs, off the centre and without any symmetry."""


def analytic_sinogram(geometry: TiltGeometry, discs: tuple[Disc, ...] = PHANTOM, samples: int = 8) -> torch.Tensor:
    """Return exact chord lengths times density, ``(tilt, x)`` float32, averaged over each detector pixel."""
    width = geometry.detector_shape[1]
    s = ((np.arange(width * samples) + 0.5) / samples - width / 2)[None, :]
    cosine, sine = np.cos(geometry.tilt_angles_rad)[:, None], np.sin(geometry.tilt_angles_rad)[:, None]
    total = np.zeros((geometry.num_tilts, width * samples))
    for disc in discs:
        distance = s - (disc.x * cosine + disc.z * sine + geometry.axis_offset_pixels)
        total += 2 * disc.density * np.sqrt(np.maximum(disc.radius**2 - distance**2, 0))
    return torch.from_numpy(total.reshape(geometry.num_tilts, width, samples).mean(axis=2).astype(np.float32))


def rasterized_slice(geometry: TiltGeometry, discs: tuple[Disc, ...] = PHANTOM, samples: int = 8) -> torch.Tensor:
    """Return the discs on the geometry's voxels, ``(z, x)`` float32, averaged over each voxel."""
    nz, _, nx = geometry.volume_shape
    voxel = geometry.voxel_size_in_pixels
    z, x = (
        ((np.arange(count * samples) + 0.5) / samples - count / 2) * voxel + centre
        for count, centre in zip((nz, nx), geometry.volume_centre_pixels, strict=True)
    )
    total = np.zeros((nz * samples, nx * samples))
    for disc in discs:
        total += disc.density * ((z[:, None] - disc.z) ** 2 + (x[None, :] - disc.x) ** 2 < disc.radius**2)
    return torch.from_numpy(total.reshape(nz, samples, nx, samples).mean(axis=(1, 3)).astype(np.float32))
