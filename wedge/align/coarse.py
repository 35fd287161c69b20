"""A first alignment: each view against its neighbour, from the least tilted view outwards.

The neighbour's picture is the same but narrower, by the ratio of the cosines, as far as the specimen is thin. So the neighbour is stretched
about the tilt axis before the two are correlated, and its shift is shrunk back. Errors add up outwards; `wedge.align.refine` removes them.
"""

import math

import numpy as np
import torch

from wedge.align.levels import Level
from wedge.align.match import summit, taper
from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views

_MOST_STRETCH = 2.5


def coarse_alignment(level: Level, reach_pixels: int) -> ViewTransforms:
    """Return shifts, in pixels of the level, that bring every view onto the one beside it.

    Parameters
    ----------
    level
        Views at large pixels.
    reach_pixels
        Farthest shift between two neighbours.
    """
    angles = level.geometry.tilt_angles_rad
    order = np.argsort(angles, kind="stable")
    middle = int(np.argmin(np.abs(angles[order])))
    shifts = np.zeros((len(angles), 2))
    for step in (1, -1):
        for place in range(middle, len(order) - 1 if step > 0 else 0, step):
            known, new = int(order[place]), int(order[place + step])
            shifts[new] = _shift_onto(level, shifts, known, new, reach_pixels)
    return ViewTransforms(shifts[:, 0], shifts[:, 1], np.zeros(len(angles))).gauge_fixed(level.geometry.tilt_angles_deg)


def _shift_onto(level: Level, shifts: np.ndarray, known: int, new: int, reach: int) -> np.ndarray:
    """Return the ``(dx, dy)`` of the view ``new`` that fits the view ``known``, which is shifted already."""
    place = ViewTransforms(shifts[[known], 0], shifts[[known], 1], np.zeros(1))
    target = warp_views(level.views[:, [known]].contiguous(), place)
    cosines = np.maximum(np.abs(np.cos(level.geometry.tilt_angles_rad[[known, new]])), 1e-3)
    stretch = float(np.clip(cosines[0] / cosines[1], 1 / _MOST_STRETCH, _MOST_STRETCH))
    # About the axis: shifts are small beside the width, and what they leave is for the refinement.
    view = _stretched(level.views[:, [new]], stretch, level.geometry.axis_offset_pixels)
    dy, dx = _correlate(view, target, reach)
    return np.array([dx / stretch, dy])


def _correlate(view: torch.Tensor, target: torch.Tensor, reach: int) -> tuple[float, float]:
    """Return the ``(dy, dx)`` that bring ``(y, 1, x)`` onto ``(y, 1, x)``; amplitudes count by their square root, so that detail tells."""
    window = taper(view)
    moving, still = (torch.fft.rfftn(part * window, dim=(0, 2)) for part in (view, target))
    product = moving.conj() * still
    product = product / product.abs().clamp_min(1e-12 * product.abs().max() + 1e-30).sqrt()
    surface = torch.fft.irfftn(product, s=(view.shape[0], view.shape[2]), dim=(0, 2))
    return summit(surface[:, 0], reach)


def _stretched(views: torch.Tensor, factor: float, axis: float) -> torch.Tensor:
    """Return ``(y, tilt, x)`` views made ``factor`` times as wide about the tilt axis, by linear interpolation."""
    if math.isclose(factor, 1):
        return views
    width = views.shape[2]
    centre = (width - 1) / 2 + axis
    place = ((torch.arange(width, device=views.device) - centre) / factor + centre).clamp(0, width - 1)
    left = place.floor().long().clamp(max=width - 2)
    share = (place - left).float()
    return views[:, :, left] * (1 - share) + views[:, :, left + 1] * share
