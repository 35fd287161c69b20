"""The views at coarser and coarser pixels, without their background, and the box that explains them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fit.margin import fitted_margin, widened
from wedge.geometry import TiltGeometry
from wedge.intensity import refuse_not_finite
from wedge.slabs import chunk_rows, read_sinograms, slab_ranges

BuildProjector = Callable[[TiltGeometry, torch.device], Projector]

_FEWEST_VIEWS = 5
_LEAST_WIDTH = 16
_LONGEST_WAVE = 0.5  # of the detector's width: what is longer is background rather than specimen


@dataclass(frozen=True)
class Level:
    """The views at one pixel size.

    Parameters
    ----------
    binning
        Given pixels along a pixel of this level.
    views
        ``(y, tilt, x)`` float32 without mean and slow background.
    geometry
        Of these views, and the box that explains them.
    """

    binning: int
    views: torch.Tensor
    geometry: TiltGeometry


def read_views(tilts: TiltSeries, device: torch.device) -> torch.Tensor:
    """Return all views of a series that are to be compared with one another, as ``(y, tilt, x)`` float32 on the device.

    Raises
    ------
    InputError
        If a value is not finite, all are alike, the views are few, or they cannot be read.
    """
    if tilts.geometry.num_tilts < _FEWEST_VIEWS:
        raise InputError(
            f"too few views to compare with one another: {tilts.name} has {tilts.geometry.num_tilts}, at least {_FEWEST_VIEWS} are needed"
        )
    shape = (tilts.geometry.num_tilts, *tilts.geometry.detector_shape)
    views = torch.empty((shape[1], shape[0], shape[2]), device=device)
    for rows in slab_ranges(shape[1], chunk_rows(shape)):
        block = read_sinograms(tilts, rows.start, rows.stop)
        refuse_not_finite(block, tilts.name, rows)
        views[rows.start : rows.stop] = torch.from_numpy(block).to(device)
    if not bool((views.amax() - views.amin()) > 0):
        raise InputError(f"the views are constant: {tilts.name}; there is nothing to align")
    return views


def box_of(tilts: TiltSeries, views: torch.Tensor) -> TiltGeometry:
    """Return the geometry around a box that holds all that the rays meet."""
    geometry = tilts.geometry
    depth = max(1, math.ceil(geometry.volume_shape[0] * geometry.voxel_size_in_pixels))
    # What is to be reconstructed may be a part only; the views see all of the specimen.
    whole = geometry.with_volume((depth, *geometry.detector_shape), 1.0, (geometry.volume_centre_pixels[0], -geometry.axis_offset_pixels))
    rows = views[:: max(1, len(views) // 16)].cpu().numpy()
    edge = np.median(np.concatenate([rows[:, :, 0].ravel(), rows[:, :, -1].ravel()]))
    return widened(whole, fitted_margin("auto", rows - edge, whole))


def binnings(geometry: TiltGeometry, finest: int) -> list[int]:
    """Return the powers of two times ``finest``, coarsest first, down to which a view is still wide enough to be matched."""
    width, height = geometry.detector_shape[1], geometry.detector_shape[0]
    found = [finest]
    while len(found) < 4 and width // (2 * found[0]) >= _LEAST_WIDTH and height // (2 * found[0]) >= min(height, 8):
        found.insert(0, 2 * found[0])
    return found


def make_level(views: torch.Tensor, geometry: TiltGeometry, binning: int, offset: float | None = None) -> Level:
    """Return full-size views, mean and slow background removed, at pixels ``binning`` times as large.

    Parameters
    ----------
    views
        ``(y, tilt, x)``.
    geometry
        Of these views.
    offset
        What is removed instead, where the intensity of a ray that meets nothing is known.
    """
    ny, nx = (n // binning for n in geometry.detector_shape)
    cut = views[: ny * binning, :, : nx * binning]
    means = cut.reshape(ny, binning, geometry.num_tilts, nx, binning).mean(dim=(1, 4))
    nz = max(2, math.ceil(geometry.volume_shape[0] / binning))
    enough = replace(geometry, volume_shape=(nz * binning, max(geometry.volume_shape[1], binning), max(geometry.volume_shape[2], binning)))
    small = enough.binned(binning)
    box = small.with_volume((nz, ny, small.volume_shape[2]), small.voxel_size_in_pixels, small.volume_centre_pixels)
    return Level(binning, without_background(means) if offset is None else means - offset, box)


def without_background(views: torch.Tensor) -> torch.Tensor:
    """Return ``(y, tilt, x)`` views less their mean and what is slower than half their width; the edges lead into one another.

    The filter is the same in every direction, so that views of one specimen stay views of one (filtered) specimen.
    """
    centred = views - views.mean(dim=(0, 2), keepdim=True)
    ny, nx = views.shape[0], views.shape[2]
    border = (max(1, ny // 4), max(1, nx // 4))
    padded = _reflected(_reflected(centred, 0, border[0]), 2, border[1])
    fy = torch.fft.fftfreq(padded.shape[0], device=views.device)[:, None, None]
    fx = torch.fft.rfftfreq(padded.shape[2], device=views.device)
    slow = torch.exp(-0.5 * (fy.square() + fx.square()) * (_LONGEST_WAVE * nx) ** 2)
    kept = torch.fft.irfftn(torch.fft.rfftn(padded, dim=(0, 2)) * (1 - slow), s=(padded.shape[0], padded.shape[2]), dim=(0, 2))
    return kept[border[0] : border[0] + ny, :, border[1] : border[1] + nx].contiguous()


def _reflected(views: torch.Tensor, dim: int, border: int) -> torch.Tensor:
    length = views.shape[dim]
    return torch.cat([views.narrow(dim, 0, border).flip(dim), views, views.narrow(dim, length - border, border).flip(dim)], dim=dim)
