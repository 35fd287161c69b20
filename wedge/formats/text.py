"""Small text files that programs leave beside a stack: read whole, within bounds, as what they can hold."""

import math
from pathlib import Path

from wedge.errors import InputError

LARGEST_TEXT_FILE = 16 * 2**20


def read_text(path: str | Path, what: str) -> str:
    """Return a text file's contents; bytes that are no UTF-8 are replaced, as microscopes write names in any code page.

    Parameters
    ----------
    path
        The file.
    what
        What it is to be, for messages: ``"an .xf file"``.

    Raises
    ------
    InputError
        If it cannot be read, is larger than 16 MiB or holds bytes that no text has.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Opening a pipe would wait for whoever writes to it.
        raise InputError(f"cannot read {path}: a pipe or a device, expected {what}; write it to a file first")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT_FILE + 1)
    except (OSError, ValueError) as error:  # a name may hold a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read {path}: {reason or error}; check the path") from error
    if len(content) > LARGEST_TEXT_FILE:
        raise InputError(f"not {what}: {path} is larger than {LARGEST_TEXT_FILE // 2**20} MiB; check the path")
    if b"\0" in content:
        raise InputError(f"not {what}: {path} is no text; check the path")
    return content.decode("utf-8-sig", errors="replace")


def number(value: str, place: str, path: Path, largest: float = 1e9) -> float:
    """Return a finite number, at most ``largest`` in size.

    Parameters
    ----------
    value
        As it stands in the file.
    place
        Where it stands, for the message: ``"line 3"``.
    path
        The file, for the message.
    largest
        The largest size that makes sense.

    Raises
    ------
    InputError
        If it is no such number.
    """
    try:
        result = float(value)
    except ValueError as error:
        raise InputError(f"{place} of {path} is {value.strip()[:40]!r}: expected a number; correct the file") from error
    if not math.isfinite(result) or abs(result) > largest:
        raise InputError(f"{place} of {path} is {value.strip()[:40]}: expected a number within -{largest:g}..{largest:g}; correct the file")
    return result


def whole_number(value: str, place: str, path: Path, smallest: int, largest: int) -> int:
    """Return a whole number within bounds; ``4`` and ``4.0`` are one.

    Raises
    ------
    InputError
        If it is no such number.
    """
    result = number(value, place, path)
    if result != int(result) or not smallest <= result <= largest:
        raise InputError(
            f"{place} of {path} is {value.strip()[:40]}: expected a whole number from {smallest} to {largest}; correct the file"
        )
    return int(result)


def tilt_angle(value: str, place: str, path: Path) -> float:
    """Return an angle within +-180 degrees.

    Raises
    ------
    InputError
        If it is no such number.
    """
    return number(value, place, path, 180.0)


def pixel_size(value: str, place: str, path: Path) -> float | None:
    """Return a pixel size in angstrom, or None for 0, which says that it is unknown.

    Raises
    ------
    InputError
        If it is no number, or none from 0.001 to 100000.
    """
    result = number(value, place, path)
    if result and not 1e-3 <= result <= 1e5:
        raise InputError(f"{place} of {path} is {value.strip()[:40]}: expected angstrom from 0.001 to 100000; correct the file")
    return result or None


def lines_of(text: str, most: int, path: Path) -> list[str]:
    """Return a file's lines.

    Raises
    ------
    InputError
        If there are more than ``most``.
    """
    lines = text.splitlines()
    if len(lines) > most:
        raise InputError(f"{path} has {len(lines)} lines: expected at most {most}; check the file")
    return lines
