"""Lists of tilt angles: ``.tlt`` and ``.rawtlt``, one angle in degrees a line in the order of the stack, or an ``.mdoc``."""

import math
from pathlib import Path

from wedge.errors import InputError
from wedge.formats.mdoc import read_mdoc_angles

SUFFIXES = (".tlt", ".rawtlt")
_LARGEST_MDOC = 16 * 2**20
_LARGEST_LIST = 2**20


def read_angles(path: str | Path) -> tuple[float, ...]:
    """Return the angles of a list, in degrees.

    Raises
    ------
    InputError
        If the file is missing, holds no angles, something that is no number, or one that is not finite or beyond +-180 degrees; or if
        all of three or more are equal.
    """
    path = Path(path)
    is_mdoc = path.suffix.lower() == ".mdoc"
    try:
        if path.stat().st_size > (_LARGEST_MDOC if is_mdoc else _LARGEST_LIST):
            raise InputError(f"not a list of tilt angles: {path} holds {path.stat().st_size} bytes; expected one angle a line")
        text = path.read_text(encoding="utf-8-sig", errors="replace" if is_mdoc else "strict")
    except OSError as error:
        raise InputError(f"cannot read tilt angles {path}: {error.strerror}; check --angles") from error
    except UnicodeDecodeError as error:
        raise InputError(f"not a list of tilt angles: {path} is no text; expected one angle in degrees a line") from error
    if is_mdoc:
        angles = tuple(_angle(value, f"TiltAngle of view {view}", path) for view, value in enumerate(read_mdoc_angles(text, path)))
    else:
        angles = tuple(_angle(line, f"line {number}", path) for number, line in enumerate(text.splitlines(), start=1) if line.strip())
    if not angles:
        raise InputError(f"no tilt angles in {path}: expected one angle in degrees a line")
    if len(angles) > 2 and len(set(angles)) == 1:
        raise InputError(f"all {len(angles)} tilt angles in {path} equal {angles[0]}: expected a range; correct the list")
    return angles


def _angle(value: str, place: str, path: Path) -> float:
    try:
        angle = float(value)
    except ValueError as error:
        raise InputError(f"{place} of {path} is {value.strip()[:40]!r}: expected one tilt angle in degrees; correct the list") from error
    if not math.isfinite(angle) or abs(angle) > 180:
        raise InputError(f"{place} of {path} is {angle}: expected degrees within -180..180; correct the list")
    return angle


def find_angles(stack: str | Path) -> Path | None:
    """Return the angle list beside a stack that has its name: ``.tlt`` (refined), ``.rawtlt``, ``.mrc.mdoc``, ``.mdoc``, or None."""
    stack = Path(stack)
    candidates = [*(stack.with_suffix(suffix) for suffix in SUFFIXES), stack.with_name(stack.name + ".mdoc"), stack.with_suffix(".mdoc")]
    return next((path for path in candidates if path.is_file()), None)
