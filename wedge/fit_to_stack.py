"""An alignment for the views of a stack, one by one and in their order, and the tilt angles that count."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.angles import read_angles
from wedge.listed_views import Views, places_in_stack
from wedge.sources import match_views
from wedge.stack_facts import StackFacts

Note = Callable[[str], None]
_WORTH_TELLING_DEG = 1.0


def fit_to_stack(alignment: Alignment, facts: StackFacts, given: Path | None, note: Note) -> tuple[Alignment, tuple[float, ...]]:
    """Return the alignment in the order of the stack, and the angles of its views in degrees.

    Parameters
    ----------
    alignment
        As it was read.
    facts
        Of the stack.
    given
        The angle list of the user, which decides; else the refined angles of the alignment, else those of the stack. To either of these
        what the alignment says is to be added to all of them is added.
    note
        Told where something had to be settled.

    Raises
    ------
    InputError
        If the alignment is of other views than the stack, or nobody knows the angles.
    """
    alignment = _placed(alignment, facts, given, note)
    fitted = _as_many(alignment, facts.num_views, facts.path, note)
    own = _own_angles(facts, alignment, given, note)
    if own is not None and fitted.tilt_angles_deg is not None:
        fitted = _in_order(fitted, own, facts.path, note)
    if given is not None and own is not None:
        return fitted, own[1]
    angles = fitted.tilt_angles_deg or (None if own is None else own[1])
    if angles is None:
        raise InputError(f"no tilt angles for {facts.path}: neither {fitted.source} nor a list beside it has any; give --angles")
    offset = fitted.tilt_angle_offset_deg
    if offset:
        note(f"{offset:g} degrees are added to all tilt angles, as the files of {fitted.source} say")
    return fitted, tuple(angle + offset for angle in angles)


def _placed(alignment: Alignment, facts: StackFacts, given: Path | None, note: Note) -> Alignment:
    """Return an alignment that lists some of the views, or lists them in its own order, as one of all views of the stack."""
    if alignment.listed is None or alignment.tilt_angles_deg is None:
        return alignment
    views = _known_views(facts, given)
    found = places_in_stack(alignment.listed, alignment.tilt_angles_deg, views)
    left_out = facts.num_views - alignment.num_views
    if found is None and left_out > 0:
        lacking = ".mdoc" if views.angles_deg else ".mdoc or .rawtlt"
        raise InputError(
            f"{alignment.source} lists {alignment.num_views} tilts, and {facts.path} has {facts.num_views} views: which they are, neither"
            f" their names nor their angles say beyond doubt; put the stack's {lacking} beside it, or give a stack of these tilts"
        )
    if found is None or found[0] == tuple(range(facts.num_views)):
        return alignment
    places, how = found
    few = f"lists {alignment.num_views} of {facts.num_views} views" if left_out else "is sorted otherwise than the views"
    note(f"{alignment.source} {few} of {facts.path}: matched by {how}")
    return _with_angles_of_all(alignment.in_stack(places, facts.num_views), views)


def _with_angles_of_all(alignment: Alignment, views: Views) -> Alignment:
    """Return an alignment whose excluded views have the angles of the stack: every second view by angle is so among all of them."""
    if not views.angles_deg or alignment.tilt_angles_deg is None or not alignment.excluded_views:
        return alignment
    own, refined, used = np.asarray(views.angles_deg[0]), np.asarray(alignment.tilt_angles_deg), list(alignment.used_views)
    shifted = own + np.median(refined[used] - own[used])
    shifted[used] = refined[used]
    return replace(alignment, tilt_angles_deg=tuple(shifted.tolist()))


def _known_views(facts: StackFacts, given: Path | None) -> Views:
    count = facts.num_views
    notes = facts.mdoc if facts.mdoc is not None and facts.mdoc.num_views == count else None
    of_stack = facts.angles()
    order = (None if facts.record is None else facts.record.acquisition_order) or (None if notes is None else notes.acquisition_order)
    lists = [
        None if given is None else read_angles(given),
        None if notes is None or None in notes.tilt_angles_deg else tuple(angle for angle in notes.tilt_angles_deg if angle is not None),
        None if of_stack is None else of_stack[1],
    ]
    return Views(
        count,
        facts.path.name,
        tuple(name or "" for name in notes.frame_paths) if notes is not None else (),
        tuple(order or ()),
        tuple(angles for angles in lists if angles is not None and len(angles) == count),
    )


def _as_many(alignment: Alignment, count: int, stack: Path, note: Note) -> Alignment:
    if alignment.num_views == count:
        return alignment
    used = alignment.used_views
    if len(used) == count:
        note(f"{alignment.source} is of {alignment.num_views} views and leaves out {alignment.num_views - count}: {stack} is without these")
        return alignment.with_views(used)
    without = "" if len(used) == alignment.num_views else f" ({len(used)} without those that it leaves out)"
    raise InputError(
        f"{alignment.num_views} views in {alignment.source}{without}, but {count} in {stack}; give the alignment of this stack by"
        " --alignment, or none"
    )


def _own_angles(facts: StackFacts, alignment: Alignment, given: Path | None, note: Note) -> tuple[str, tuple[float, ...]] | None:
    """Return the angles that the stack itself has, where they are as many as its views."""
    own = (str(given), read_angles(given)) if given is not None else facts.angles()
    if own is None or len(own[1]) == facts.num_views:
        return own
    used = alignment.used_views
    if len(own[1]) == alignment.num_views and len(used) == facts.num_views:
        return own[0], tuple(own[1][view] for view in used)
    if given is not None or alignment.tilt_angles_deg is None:
        raise InputError(f"{len(own[1])} tilt angles in {own[0]}, but {facts.num_views} views in {facts.path}; give its list by --angles")
    note(f"{own[0]} has {len(own[1])} tilt angles for {facts.num_views} views and is not used: {alignment.source} has as many")
    return None


def _in_order(fitted: Alignment, own: tuple[str, tuple[float, ...]], stack: Path, note: Note) -> Alignment:
    """Return the alignment in the order of the stack's own angles."""
    assert fitted.tilt_angles_deg is not None
    source, angles = own
    places = match_views(angles, fitted.tilt_angles_deg, fitted.used_views, stack=source, alignment=fitted.source)
    if places != tuple(range(len(places))):
        note(
            f"the views of {fitted.source} are sorted otherwise than those of {stack}, or their angles have the other sign:"
            f" matched by their angles in {source}"
        )
        fitted = fitted.with_views(places)
        assert fitted.tilt_angles_deg is not None
    used = list(fitted.used_views)
    shift = float(np.median(np.asarray(fitted.tilt_angles_deg)[used] - np.asarray(angles)[used]))
    if abs(shift) > _WORTH_TELLING_DEG:
        note(f"the angles of {fitted.source} are those of {source} and {shift:+.3g} degrees")
    return fitted
