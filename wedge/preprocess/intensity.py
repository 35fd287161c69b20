"""The scale of intensities from view to view: backgrounds, beams that change, ice that thickens as it is tilted."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wedge.errors import InputError
from wedge.fit.background import estimate_offset
from wedge.geometry import TiltGeometry

NormalizeMode = Literal["background", "mass", "slab", "deviation"]
_MOST_PIXELS = 2**18
_MOST_NOT_POSITIVE = 1e-3
_QUARTERS = 4
_MOST_OFFSET_ERROR = 0.25  # of a view's mean height above its background: its mass is wrong by as much
_LEAST_SURE = 0.25  # of all views
_SAME_OFFSET = 0.1  # of the mean height
_NORMAL_QUARTILE = 0.6745


@dataclass(frozen=True)
class Scaling:
    """What was taken from each view, and what it was then multiplied by, ``(tilt,)`` each.

    Parameters
    ----------
    offsets, factors
        Of each view.
    crowded
        ``(tilt,)`` bool: views whose background is hardly visible, so that it says nothing of their mass.
    borrowed
        Whether the background of the other views was taken for theirs; else they are not multiplied.
    """

    offsets: np.ndarray
    factors: np.ndarray
    crowded: np.ndarray
    borrowed: bool = False


def background(view: np.ndarray) -> float:
    """Return the background of a ``(y, x)`` view, see `estimate_offset`, of an even sample of its rows where there are many."""
    step = max(1, view.size // _MOST_PIXELS)
    return estimate_offset(np.asarray(view[::step, None, :], dtype=np.float64))


def normalize_views(views: np.ndarray, geometry: TiltGeometry, mode: NormalizeMode) -> Scaling:
    """Bring ``(tilt, y, x)`` views to one scale, in place.

    Parameters
    ----------
    views
        The intensities.
    geometry
        Of the views; only the angles and the axis are asked for.
    mode
        ``background``: each view's most frequent intensity becomes 0. ``mass``: then each is multiplied so that its sum is the median of
        all sums, as it is for a specimen that every view holds whole. ``slab``: the same for a specimen that goes on beyond the views,
        whose mass is compared within what all views share: x cos(theta) for the x of the view at 0 degrees. ``deviation``: mean 0 and the
        median of all standard deviations, for views of high noise without any background.

    Notes
    -----
    The mass of a view is known as well as its background. Where that is hardly visible, a view is crowded: then the background of the other
    views is taken, if they agree on one, or the view is not multiplied.

    Raises
    ------
    InputError
        If a view holds nothing: its mass or deviation is not positive, or less than a hundredth of the others'.
    """
    num_views = len(views)
    offsets = np.array([float(view.mean(dtype=np.float64)) if mode == "deviation" else background(view) for view in views])
    crowded, borrowed = np.zeros(num_views, dtype=bool), False
    if mode == "background":
        sizes = np.ones(num_views)
    elif mode == "deviation":
        sizes = np.array([float(view.std(dtype=np.float64)) for view in views])
    else:
        sums, counts = _masses(views, offsets, geometry, mode)
        crowded = _crowded(views, sums / counts)
        if crowded.any():
            offsets, borrowed = _without_crowded(offsets, sums / counts, crowded)
            sums, counts = _masses(views, offsets, geometry, mode)
        sizes = sums
    told = ~crowded | borrowed
    if not told.any():
        sizes, told = np.ones(num_views), ~told
    middle = float(np.median(sizes[told]))
    sizes = -sizes if middle < 0 else sizes
    sizes = np.where(told, sizes, abs(middle))
    if bad := [tilt for tilt, size in enumerate(sizes) if not size > 0.01 * abs(middle)]:
        raise InputError(
            f"view {bad[0]} holds nothing to normalize by {mode}: {sizes[bad[0]]:.4g}, the median of all {abs(middle):.4g}; "
            "leave it out (--exclude-views) or choose another --normalize"
        )
    factors = abs(middle) / sizes
    for tilt, view in enumerate(views):
        view[:] = (np.asarray(view, np.float64) - offsets[tilt]) * factors[tilt]
    return Scaling(offsets, factors, crowded, borrowed)


def _masses(views: np.ndarray, offsets: np.ndarray, geometry: TiltGeometry, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of views less their offsets, and of how many pixels: for a slab in the columns that show what all views show."""
    sums, counts = np.empty(len(views)), np.empty(len(views))
    for tilt, (view, offset) in enumerate(zip(views, offsets, strict=True)):
        values = np.asarray(view, np.float64) - offset
        width = values.shape[1]
        share = np.ones(width)
        if mode == "slab":
            s = np.arange(width) - (width - 1) / 2 - geometry.axis_offset_pixels
            reach = (width / 2 - abs(geometry.axis_offset_pixels)) * abs(math.cos(geometry.tilt_angles_rad[tilt]))
            share = np.clip(reach - np.abs(s) + 0.5, 0, 1)  # part of the outermost ones
        sums[tilt], counts[tilt] = float((values * share).sum()), len(values) * float(share.sum())
    return sums, counts


def _crowded(views: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return which views ``(tilt,)`` show too little background: found in quarters of a view, it differs by much of the height above it.

    Where few of the views show enough of it, none is believed to.
    """
    found = np.empty(len(views), dtype=bool)
    for tilt, view in enumerate(views):
        # Quarters of interleaved stripes; of less than four rows, each row.
        stripe = np.arange(len(view)) // max(1, len(view) // (4 * _QUARTERS))
        parts = [background(np.asarray(view)[stripe % _QUARTERS == part]) for part in range(min(_QUARTERS, len(view)))]
        error = float(np.std(parts, ddof=1)) / math.sqrt(len(parts)) if len(parts) > 1 else 0.0
        found[tilt] = error > _MOST_OFFSET_ERROR * abs(heights[tilt])
    return found | ((~found).sum() < _LEAST_SURE * len(found))


def _without_crowded(offsets: np.ndarray, heights: np.ndarray, crowded: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return offsets with the median of the others in place of those of crowded views, and whether the others agree on it."""
    sure = offsets[~crowded]
    if not sure.size:
        return np.full_like(offsets, np.median(offsets)), False
    common = float(np.median(sure))
    apart = float(np.median(np.abs(sure - common))) / _NORMAL_QUARTILE
    agree = apart <= _SAME_OFFSET * abs(float(np.median(heights[~crowded])))
    return np.where(crowded, common, offsets), agree


def to_logarithm(views: np.ndarray, geometry: TiltGeometry, full: float | None = None) -> tuple[float, int]:
    """Replace transmitted intensities ``(tilt, y, x)`` by ``-log(I / I0)``, which is proportional to projected density; in place.

    Parameters
    ----------
    full
        I0, the intensity of the beam; by default what 99.5 % of the pixels of the view of least tilt stay below. It only adds a constant.

    Returns
    -------
    tuple[float, int]
        I0, and the number of pixels that were not positive and were put to the smallest positive value.

    Raises
    ------
    InputError
        If more than one pixel of a thousand is not positive: these are no counted intensities.
    """
    dark = sum(int((view <= 0).sum()) for view in views)
    if dark > _MOST_NOT_POSITIVE * views.size:
        raise InputError(
            f"--log needs positive intensities: {dark} of {views.size} pixels are 0 or less; "
            "was an offset taken from the views, or a logarithm before?"
        )
    if full is None:
        least = int(np.argmin(np.abs(geometry.tilt_angles_deg)))
        full = float(np.quantile(views[least], 0.995))
    if not full > 0:
        raise InputError(f"--log: the beam's intensity is {full:g}: expected a positive number")
    smallest = min(float(view[view > 0].min()) for view in views if (view > 0).any())
    for view in views:
        view[:] = -np.log(np.maximum(np.asarray(view, np.float64), smallest) / full)
    return full, dark


def undo_ice(views: np.ndarray, geometry: TiltGeometry) -> tuple[float, np.ndarray]:
    """Multiply ``(tilt, y, x)`` views so that what ice absorbs with tilt is given back; in place.

    A view's mean is ``I0 exp(-tau / cos(theta))`` for a slab of optical thickness tau, which is fitted to all views, robustly; the factors
    are ``exp(tau (1 / cos(theta) - 1))``.

    Returns
    -------
    tuple[float, np.ndarray]
        tau, and the factors ``(tilt,)``.

    Raises
    ------
    InputError
        If a view's mean is not positive, there are less than three angles, or intensity grows with the tilt.
    """
    means = np.array([float(view.mean(dtype=np.float64)) for view in views])
    if not bool((means > 0).all()):
        raise InputError(f"--ice-thickness needs positive intensities: view {int(np.argmin(means))} has the mean {means.min():.4g}")
    path = 1 / np.maximum(np.abs(np.cos(geometry.tilt_angles_rad)), 0.05)
    one, other = np.triu_indices(len(path), 1)
    apart = np.abs(path[one] - path[other]) > 0.05
    if not apart.any() or len(set(np.round(path, 3))) < 3:
        raise InputError("--ice-thickness needs views of at least three angles")
    # The median of all pairs' slopes: single views where something came into the beam have no say.
    logarithm = np.log(means)
    slopes = (logarithm[one] - logarithm[other])[apart] / (path[one] - path[other])[apart]
    tau = -float(np.median(slopes))
    if tau < 0:
        raise InputError(
            f"--ice-thickness: intensity grows with tilt (optical thickness {tau:.3g}): these views are not bright where there is less; "
            "leave the option out"
        )
    factors = np.exp(tau * (path - 1))
    for view, factor in zip(views, factors, strict=True):
        view *= np.float32(factor)
    return tau, factors


def invert(views: np.ndarray) -> None:
    """Change the sign of ``(tilt, y, x)`` views in place: what is dark becomes bright."""
    for view in views:
        np.negative(view, out=view)
