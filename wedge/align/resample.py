"""The aligned series: every view of the given one resampled once."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from wedge.align.levels import read_views
from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.data import TiltSeries
from wedge.output import Writer
from wedge.slabs import chunk_rows, slab_ranges

_VIEWS_AT_ONCE = 4


def moved_views(tilts: TiltSeries, transforms: ViewTransforms, device: torch.device | None = None) -> torch.Tensor:
    """Return the ``(y, tilt, x)`` float32 views of a series after their transforms, in main memory."""
    views = read_views(tilts, torch.device("cpu"))
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
    shape = (views.shape[1], views.shape[0], views.shape[2])
    for rows in slab_ranges(shape[1], chunk_rows(shape)):
        writer.write_rows(rows.start, views[rows.start : rows.stop])
        on_progress(len(rows))


def moved_series(tilts: TiltSeries, transforms: ViewTransforms) -> TiltSeries:
    """Return a series whose views are moved, in main memory; the series itself where nothing moves."""
    if not transforms.moves:
        return tilts
    views = moved_views(tilts, transforms).numpy()
    array = np.stack([views[:, view] for view in range(views.shape[1])])
    return replace(tilts, array=array)
