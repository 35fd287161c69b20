"""AreTomo's ``.aln``: a line for every view that is not dark, from AreTomo 1 to 3.

Conventions
-----------
AreTomo brings a point of the raw view, relative to its centre, to ``R(-ROT) (point - (TX, TY))`` with ``R`` turning from x towards y;
TX and TY are unbinned pixels. This is what AreTomo's own ``-OutImod`` writes as ``.xf``. TILT is IMOD's, and so wedge's; AlphaOffset is in
it.

Which view a line is of: SEC counts the raw stack in AreTomo 3 and the views that are not dark before. The first of these that fits decides:
SEC and the second numbers of the dark frames name every view of RawSize once; lines and dark frames are as many as RawSize, then lines fill
the places that are not dark in their order; else the table is cut short, and SEC counts the places that are not dark, from 0.
Dark frames count from 0 or from 1: as the angles rise or fall evenly, else from 0.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.text import lines_of, number, read_text, tilt_angle, whole_number

_MOST_LINES = 2_000_000  # local alignments have one for every patch of every view
_MOST_VIEWS = 10_000
_ENTRY = re.compile(r"#\s*(\w+)\s*=\s*(.*)")
_FIRST_WORDS = re.compile(r"#\s*AreTomo Alignment")
_COLUMNS = 10


@dataclass
class _Table:
    """What stands in an ``.aln`` file."""

    rows: list[tuple[int, list[float]]] = field(default_factory=list)
    """By view: SEC, then ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT."""
    dark: list[tuple[int, int, float]] = field(default_factory=list)
    """By dark frame: its place from 0 or 1, SEC, and its angle."""
    num_raw: int | None = None
    num_local: int = 0
    thickness: float | None = None
    beta_offset: float = 0.0


def read_aln(path: str | Path) -> Alignment:
    """Return the alignment of an ``.aln`` file; dark frames are views that it leaves out.

    Raises
    ------
    InputError
        If the file cannot be read, is no ``.aln``, holds no view, or one that is damaged, twice there or not in the raw stack.
    """
    path = Path(path)
    table = _parse(path)
    count = table.num_raw if table.num_raw is not None else len(table.rows) + len(table.dark)
    places, dark = _places(table, count, path)
    matrices, shifts = np.tile(np.eye(2), (count, 1, 1)), np.zeros((count, 2))
    angles: list[float | None] = [None] * count
    for place, (_, values) in zip(places, table.rows, strict=True):
        rotation, _, x, y = values[:4]
        cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
        matrices[place] = [[cos, sin], [-sin, cos]]
        shifts[place] = -matrices[place] @ (x, y)
        angles[place] = values[8]
    for place, (_, _, angle) in zip(dark, table.dark, strict=True):
        angles[place] = angle
    notes = [f"{table.num_local} local alignments in {path} are not applied"] if table.num_local else []
    if absent := sorted(set(range(count)) - {*places, *dark}):
        notes.append(f"{len(absent)} of {count} views are neither aligned nor dark in {path}, and left out; the first is {absent[0]}")
    if table.beta_offset:
        notes.append(f"BetaOffset {table.beta_offset:g} degrees in {path} is not applied: wedge turns about y alone")
    return Alignment(
        matrices,
        shifts,
        tilt_angles_deg=_filled(angles),
        excluded_views=tuple(sorted({*dark, *absent})),
        thickness_pixels=table.thickness,
        x_axis_tilt_deg=table.beta_offset,
        notes=tuple(notes),
        source=str(path),
    )


def _parse(path: Path) -> _Table:
    text = read_text(path, "an .aln file of AreTomo")
    table = _Table()
    is_local = known = False
    for index, line in enumerate(lines_of(text, _MOST_LINES, path), start=1):
        words = line.split()
        if line.lstrip().startswith("#"):
            known |= bool(_FIRST_WORDS.match(line.strip())) or "SEC" in words
            is_local |= "Local" in words
            if entry := _ENTRY.match(line.strip()):
                _take_entry(table, entry[1], entry[2].split(), f"{entry[1]} in line {index}", path)
        elif is_local:
            table.num_local += bool(words)
        elif words and known:
            if len(table.rows) >= _MOST_VIEWS:
                raise InputError(f"{path} has more than {_MOST_VIEWS} views; check the file")
            if len(words) != _COLUMNS:
                raise InputError(f"line {index} of {path} has {len(words)} columns: expected {_COLUMNS} from SEC to TILT; copy it anew")
            section = whole_number(words[0], f"SEC in line {index}", path, 0, _MOST_VIEWS)
            values = [number(word, f"line {index}", path, 1e6) for word in words[1:-1]]
            table.rows.append((section, [*values, tilt_angle(words[-1], f"TILT in line {index}", path)]))
    if not known:
        raise InputError(f"not an .aln file of AreTomo: {path} has no line '# AreTomo Alignment' or '# SEC ...'; check the path")
    if not table.rows:
        raise InputError(f"no view is aligned in {path}; copy it anew")
    return table


def _take_entry(table: _Table, name: str, words: list[str], place: str, path: Path) -> None:
    if name == "RawSize" and len(words) == 3:
        table.num_raw = whole_number(words[2], place, path, 1, _MOST_VIEWS)
    elif name == "DarkFrame":
        if len(words) != 3:
            raise InputError(f"{place} of {path} has {len(words)} numbers: expected 3; copy it anew")
        index, section = (whole_number(word, place, path, -1, _MOST_VIEWS) for word in words[:2])
        table.dark.append((index, section, tilt_angle(words[2], place, path)))
    elif name == "Thickness" and words and (thickness := number(words[0], place, path, 1e6)) > 0:
        table.thickness = thickness
    elif name == "BetaOffset" and words:
        table.beta_offset = tilt_angle(words[0], place, path)


def _places(table: _Table, count: int, path: Path) -> tuple[list[int], list[int]]:
    """Return the places in the raw stack, from 0, of the rows and of the dark frames."""
    sections, dark_sections = [section for section, _ in table.rows], [section for _, section, _ in table.dark]
    every = sorted(sections + dark_sections)
    for first in (0, 1):
        if every == list(range(first, first + count)):
            return [section - first for section in sections], [section - first for section in dark_sections]
    counts = Counter(sections)
    if len(counts) != len(sections):
        raise InputError(f"SEC {counts.most_common(1)[0][0]} stands twice in {path}; correct the file")
    dark = _dark_places(table, count, path)
    free = sorted(set(range(count)) - set(dark))
    if len(sections) == len(free):
        return free, dark
    if max(sections) >= len(free):
        raise InputError(f"SEC {max(sections)} of {path} is not in its stack of {count} views, {len(dark)} dark; correct the file")
    return [free[section] for section in sections], dark


def _dark_places(table: _Table, count: int, path: Path) -> list[int]:
    numbers = [number for number, _, _ in table.dark]
    fitting = [first for first in (0, 1) if all(first <= number < count + first for number in numbers)]
    if not fitting or len(set(numbers)) != len(numbers):
        raise InputError(f"dark frames of {path} are numbered {numbers[:8]} in a raw stack of {count} views; correct the file")
    evenly = [first for first in fitting if _is_even(table, [number - first for number in numbers], count)]
    return [number - (evenly or fitting)[0] for number in numbers]


def _is_even(table: _Table, dark: list[int], count: int) -> bool:
    """Say whether the angles of the stack rise or fall all along if the dark frames lie at these places."""
    free = sorted(set(range(count)) - set(dark))
    if len(free) != len(table.rows):
        return False
    angles = np.zeros(count)
    angles[free] = [values[8] for _, values in table.rows]
    angles[dark] = [angle for _, _, angle in table.dark]
    steps = np.diff(angles)
    return bool((steps > 0).all() or (steps < 0).all())


def _filled(angles: Sequence[float | None]) -> tuple[float, ...]:
    """Return the angles, those of views that the file leaves out without one as their neighbour's."""
    known = np.array([index for index, angle in enumerate(angles) if angle is not None])
    wanted = np.arange(len(angles))
    after = np.clip(np.searchsorted(known, wanted), 1, max(len(known) - 1, 1)) if len(known) > 1 else np.zeros(len(angles), int)
    nearest = np.where(wanted - known[after - 1] <= known[after] - wanted, known[after - 1], known[after])
    return tuple(float(angle) for angle in (angles[index] for index in nearest) if angle is not None)
