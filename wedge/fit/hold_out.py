"""Views that a fit does not see: which ones, and the series without them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from wedge.data import TiltSeries
from wedge.errors import UsageError
from wedge.formats.views import places_in_stack, views_of

LEAST_VIEWS = 4
"""So many views are always left to be fitted."""


def spread_views(num_tilts: int, fraction: float) -> list[int]:
    """Return evenly spread views to hold out, never the first or the last; none where fewer than four views would remain."""
    count = round(fraction * num_tilts)
    if count == 0 or num_tilts - count < LEAST_VIEWS:
        return []
    return sorted({int(i) for i in np.linspace(0, num_tilts - 1, count + 2)[1:-1].round()})


def views_to_hold_out(tilts: TiltSeries, fraction: float, views: Literal["extremes"] | Sequence[int] = ()) -> list[int]:
    """Return the views of a series that are held out, as indices in rising order.

    Parameters
    ----------
    fraction
        So many of all views, spread evenly over the range of angles, the outermost never among them.
    views
        Views that are held out as well: places in the stack, or ``extremes``, the outermost at either end, which see furthest into what
        becomes the missing wedge.

    Raises
    ------
    UsageError
        If a place is not that of a view in use, or fewer than four views would be left.
    """
    order = [int(i) for i in np.argsort(tilts.geometry.tilt_angles_deg, kind="stable")]
    held = {order[place] for place in spread_views(len(order), fraction)}
    if views == "extremes":
        named = {order[0], order[-1]}
    else:
        index_of = {place: index for index, place in enumerate(places_in_stack(tilts.array))}
        if unknown := [view for view in views if view not in index_of]:
            raise UsageError(f"--hold-out-views names view {unknown[0]}, which is not among the views in use of {tilts.name}")
        named = {index_of[int(view)] for view in views}
    if named and len(order) - len(held | named) < LEAST_VIEWS:
        left = len(order) - len(held | named)
        raise UsageError(f"--hold-out-views leaves {left} of {len(order)} views of {tilts.name}: a fit needs {LEAST_VIEWS} or more")
    return sorted(held | named)


def without_held_out(tilts: TiltSeries, held: Sequence[int]) -> tuple[TiltSeries, TiltSeries | None]:
    """Return the views that are fitted, and those that are held out or None; a series of which none is held out is itself."""
    if not held:
        return tilts, None
    kept = [index for index in range(tilts.geometry.num_tilts) if index not in set(held)]
    return views_of(tilts, kept), views_of(tilts, sorted(held))
