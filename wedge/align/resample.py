"""The aligned series: every view of the given one resampled once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.data import ArrayLike3D, TiltSeries
from wedge.output import Writer
from wedge.slabs import chunk_rows, read_sinograms, read_weights, slab_ranges

_VIEWS_AT_ONCE = 4
_HIDDEN = 1e-3  # share of a ray without weight in an interpolated one


def moved_views(tilts: TiltSeries, transforms: ViewTransforms, device: torch.device | None = None) -> torch.Tensor:
    """Return the ``(y, tilt, x)`` float32 views of a series after their transforms, in main memory."""
    return _moved(torch.from_numpy(read_sinograms(tilts, 0, tilts.geometry.detector_shape[0])), transforms, device)


def moved_weights(tilts: TiltSeries, transforms: ViewTransforms, device: torch.device | None = None) -> torch.Tensor | None:
    """Return the ``(y, tilt, x)`` weights of a series after the transforms of its views, in main memory; None where all are 1.

    A ray that is interpolated from one that doesn't count doesn't count.
    """
    weights = read_weights(tilts, 0, tilts.geometry.detector_shape[0])
    if weights is None:
        return None
    original = torch.from_numpy(weights)
    if not transforms.moves:
        return original
    hidden = _moved((original == 0).float(), transforms, device) > _HIDDEN
    return _moved(original.clone(), transforms, device).clamp(0, 1).masked_fill(hidden, 0.0)


def _moved(views: torch.Tensor, transforms: ViewTransforms, device: torch.device | None) -> torch.Tensor:
    if not transforms.moves:
        return views
    for start in range(0, views.shape[1], _VIEWS_AT_ONCE):
        some = slice(start, start + _VIEWS_AT_ONCE)
        part = ViewTransforms(transforms.dx_pixels[some], transforms.dy_pixels[some], transforms.rotation_deg[some])
        views[:, some] = warp_views(views[:, some].contiguous().to(device or "cpu"), part).cpu()
    return views


def write_moved(
    tilts: TiltSeries,
    transforms: ViewTransforms,
    writer: Writer,
    *,
    device: torch.device | None = None,
    on_progress: Callable[[int], None] = lambda rows: None,
) -> None:
    """Write a series after its transforms; the caller commits the writer."""
    views = moved_views(tilts, transforms, device)
    weights = moved_weights(tilts, transforms, device) if writer.weighted else None
    shape = (views.shape[1], views.shape[0], views.shape[2])
    for rows in slab_ranges(shape[1], chunk_rows(shape)):
        writer.write_rows(rows.start, views[rows.start : rows.stop])
        if weights is not None:
            writer.write_weights(rows.start, weights[rows.start : rows.stop])
        on_progress(len(rows))


def moved_series(tilts: TiltSeries, transforms: ViewTransforms) -> TiltSeries:
    """Return a series whose views are moved, in main memory; the series itself where nothing moves."""
    if not transforms.moves:
        return tilts
    weights = moved_weights(tilts, transforms)
    kept = None if weights is None else _stacked(weights)
    return replace(tilts, array=MovedViews(_stacked(moved_views(tilts, transforms)), tilts.array), weights=kept)


class MovedViews:
    """Moved views ``(tilt, y, x)`` in main memory that know by ``source``, what they were made from, where each stood in the stack."""

    def __init__(self, values: np.ndarray, source: ArrayLike3D) -> None:
        self._values, self.source = values, source
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part."""
        return self._values[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self._values, dtype=dtype)


def _stacked(views: torch.Tensor) -> np.ndarray:
    return np.stack([views[:, view].numpy() for view in range(views.shape[1])])
