"""Part of a tilt series as a tilt series, without copying it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from wedge.data import ArrayLike3D, TiltSeries
from wedge.errors import UsageError
from wedge.formats.file_array import full_key


class SelectedViews:
    """Some views of a ``(tilt, y, x)`` array, read when they are asked for.

    Parameters
    ----------
    array
        All views.
    indices
        Those that are seen, in this order.
    """

    def __init__(self, array: ArrayLike3D, indices: np.ndarray) -> None:
        self._array = array
        self._indices = indices

    @property
    def indices(self) -> tuple[int, ...]:
        """Places of the views in the whole array."""
        return tuple(int(index) for index in self._indices)

    @property
    def source(self) -> ArrayLike3D:
        """All views."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """Counts along the three axes."""
        return (len(self._indices), *self._array.shape[1:])

    @property
    def dtype(self) -> Any:
        """Type of one value."""
        return self._array.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read views; one integer or slice per axis, missing ones are whole."""
        views, *rest = full_key(key)
        wanted = np.atleast_1d(self._indices[views])
        if not wanted.size:
            return np.asarray(self._array[(slice(0, 0), *rest)])
        first, last = int(wanted.min()), int(wanted.max())
        # One read of the views between them: a chunk of a store holds all of them anyway.
        block = np.asarray(self._array[(slice(first, last + 1), *rest)])[wanted - first]
        return block[0] if np.ndim(self._indices[views]) == 0 else block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype=dtype)


def places_in_stack(array: ArrayLike3D) -> tuple[int, ...]:
    """Return where each view of an array stands in the stack that it was read from."""
    source = getattr(array, "source", None)
    if source is None:
        return tuple(range(array.shape[0]))
    places = places_in_stack(source)
    return tuple(places[index] for index in array.indices) if isinstance(array, SelectedViews) else places


def views_of(tilts: TiltSeries, indices: Iterable[int]) -> TiltSeries:
    """Return the views at ``indices`` with their geometry and weights, in that order."""
    places = np.asarray(list(indices))
    weights = None if tilts.weights is None else SelectedViews(tilts.weights, places)
    return replace(tilts, array=SelectedViews(tilts.array, places), geometry=tilts.geometry.with_views(places), weights=weights)


def select_views(
    tilts: TiltSeries, tilt_range: tuple[float, float] | None = None, exclude_views: Iterable[int] = (), views: str | None = None
) -> TiltSeries:
    """Return some views of a tilt series.

    Parameters
    ----------
    tilts
        All of them.
    tilt_range
        Lowest and highest angle in degrees, both included.
    exclude_views
        Places in the stack of views to leave out.
    views
        ``"all"``; ``"even"`` or ``"odd"``, every second view in the order of the angles; or places in the stack, as ``"0,3,10-12"``.

    Raises
    ------
    UsageError
        If the range is empty, a view does not exist, or none is left.
    """
    excluded = set(exclude_views)
    if not excluded and tilt_range is None and views is None:
        return tilts
    low, high = (-180.0, 180.0) if tilt_range is None else tilt_range
    if not low <= high:
        raise UsageError(f"--tilt-range {low:g} {high:g}: the first must not be the greater")
    angles = tilts.geometry.tilt_angles_deg
    chosen = _named_views(views, angles)
    for option, named in (("--exclude-views", excluded), ("--views", chosen)):
        if beyond := [view for view in named if not 0 <= view < len(angles)]:
            raise UsageError(f"{option} names view {beyond[0]}: {tilts.name} has views 0 to {len(angles) - 1}")
    kept = [view for view, angle in enumerate(angles) if low <= angle <= high and view in chosen and view not in excluded]
    if not kept:
        span = f"{min(angles):g} to {max(angles):g} degrees"
        raise UsageError(f"no view is left: the angles of {tilts.name} are {span}; widen --tilt-range or leave out fewer views")
    return views_of(tilts, kept)


def every_other(angles_deg: Sequence[float], first: Literal[0, 1]) -> list[int]:
    """Return every other view in the order of angles, from the first or the second on, as indices in rising order."""
    return sorted(int(view) for view in np.argsort(angles_deg, kind="stable")[first::2])


def _named_views(views: str | None, angles_deg: tuple[float, ...]) -> set[int]:
    if views is None or views == "all":
        return set(range(len(angles_deg)))
    if views in ("even", "odd"):
        return set(every_other(angles_deg, 0 if views == "even" else 1))
    return set(parse_views(views))


def parse_views(text: str | None) -> tuple[int, ...]:
    """Read a list of views such as ``0,3,10-12``; None and an empty text are no views.

    Raises
    ------
    UsageError
        If a part is neither a number nor a range.
    """
    views: list[int] = []
    for part in (text or "").split(","):
        if not part.strip():
            continue
        first, dash, last = part.strip().partition("-")
        if not _is_count(first) or (dash and not _is_count(last)) or (dash and int(last) < int(first)):
            raise UsageError(
                f"cannot read the views {text!r}: {part.strip()!r} is neither a number nor a range; write for example 0,3,10-12"
            )
        views += range(int(first), int(last if dash else first) + 1)
    return tuple(dict.fromkeys(views))


def _is_count(text: str) -> bool:
    # No stack has more views than this; a longer number is a slip, and its range would not fit into memory.
    return text.isdecimal() and len(text) <= 6
