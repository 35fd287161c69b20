"""What importing a tilt series will do: which files count, which views stay, and where they go. Nothing is computed or written here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wedge import formats
from wedge.aligned_views import AlignedViews
from wedge.alignment import Alignment
from wedge.already_aligned import same_as_raw, why_aligned
from wedge.data import TiltSeries
from wedge.errors import InputError, UsageError
from wedge.formats import beside, mrc
from wedge.formats.angles import find_angles, read_angles
from wedge.formats.views import SelectedViews
from wedge.formats.window import window
from wedge.geometry import TiltGeometry
from wedge.reading import Reading
from wedge.sources import match_views
from wedge.stack_facts import StackFacts, stack_facts

Note = Callable[[str], None]


@dataclass(frozen=True)
class ImportPlan:
    """What will be imported.

    Parameters
    ----------
    series
        The tilt series as it will be. Where its views are aligned, they can be read within ``aligned.computed()``.
    aligned
        The views that will be brought onto the tilt axis, or None where they are taken as they lie.
    inputs
        The files it is made from.
    applied
        For the record: what was done to the views and from which files, or nothing.
    """

    series: TiltSeries
    aligned: AlignedViews | None
    inputs: tuple[Path, ...]
    applied: dict[str, Any]


def plan_import(
    stack: str | Path,
    reading: Reading,
    *,
    alignment: str | Path | None = None,
    tilt_axis_deg: float | None = None,
    on_note: Note,
) -> ImportPlan:
    """Settle what importing a stack means.

    Parameters
    ----------
    stack
        A stack of views or a store.
    reading
        Views, sizes and angles, as everywhere. Crops and thickness are those of the aligned series.
    alignment
        A file, ``"none"``, or None for what lies beside the stack by its name, unless the stack is aligned already.
    tilt_axis_deg
        Where the tilt axis lies in every view, from y towards negative x: the views are turned by it and by nothing else.
    on_note
        Told in a line what was decided, and from which file.

    Raises
    ------
    InputError
        If a file is missing or damaged, or files do not belong together.
    UsageError
        If options contradict each other, or the stack is aligned already and an alignment is given.
    """
    stack = Path(stack)
    formats.refuse_unknown(stack)
    facts = stack_facts(stack)
    chosen = _choose_alignment(stack, facts, alignment, tilt_axis_deg, on_note)
    size = facts.pixel_size_angstrom(reading.voxel_size_angstrom, chosen, on_note)
    return (
        _plan_as_it_lies(stack, reading, facts, size, on_note)
        if chosen is None
        else _plan_aligned(stack, reading, facts, chosen, size, on_note)
    )


def _choose_alignment(
    stack: Path, facts: StackFacts, alignment: str | Path | None, tilt_axis_deg: float | None, note: Note
) -> Alignment | None:
    none = str(alignment) == "none"
    wanted = (alignment is not None and not none) or tilt_axis_deg is not None
    if (reason := why_aligned(stack)) is not None:
        if wanted:
            option = "--tilt-axis" if tilt_axis_deg is not None else "--alignment"
            raise UsageError(f"{stack} {reason}: {option} would align it twice; give the raw stack, or leave the option out")
        if (raw := same_as_raw(stack)) is not None:
            note(f"{stack} has the same bytes as {raw}: in spite of its name nobody aligned it; import {raw} with its alignment")
        return None
    if tilt_axis_deg is not None:
        if alignment is not None and not none:
            raise UsageError("--tilt-axis and --alignment contradict each other: an alignment says where the axis is; give one")
        if not abs(tilt_axis_deg) <= 360:
            raise UsageError(f"--tilt-axis is {tilt_axis_deg}: expected degrees within -360..360")
        return _turned(facts.num_views, tilt_axis_deg)
    if none:
        return None
    found = Path(alignment) if alignment is not None else beside.find_alignment(stack)
    if found is None:
        hint = f", where {facts.mdoc.path} has its axis at {facts.tilt_axis_deg:g} degrees" if facts.mdoc and facts.tilt_axis_deg else ""
        note(f"no alignment of {stack} lies beside it: taken as aligned, its tilt axis along y; --tilt-axis turns it{hint}")
        return None
    chosen = beside.read_alignment(found)
    note(f"alignment from {found}")
    return chosen


def _turned(num_views: int, tilt_axis_deg: float) -> Alignment:
    """Return the alignment that turns an axis that lies ``tilt_axis_deg`` from y, counterclockwise with y upwards, along y."""
    cos, sin = np.cos(np.deg2rad(tilt_axis_deg)), np.sin(np.deg2rad(tilt_axis_deg))
    matrices = np.tile([[cos, sin], [-sin, cos]], (num_views, 1, 1))
    return Alignment(matrices, np.zeros((num_views, 2)), source=f"--tilt-axis {tilt_axis_deg:g}")
