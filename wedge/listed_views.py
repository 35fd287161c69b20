"""Which views of a stack an alignment lists, where it has an order of its own or leaves views out without a word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

_SAME_ANGLE_DEG = 0.1
_ONE_PLACE_DEG = 0.05


@dataclass(frozen=True)
class Listed:
    """What a list of tilts says of each about the stack that it comes from; empty where it says nothing.

    Parameters
    ----------
    sections
        Place in the stack `stack_name`, from 1.
    stack_name
        File name of that stack.
    movies
        Files of frames.
    times
        Place in the order of acquisition, from 1.
    nominal_angles_deg
        As the stage was told.
    """

    sections: tuple[int, ...] = ()
    stack_name: str = ""
    movies: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    nominal_angles_deg: tuple[float, ...] = ()


@dataclass(frozen=True)
class Views:
    """What is known of the views of a stack; empty where nothing is.

    Parameters
    ----------
    count
        How many there are.
    stack_name
        File name of the stack.
    movies, acquisition_order
        Of each view, the order from 0.
    angles_deg
        From the best source to the last.
    """

    count: int
    stack_name: str
    movies: tuple[str, ...] = ()
    acquisition_order: tuple[int, ...] = ()
    angles_deg: tuple[tuple[float, ...], ...] = ()


def places_in_stack(listed: Listed, refined_deg: Sequence[float], views: Views) -> tuple[tuple[int, ...], str] | None:
    """Return for each listed tilt its place in the stack, from 0, and by what it was found; None where nobody can tell.

    The first of these that leaves no doubt counts, and none that the angles contradict: sections of this stack; files of frames; the order
    of acquisition; angles of the stage. Refined angles count where they fit in one way alone: a pre-tilt may shift all of them.

    Parameters
    ----------
    listed
        What the list says.
    refined_deg
        Angles of the listed tilts, as refined.
    views
        Of the stack.
    """
    for places, how in _candidates(listed, tuple(refined_deg), views):
        sound = len(set(places)) == len(refined_deg) and all(0 <= place < views.count for place in places)
        if sound and all(_fit(refined_deg, angles, places) for angles in views.angles_deg):
            return places, how
    return None


def _candidates(listed: Listed, refined_deg: tuple[float, ...], views: Views) -> Iterator[tuple[tuple[int, ...], str]]:
    if listed.sections and _stem(listed.stack_name) == _stem(views.stack_name):
        yield tuple(section - 1 for section in listed.sections), f"their sections of {listed.stack_name}"
    told: list[tuple[list[Any], list[Any], str]] = [
        ([_stem(name) for name in views.movies], [_stem(name) for name in listed.movies], "the names of their frames"),
        (list(views.acquisition_order), [time - 1 for time in listed.times], "their place in time"),
    ]
    for ours, theirs, how in told:
        if theirs and len(set(ours)) == len(ours) == views.count and set(theirs) <= set(ours):
            yield tuple(ours.index(value) for value in theirs), how
    for angles in views.angles_deg:
        if listed.nominal_angles_deg and (near := _near(listed.nominal_angles_deg, angles, _SAME_ANGLE_DEG)):
            yield near, "the angles of the stage"
    for angles in views.angles_deg:
        for degrees in filter(None, (listed.nominal_angles_deg, refined_deg)):
            found = {near for own in angles if (near := _near(np.asarray(degrees) + (own - degrees[0]), angles, _tolerance(angles)))}
            if len(found) == 1:
                yield found.pop(), "their angles"


def _stem(name: str) -> str:
    """Return the name of a file on any system without its folder and its last suffix."""
    return PurePosixPath(name.replace("\\", "/")).stem


def _tolerance(angles_deg: Sequence[float]) -> float:
    """Return half the smallest step between views: refined angles may differ by less."""
    return 0.5 * float(_steps(angles_deg).min(initial=90.0))


def _steps(angles_deg: Sequence[float]) -> np.ndarray:
    steps = np.diff(np.unique(angles_deg))
    return np.asarray(steps[steps > _ONE_PLACE_DEG])


def _near(theirs_deg: Sequence[float] | np.ndarray, ours_deg: Sequence[float], tolerance_deg: float) -> tuple[int, ...] | None:
    """Return the one place within the tolerance of each angle, or None where there is not just one, or one twice."""
    distances = np.abs(np.asarray(theirs_deg)[:, None] - np.asarray(ours_deg)[None])
    near = distances < tolerance_deg
    if (near.sum(axis=1) != 1).any() or near.sum(axis=0).max() > 1:
        return None
    return tuple(int(place) for place in near.argmax(axis=1))


def _fit(theirs_deg: Sequence[float], ours_deg: Sequence[float], places: Sequence[int]) -> bool:
    """Say whether refined angles are those of their places, up to one constant."""
    differences = np.asarray(theirs_deg) - np.asarray(ours_deg)[list(places)]
    # A view that was taken twice makes one small step, and refined angles differ by more than half of that.
    steps = _steps(ours_deg)
    usual = float(np.median(steps)) if steps.size else 180.0
    return float(np.abs(differences - np.median(differences)).max()) < usual / 2
