"""IMOD's command files ``tilt.com`` and ``newst.com``: one ``Name value`` a line for one program."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wedge.errors import InputError
from wedge.formats.text import lines_of, number, read_text

_MOST_LINES = 10_000
_MOST_VIEWS = 10_000
_PROGRAM = re.compile(r"\$\s*(\w+)\b")
_SEPARATORS = re.compile(r"[,\s]+")


def read_com(path: str | Path, program: str) -> dict[str, list[str]]:
    """Return what the command file gives a program: by option, in lower case, its values as they stand; a repeated option has several.

    Parameters
    ----------
    path
        The command file.
    program
        ``"tilt"`` or ``"newstack"``; options of other programs in the file are left out.

    Raises
    ------
    InputError
        If the file cannot be read or does not run the program.
    """
    path = Path(path)
    found: dict[str, list[str]] = {}
    inside = seen = False
    for line in lines_of(read_text(path, "a command file of IMOD"), _MOST_LINES, path):
        stripped = line.strip()
        if command := _PROGRAM.match(stripped):
            inside = command[1].lower() == program
            seen |= inside
        elif inside and stripped and not stripped.startswith("#"):
            name, _, value = stripped.replace("\t", " ").partition(" ")
            found.setdefault(name.lower(), []).append(value.strip())
    if not seen:
        raise InputError(f"not a command file that runs {program} of IMOD: {path}; check the path")
    return found


def numbers_of(options: Mapping[str, list[str]], name: str, path: Path, counts: tuple[int, ...]) -> list[float] | None:
    """Return the numbers of an option that is given once, or None where it is not given.

    Raises
    ------
    InputError
        If something is no finite number, or there are not as many as one of ``counts``.
    """
    values = options.get(name.lower())
    if not values:
        return None
    parts = [part for part in _SEPARATORS.split(values[-1]) if part]
    if len(parts) not in counts:
        raise InputError(f"{name} in {path} has {len(parts)} numbers: expected {' or '.join(map(str, counts))}; correct the file")
    return [number(part, name, path, 1e7) for part in parts]


def views_of(options: Mapping[str, list[str]], name: str, path: Path) -> tuple[int, ...]:
    """Return the views of a list such as ``1,3-5``, from 1 as IMOD counts; nothing where the option is not given.

    Raises
    ------
    InputError
        If the list is none.
    """
    views = np.zeros(_MOST_VIEWS + 1, dtype=bool)
    parts = [part for value in options.get(name.lower(), []) for part in _SEPARATORS.split(value) if part]
    for part in parts:
        ends = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, 0)
        if not 1 <= first <= last <= _MOST_VIEWS:
            raise InputError(f"{name} in {path} has {part[:40]!r}: expected views from 1 as in 1,3-5; correct the file")
        views[first : last + 1] = True
    return tuple(int(view) for view in np.flatnonzero(views))
