"""SerialEM's ``.mdoc``: a section of ``key = value`` lines for every view of a stack, after lines about all of it.

One rule where its parts disagree: what stands at the views decides over what stands at the head, and the title's tilt axis angle over
RotationAngle.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.text import read_text

_AXIS = re.compile(r"Tilt axis angle\s*=\s*(-?[\d.]{1,12})")
_TIME = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4}|\d{2})\s+(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


@dataclass(frozen=True)
class Mdoc:
    """What an mdoc says about a stack. One entry per view, in the order of the stack.

    Parameters
    ----------
    path
        The file.
    tilt_angles_deg
        As the stage was told; wedge's sign is IMOD's, which is SerialEM's. None for a view without one.
    acquisition_order
        For each view its place in time, from 0: by DateTime, where all have one and not all the same, else by ZValue. SerialEM states whole
        seconds; where two are equal, ZValue decides.
    dose_e_per_square_angstrom
        Accumulated before each view: PriorRecordDose where all have it, else the sum of the ExposureDose of the views before. None where
        not all doses are stated, or all are 0.
    exposure_e_per_square_angstrom
        Of each view, or None as above.
    pixel_size_angstrom
        Edge of a pixel of the stack, or None.
    tilt_axis_angle_deg
        From y to the tilt axis, counterclockwise with y upwards: the title's, else RotationAngle - 90. None where neither is there.
    binning
        Of the camera, or None.
    frame_paths
        The files of frames, as the microscope named them, or None.
    image_file
        The stack's name, or None.
    """

    path: Path
    tilt_angles_deg: tuple[float | None, ...]
    acquisition_order: tuple[int, ...]
    dose_e_per_square_angstrom: tuple[float, ...] | None = None
    exposure_e_per_square_angstrom: tuple[float, ...] | None = None
    pixel_size_angstrom: float | None = None
    tilt_axis_angle_deg: float | None = None
    binning: float | None = None
    frame_paths: tuple[str | None, ...] = ()
    image_file: str | None = None

    @property
    def num_views(self) -> int:
        """Number of views."""
        return len(self.tilt_angles_deg)


def read_mdoc(path: str | Path) -> Mdoc:
    """Return what an mdoc says.

    Raises
    ------
    InputError
        If it cannot be read, has no view, or the views are not numbered from 0 without gaps.
    """
    path = Path(path)
    head, views, titles = _sections(read_text(path, "an .mdoc of SerialEM"))
    sections = _in_order(views, path)
    angles = tuple(_finite(section.get("TiltAngle"), 180.0) for section in sections)
    order = _order(sections)
    doses = _doses(sections)
    return Mdoc(
        path,
        angles,
        tuple(order),
        _prior_doses(sections, order, doses),
        doses,
        _common(sections, head, "PixelSpacing", 1e6),
        _axis_angle(titles, sections),
        _common(sections, head, "Binning", 1e3),
        tuple(section.get("SubFramePath") or None for section in sections),
        (head.get("ImageFile") or "").replace("\\", "/").rpartition("/")[2] or None,
    )


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
    angles = [section.get("TiltAngle", "") for section in _in_order(_sections(text)[1], path)]
    if missing := [view for view, angle in enumerate(angles) if not angle]:
        raise InputError(f"view {missing[0]} has no TiltAngle in {path}; correct it or give --angles")
    return angles


def mdoc_alignment(path: str | Path) -> Alignment:
    """Return the rotation that brings the tilt axis, where the microscope believes it, along y; nothing is shifted.

    Raises
    ------
    InputError
        If the mdoc is damaged, or does not say where the tilt axis is.
    """
    mdoc = read_mdoc(path)
    if mdoc.tilt_axis_angle_deg is None:
        raise InputError(f"{mdoc.path} does not say where the tilt axis is: it has neither 'Tilt axis angle' nor RotationAngle")
    angle = np.deg2rad(mdoc.tilt_axis_angle_deg)
    matrix = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    known = tuple(angle for angle in mdoc.tilt_angles_deg if angle is not None)
    return Alignment(
        np.tile(matrix, (mdoc.num_views, 1, 1)),
        np.zeros((mdoc.num_views, 2)),
        tilt_angles_deg=known if len(known) == mdoc.num_views else None,
        pixel_size_angstrom=mdoc.pixel_size_angstrom,
        acquisition_order=mdoc.acquisition_order,
        dose_e_per_square_angstrom=mdoc.dose_e_per_square_angstrom,
        notes=(f"only the tilt axis of {mdoc.path} is used, {mdoc.tilt_axis_angle_deg:g} degrees: the views are not aligned by it",),
        source=str(mdoc.path),
    )


def _sections(text: str) -> tuple[dict[str, str], dict[int, dict[str, str]], list[str]]:
    """Return the lines at the head, those of each view, and the titles; sections of frame sets and montages are no views of this stack."""
    head: dict[str, str] = {}
    views: dict[int, dict[str, str]] = {}
    titles: list[str] = []
    current: dict[str, str] | None = head
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]") and "=" in stripped:
            kind, _, value = (part.strip() for part in stripped[1:-1].partition("="))
            if kind == "T":
                titles.append(value)
                continue
            is_view = kind == "ZValue" and value.isascii() and value.isdigit() and len(value) < 7
            current = views.setdefault(int(value), {}) if is_view else None
            if current:
                current.clear()  # written again: the last one counts
        elif current is not None and "=" in stripped:
            key, _, value = stripped.partition("=")
            current[key.strip()] = value.strip()
    return head, views, titles


def _in_order(views: dict[int, dict[str, str]], path: Path) -> list[dict[str, str]]:
    if not views:
        raise InputError(f"no tilt angles in {path}: it has no section [ZValue = ...]; expected the mdoc of a stack")
    if sorted(views) != list(range(len(views))):
        raise InputError(f"views of {path} are not numbered from 0 to {len(views) - 1}; give the angles of this stack by --angles")
    return [views[view] for view in range(len(views))]


def _finite(value: str | None, largest: float, smallest: float | None = None) -> float | None:
    try:
        result = float(value) if value else math.nan
    except ValueError:
        return None
    return result if (-largest if smallest is None else smallest) <= result <= largest else None


def _order(sections: Sequence[dict[str, str]]) -> list[int]:
    times = [_seconds(section.get("DateTime", "")) for section in sections]
    known = [time for time in times if time is not None]
    if len(known) != len(sections) or len(set(known)) == 1:
        return list(range(len(sections)))
    return [int(rank) for rank in np.argsort(np.argsort(known, kind="stable"), kind="stable")]


def _seconds(text: str) -> float | None:
    """Return a time as a number that rises with it, whatever the language of the machine."""
    match = _TIME.search(text)
    if not match or match[2].lower() not in _MONTHS:
        return None
    day, year = int(match[1]), int(match[3]) % 100
    days = (year * 12 + _MONTHS.index(match[2].lower())) * 31 + day
    return ((days * 24 + int(match[4])) * 60 + int(match[5])) * 60 + float(match[6])


def _doses(sections: Sequence[dict[str, str]]) -> tuple[float, ...] | None:
    doses = [_finite(section.get("ExposureDose"), 1e4, 0.0) for section in sections]
    known = tuple(dose for dose in doses if dose is not None)
    return known if len(known) == len(sections) and any(known) else None


def _prior_doses(sections: Sequence[dict[str, str]], order: Sequence[int], doses: tuple[float, ...] | None) -> tuple[float, ...] | None:
    stated = [_finite(section.get("PriorRecordDose"), 1e6, 0.0) for section in sections]
    known = tuple(dose for dose in stated if dose is not None)
    if len(known) == len(sections) and any(known):
        return known
    if doses is None:
        return None
    by_time = np.argsort(order)
    before = np.concatenate([[0.0], np.cumsum(np.asarray(doses)[by_time])[:-1]])
    return tuple(float(before[rank]) for rank in order)


def _common(sections: Sequence[dict[str, str]], head: dict[str, str], key: str, largest: float) -> float | None:
    """Return a positive number that the views share within a percent, else that of the head."""
    values = [_finite(section.get(key), largest, 1e-6) for section in sections]
    known = [value for value in values if value is not None]
    if len(known) == len(sections) and max(known) <= 1.01 * min(known):
        return known[0]
    return _finite(head.get(key), largest, 1e-6)


def _axis_angle(titles: Sequence[str], sections: Sequence[dict[str, str]]) -> float | None:
    for title in titles:
        if (match := _AXIS.search(title)) and (angle := _finite(match[1], 360.0)) is not None:
            return angle
    rotation = _common_angle([_finite(section.get("RotationAngle"), 360.0) for section in sections])
    # SerialEM's rotation is that of the stage's x axis, which is the tilt axis.
    return None if rotation is None else (rotation - 90 + 180) % 360 - 180


def _common_angle(angles: Sequence[float | None]) -> float | None:
    known = [angle for angle in angles if angle is not None]
    return known[0] if len(known) == len(angles) and max(known) - min(known) < 1.0 else None
