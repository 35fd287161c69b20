"""Lists of tilt angles, ``.tlt`` and ``.rawtlt``: one angle in degrees a line, in the order of the stack."""

import math
from pathlib import Path

from wedge.errors import InputError

SUFFIXES = (".tlt", ".rawtlt")
_LARGEST_FILE = 2**20


def read_angles(path: str | Path) -> tuple[float, ...]:
    """Return the angles of a list, in degrees.

    Raises
    ------
    InputError
        If the file is missing, holds no angles, something that is no number, or one that is not finite or beyond +-180 degrees; or if
        all of three or more are equal.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"not a list of tilt angles: {path} holds {path.stat().st_size} bytes; expected one angle a line")
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot read tilt angles {path}: {error.strerror}; check --angles") from error
    except UnicodeDecodeError as error:
        raise InputError(f"not a list of tilt angles: {path} is no text; expected one angle in degrees a line") from error
    angles = tuple(_angle(line, number, path) for number, line in enumerate(lines, start=1) if line.strip())
    if not angles:
        raise InputError(f"no tilt angles in {path}: expected one angle in degrees a line")
    if len(angles) > 2 and len(set(angles)) == 1:
        raise InputError(f"all {len(angles)} tilt angles in {path} equal {angles[0]}: expected a range; correct the list")
    return angles


def _angle(line: str, number: int, path: Path) -> float:
    try:
        angle = float(line)
    except ValueError as error:
        raise InputError(
            f"line {number} of {path} is {line.strip()[:40]!r}: expected one tilt angle in degrees; correct the list"
        ) from error
    if not math.isfinite(angle) or abs(angle) > 180:
        raise InputError(f"line {number} of {path} is {angle}: expected degrees within -180..180; correct the list")
    return angle


def find_angles(stack: str | Path) -> Path | None:
    """Return the angle list beside a stack that has its name but for the suffix, or None; ``.tlt`` (refined) before ``.rawtlt``."""
    candidates = [Path(stack).with_suffix(suffix) for suffix in SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)
