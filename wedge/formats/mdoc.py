"""SerialEM's ``.mdoc``: a section of ``key = value`` lines for every view of a stack. Only the tilt angles are read."""

import re
from pathlib import Path

from wedge.errors import InputError

_SECTION = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]")


def read_mdoc_angles(text: str, path: Path) -> list[str]:
    """Return the tilt angles of an mdoc as they stand there, in the order of the stack.

    Parameters
    ----------
    text
        The file's contents.
    path
        For messages.

    Raises
    ------
    InputError
        If there is no view, one has no angle, or the views are not numbered from 0 without gaps.
    """
    angles: dict[int, str] = {}
    view: int | None = None
    for line in text.splitlines():
        if section := _SECTION.fullmatch(line.strip()):
            # Sections of other kinds, as of frame sets or montages, are not views of this stack.
            view = int(section[2]) if section[1] == "ZValue" and section[2].isdecimal() else None
            if view is not None:
                angles[view] = ""
        elif view is not None and line.partition("=")[0].strip() == "TiltAngle":
            angles[view] = line.partition("=")[2].strip()
    if not angles:
        raise InputError(f"no tilt angles in {path}: it has no section [ZValue = ...]; expected the mdoc of a stack")
    if sorted(angles) != list(range(len(angles))):
        raise InputError(f"views of {path} are not numbered from 0 to {len(angles) - 1}; give the angles of this stack by --angles")
    if missing := [view for view in sorted(angles) if not angles[view]]:
        raise InputError(f"view {missing[0]} has no TiltAngle in {path}; correct it or give --angles")
    return [angles[view] for view in range(len(angles))]
