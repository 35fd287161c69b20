"""Sparse matrices of one slice: line integrals of voxels with a strip or a Joseph footprint.

Seen by a detector at one angle, a voxel is a bump around ``s = x cos + z sin + offset``; both models differ in the bump alone:

- strip: the exact shadow of the voxel's square, a trapezoid, averaged over each detector pixel. Sums over the detector are exact.
- Joseph: linear interpolation along the steeper axis, which is a triangle sampled at the pixel's centre.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wedge.plugin_api import TiltGeometry

Model = Literal["strip", "joseph"]


@dataclass(frozen=True)
class Rows:
    """A sparse matrix row by row (CSR).

    Parameters
    ----------
    starts
        ``(rows + 1,)`` int32, or int64 beyond 2^31 entries.
    columns
        ``(entries,)`` of the same type, ascending in each row.
    values
        ``(entries,)`` float32 or float64.
    """

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def half_width(model: Model, angle_rad: float, voxel: float) -> float:
    """Return how far from its centre, in pixels, a voxel reaches pixel centres."""
    cosine, sine = abs(np.cos(angle_rad)), abs(np.sin(angle_rad))
    if model == "strip":
        return float(voxel * (cosine + sine) / 2 + 0.5)
    return float(voxel * max(cosine, sine))


def entries_bound(geometry: TiltGeometry, model: Model) -> int:
    """Return how many non-zeros the matrix has at the most."""
    taps = sum(math.ceil(2 * half_width(model, angle, geometry.voxel_size_in_pixels)) for angle in geometry.tilt_angles_rad)
    return taps * geometry.volume_shape[0] * geometry.volume_shape[2]


def build(geometry: TiltGeometry, model: Model, dtype: type = np.float32, tilts: slice = slice(None)) -> tuple[Rows, Rows]:
    """Compute the matrix of one slice and its transpose.

    Parameters
    ----------
    geometry
        Views and box; the extents along y play no part.
    model
        ``"strip"`` or ``"joseph"``.
    dtype
        Type of the values; all is computed in float64.
    tilts
        Which views; all of them by default.

    Returns
    -------
    tuple of Rows
        ``(tilt * x, z * x)`` and its transpose, rows and columns in the order of raveled sinograms and slices.

    Notes
    -----
    Takes about 5 s and twice the memory of the result for 36 million non-zeros.
    """
    angles, width = geometry.tilt_angles_rad[tilts], geometry.detector_shape[1]
    num_tilts = len(angles)
    num_voxels = geometry.volume_shape[0] * geometry.volume_shape[2]
    counts = np.empty((num_voxels, num_tilts), dtype=np.uint16)
    row_counts = np.empty((num_tilts, width), dtype=np.int64)
    by_voxel, forward_columns, forward_values = [], [], []
    for tilt, angle in enumerate(angles):
        pixels, values, kept = _footprints(geometry, model, float(angle))
        counts[:, tilt] = kept.sum(axis=1)
        pixels, values = pixels[kept], values[kept].astype(dtype)
        voxels = np.repeat(np.arange(num_voxels, dtype=np.int32), counts[:, tilt])
        # a radix sort, as long as the detector is narrower than 2^16: voxels stay ascending in each row
        order = np.argsort(pixels.astype(np.min_scalar_type(width)), kind="stable")
        row_counts[tilt] = np.bincount(pixels, minlength=width)
        forward_columns.append(voxels[order])
        forward_values.append(values[order])
        by_voxel.append((pixels, values))
    starts = _starts(row_counts.ravel())
    forward = Rows(starts, np.concatenate(forward_columns).astype(starts.dtype, copy=False), np.concatenate(forward_values))
    del forward_columns, forward_values
    return forward, _gather_by_voxel(counts, by_voxel, width, dtype)


def _starts(counts: np.ndarray) -> np.ndarray:
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return starts if starts[-1] >= 2**31 else starts.astype(np.int32)


def _gather_by_voxel(counts: np.ndarray, by_voxel: list, width: int, dtype: type) -> Rows:
    """Interleave the entries of each tilt, sorted by voxel, into rows of one voxel each."""
    starts = _starts(counts.sum(axis=1, dtype=np.int64))
    columns = np.empty(starts[-1], dtype=starts.dtype)
    values = np.empty(starts[-1], dtype=dtype)
    free = starts[:-1].astype(np.int64)
    for tilt in range(counts.shape[1]):
        here = counts[:, tilt].astype(np.int64)
        first = np.cumsum(here) - here
        places = np.repeat(free - first, here) + np.arange(here.sum())
        pixels, tilt_values = by_voxel[tilt]
        by_voxel[tilt] = None
        columns[places] = pixels + tilt * width
        values[places] = tilt_values
        free += here
    return Rows(starts, columns, values)


def _footprints(geometry: TiltGeometry, model: Model, angle: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel indices, weights and which of them count, all ``(z * x, taps)``."""
    nz, _, nx = geometry.volume_shape
    width, voxel = geometry.detector_shape[1], geometry.voxel_size_in_pixels
    centre_z, centre_x = geometry.volume_centre_pixels
    z = (np.arange(nz) - (nz - 1) / 2) * voxel + centre_z
    x = (np.arange(nx) - (nx - 1) / 2) * voxel + centre_x
    reach = half_width(model, angle, voxel)
    centres = (z[:, None] * np.sin(angle) + x[None, :] * np.cos(angle)).ravel()
    centres += geometry.axis_offset_pixels + (width - 1) / 2
    first = np.floor(centres - reach) + 1
    taps = np.arange(math.ceil(2 * reach))
    distance = (first - centres)[:, None]
    if model == "strip":
        edges = np.concatenate([taps - 0.5, taps[-1:] + 0.5])
        weights = np.diff(_shadow(distance + edges, angle, voxel), axis=1)
    else:
        steep = voxel * max(abs(np.cos(angle)), abs(np.sin(angle)))
        weights = (voxel * voxel / steep) * np.maximum(1 - np.abs(distance + taps) / steep, 0)
    pixels = first.astype(np.int32)[:, None] + taps.astype(np.int32)
    return pixels, weights, (weights > 1e-12) & (pixels >= 0) & (pixels < width)


def _shadow(s: np.ndarray, angle: float, voxel: float) -> np.ndarray:
    """Return the integral up to ``s`` of a voxel's shadow, a trapezoid of area ``voxel ** 2`` around 0."""
    sides = voxel * abs(np.cos(angle)), voxel * abs(np.sin(angle))
    wide, narrow = max(sides), min(sides)
    distance = np.abs(s)
    flat = (wide - narrow) / 2
    slope = np.clip(distance - flat, 0, narrow)
    half = np.minimum(distance, flat) + slope - slope * slope / (2 * max(narrow, 1e-12))
    return (voxel * voxel / wide) * np.copysign(half, s)
