"""What importing a tilt series will do: which files count, which views stay, and where they go. Nothing is computed or written here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wedge import formats
from wedge.align_series import align_series
from wedge.aligned_views import AlignedViews
from wedge.alignment import Alignment
from wedge.already_aligned import same_as_raw, why_aligned
from wedge.data import TiltSeries
from wedge.errors import UsageError
from wedge.fit_to_stack import fit_to_stack
from wedge.formats.beside import find_beside, read_alignment
from wedge.formats.views import SelectedViews
from wedge.reading import Reading
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
        For the record: what was done to the views and from which files; empty where nothing was.
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
    on_note: Note = lambda message: None,
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
    formats.require_voxel_size(reading.voxel_size_angstrom)
    facts = stack_facts(stack)
    chosen, files = _choose_alignment(facts, reading, alignment, tilt_axis_deg, on_note)
    if chosen is None:
        return _plan_as_it_lies(facts, reading, on_note)
    return _plan_aligned(facts, reading, chosen, files, on_note)


def _choose_alignment(
    facts: StackFacts, reading: Reading, given: str | Path | None, tilt_axis_deg: float | None, note: Note
) -> tuple[Alignment | None, tuple[Path, ...]]:
    """Return the alignment that counts and the files that it was read from."""
    stack, none = facts.path, str(given) == "none"
    if (reason := why_aligned(stack)) is not None:
        if (given is not None and not none) or tilt_axis_deg is not None:
            option = "--tilt-axis" if tilt_axis_deg is not None else "--alignment"
            raise UsageError(f"{stack} {reason}: {option} would align it twice; give the raw stack, or leave the option out")
        if (raw := same_as_raw(stack)) is not None:
            note(f"{stack} has the same bytes as {raw}: in spite of its name nobody aligned it; import {raw} with its alignment")
        return None, ()
    if tilt_axis_deg is not None:
        if given is not None and not none:
            raise UsageError("--tilt-axis and --alignment contradict each other: an alignment says where the axis is; give one")
        return _turned(facts.num_views, tilt_axis_deg), ()
    if none:
        return None, ()
    beside = find_beside(stack)
    if given is None and not beside.alignments:
        if facts.record is None:
            angle = None if facts.mdoc is None else facts.mdoc.tilt_axis_angle_deg
            hint = "" if angle is None or facts.mdoc is None else f"; {facts.mdoc.path} sees it at {angle:g} degrees"
            note(f"no alignment lies beside {stack}: its views count as aligned, with the tilt axis along y; --tilt-axis turns them{hint}")
        return None, ()
    found = Path(given) if given is not None else beside.alignments[0]
    others = "" if given is not None else "".join(f"; {other} is not used" for other in beside.alignments[1:])
    note(f"alignment from {found}{others}")
    decisive = reading.voxel_size_angstrom or (None if facts.record is None else facts.record.pixel_size_angstrom)
    size = facts.pixel_size(None, None, lambda message: None)
    # Where 1 angstrom means that nobody knows, it is no measure of shifts.
    known = None if size.only_header and size.value == 1.0 else size.value
    extra = [beside.newst, beside.tilt] if found.suffix.lower() in (".xf", ".com") else []
    read = read_alignment(found, stack=stack, pixel_size_angstrom=decisive, fallback_pixel_size_angstrom=known)
    return read, (found, *(path for path in extra if path is not None))


def _turned(num_views: int, tilt_axis_deg: float) -> Alignment:
    """Return the alignment that turns an axis that lies ``tilt_axis_deg`` from y towards negative x along y."""
    if not abs(tilt_axis_deg) <= 360:
        raise UsageError(f"--tilt-axis is {tilt_axis_deg}: expected degrees within -360..360")
    cos, sin = np.cos(np.deg2rad(tilt_axis_deg)), np.sin(np.deg2rad(tilt_axis_deg))
    matrices = np.tile([[cos, sin], [-sin, cos]], (num_views, 1, 1))
    return Alignment(matrices, np.zeros((num_views, 2)), source=f"--tilt-axis {tilt_axis_deg:g}")


def _plan_as_it_lies(facts: StackFacts, reading: Reading, note: Note) -> ImportPlan:
    size = facts.pixel_size(reading.voxel_size_angstrom, None, note)
    options = reading.options() | ({} if size.only_header or size.value is None else {"voxel_size_angstrom": size.value})
    series = formats.open_tilts(facts.path, **options, on_note=note)
    files = [facts.path, formats.angles_path(facts.path, reading.angles)]
    return ImportPlan(series, None, tuple(path for path in files if path is not None), {})


def _plan_aligned(facts: StackFacts, reading: Reading, read: Alignment, files: tuple[Path, ...], note: Note) -> ImportPlan:
    for message in read.notes:
        note(message)
    fitted, angles = fit_to_stack(read, facts, reading.angles, note)
    size = facts.pixel_size(reading.voxel_size_angstrom, fitted, note)
    left_out = tuple(sorted({*fitted.excluded_views, *(reading.exclude_views or ())}))
    if fitted.excluded_views:
        also = " and --exclude-views want" if reading.exclude_views else ""
        note(f"left out are the views {', '.join(str(view) for view in left_out)} (places from 0), as {fitted.source}{also or ' wants'}")
    raw = formats.open_tilts(
        facts.path,
        angles=angles,
        voxel_size_angstrom=None if size.only_header else size.value,
        thickness=1,
        tilt_range=reading.tilt_range,
        views=reading.views,
        exclude_views=left_out,
        on_note=note,
    )
    kept = raw.array.indices if isinstance(raw.array, SelectedViews) else tuple(range(facts.num_views))
    series, aligned = align_series(raw, fitted.with_views(kept), reading, note)
    lists = [path for path in (formats.angles_path(facts.path, reading.angles), None if facts.mdoc is None else facts.mdoc.path) if path]
    inputs = dict.fromkeys([facts.path, *files, *lists])
    applied = {
        "source": fitted.source,
        "files": [str(path) for path in files],
        "interpolated": aligned is not None,
        "binning": reading.bin or 1,
        "left_out": list(left_out),
        "not_applied": list(read.notes),
    }
    return ImportPlan(series, aligned, tuple(inputs), applied)
