"""What to believe where files about one tilt series disagree: one rule for each thing, and one line that says so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wedge.errors import InputError

Note = Callable[[str], None]
_LARGEST_DISAGREEMENT = 0.01


@dataclass(frozen=True)
class Statement:
    """What a source says of a number.

    Parameters
    ----------
    source
        For messages: ``"--voxel-size"``, ``"the header of TS.mrc"``.
    value
        The number, or None where the source is silent.
    is_header
        Whether it is an MRC header, in which 1 often means that nobody filled it in.
    """

    source: str
    value: float | None
    is_header: bool = False


@dataclass(frozen=True)
class Settled:
    """What is believed.

    Parameters
    ----------
    value
        The number, or None where nobody knows it.
    source
        Who says it, or nobody.
    only_header
        Whether nobody but the header of an MRC file says it.
    """

    value: float | None
    source: str = ""
    only_header: bool = False


def settle_pixel_size(statements: Sequence[Statement], note: Note) -> Settled:
    """Believe the first source that knows the pixel size, in angstrom; say which, and who says otherwise by more than 1 %.

    Parameters
    ----------
    statements
        From the one that decides to the one that is believed last.
    note
        Told in one line where it is not just the header, or just an option, that says it.
    """
    known = [each for each in statements if each.value is not None and each.value > 0]
    if not known:
        return Settled(None)
    chosen, *rest = known
    assert chosen.value is not None
    others = [each for each in rest if each.value and abs(each.value / chosen.value - 1) > _LARGEST_DISAGREEMENT]
    words = [f"{each.source} says {each.value:g}" for each in others]
    unset = [each for each in statements if each.is_header and each not in known and chosen is not statements[0]]
    words += [f"{each.source} says nothing" for each in unset]
    if words:
        note(f"pixel size {chosen.value:g} angstrom, from {chosen.source}; {' and '.join(words)}, which is not used")
    elif len(known) > 1 and chosen is not statements[0]:
        note(f"pixel size {chosen.value:g} angstrom, from {chosen.source}")
    return Settled(chosen.value, chosen.source, chosen.is_header)


def match_views(
    stack_angles_deg: Sequence[float],
    alignment_angles_deg: Sequence[float],
    used_views: Sequence[int],
    *,
    stack: str,
    alignment: str,
) -> tuple[int, ...]:
    """Return for each view of a stack its place in an alignment, by their angles.

    The same order is kept where it fits: refined angles may differ from those of the stage by half the smallest step, and all of them
    by one constant more, a pre-tilt. Else both are sorted by angle, as some programs write them, and must then fit as well.

    Parameters
    ----------
    stack_angles_deg, alignment_angles_deg
        As many angles each.
    used_views
        Places in the alignment whose angles count; those that it leaves out may be guesses.
    stack, alignment
        Where they came from, for messages.

    Raises
    ------
    InputError
        If they fit in neither order, or fit only sorted while an angle occurs twice, so that nobody can tell which is which.
    """
    own, other = (np.asarray(angles, dtype=np.float64) for angles in (stack_angles_deg, alignment_angles_deg))
    if len(own) != len(other):
        raise ValueError(f"{len(own)} and {len(other)} angles")
    steps = np.diff(np.unique(own))
    tolerance = 0.5 * float(steps[steps > 0.05].min(initial=90.0))
    used = np.asarray(used_views, dtype=int)
    if _largest_difference(own[used], other[used]) < tolerance:
        return tuple(range(len(own)))
    if is_negated(own[used], other[used], tolerance) and not is_monotonic(own):
        raise InputError(
            f"tilt angles of {alignment} have the other sign of those of {stack}: give the list that is right for both by --angles,"
            " or let the program that wrote one of them turn its sign"
        )
    own_order, other_order = np.argsort(own, kind="stable"), np.argsort(other, kind="stable")
    if _largest_difference(own[own_order], other[other_order]) >= tolerance:
        raise InputError(
            f"tilt angles of {alignment} are not those of {stack}, in any order: they differ by up to"
            f" {_largest_difference(own[own_order], other[other_order]):.3g} degrees; give the list of this stack by --angles, or the"
            " alignment of this stack"
        )
    if len(steps) + 1 < len(own):
        raise InputError(
            f"views of {alignment} are in another order than those of {stack}, and some have the same angle, so that nobody can tell"
            " which is which; write the alignment in the order of the stack"
        )
    places = np.empty(len(own), dtype=int)
    places[own_order] = other_order
    return tuple(int(place) for place in places)


def is_negated(first_deg: np.ndarray, second_deg: np.ndarray, tolerance_deg: float) -> bool:
    """Return whether angles are those of another list with the other sign."""
    return _largest_difference(first_deg, -second_deg) < tolerance_deg


def is_monotonic(angles_deg: np.ndarray) -> bool:
    """Return whether angles only rise or only fall: then the other sign and the other direction look alike."""
    steps = np.diff(angles_deg)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference once the constant part is taken off."""
    differences = second - first
    return float(np.abs(differences - np.median(differences)).max())
