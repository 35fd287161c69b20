"""Warp and M tilt series: an XML file with a list for each property, one line per tilt.

Conventions
-----------
Warp projects a point to ``R(AxisAngle) (x cos(a) - z sin(a), y)`` plus ``(AxisOffsetX, AxisOffsetY)`` angstrom, with ``a`` from
``Angles``. So a point of the raw view goes to ``R(-AxisAngle) (point - offset / pixel size)``, and wedge's tilt angle is minus Warp's:
Warp inverts the angles of the microscope when it imports them. ``AreAnglesInverted`` is about defocus. ``Dose`` is what a tilt has when it
is taken; its order is that of time. Tilts with ``UseTilt`` False are left out. Local warps and ``LevelAngleX`` are reported as not
applied; ``LevelAngleY`` is added to Warp's angles.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.text import number, pixel_size, read_text, tilt_angle

_MOST_VIEWS = 10_000
_WARPS = ("GridMovementX", "GridMovementY", "GridVolumeWarpX", "GridVolumeWarpY", "GridVolumeWarpZ")


def read_warp(
    path: str | Path, *, pixel_size_angstrom: float | None = None, fallback_pixel_size_angstrom: float | None = None
) -> Alignment:
    """Return the alignment of a tilt series.

    Parameters
    ----------
    path
        The XML file.
    pixel_size_angstrom
        Of the raw views, which the offsets in angstrom need; decides over what the file says.
    fallback_pixel_size_angstrom
        Where neither that nor the file says it.

    Raises
    ------
    InputError
        If the file cannot be read, is no tilt series of Warp, declares a document type, has lists of different lengths, or nobody says the
        pixel size.
    """
    path = Path(path)
    root = _root(path)
    angles = _numbers(root, "Angles", path, None)
    if not len(angles):
        raise InputError(f"no tilts in {path}: expected the XML of a tilt series of Warp with a list of Angles")
    count = len(angles)
    rotations = np.deg2rad(_numbers(root, "AxisAngle", path, count))
    offsets = np.stack([_numbers(root, name, path, count, 1e7) for name in ("AxisOffsetX", "AxisOffsetY")], axis=1)
    stated = pixel_size_angstrom or _pixel_size(root, path)
    size = stated or fallback_pixel_size_angstrom
    if not size and offsets.any():
        raise InputError(f"pixel size unknown for the offsets in {path}, which are in angstrom; give --voxel-size")
    matrices = np.stack([np.stack([np.cos(rotations), np.sin(rotations)], 1), np.stack([-np.sin(rotations), np.cos(rotations)], 1)], 1)
    level_x, level_y = (tilt_angle(root.get(f"LevelAngle{axis}") or "0", f"LevelAngle{axis}", path) for axis in "XY")
    dose = _numbers(root, "Dose", path, count, 1e6)
    order = tuple(int(rank) for rank in np.argsort(np.argsort(dose, kind="stable"), kind="stable")) if len(set(dose)) > 1 else None
    return Alignment(
        matrices,
        -np.einsum("nij,nj->ni", matrices, offsets / (size or 1.0)),
        tilt_angles_deg=tuple(float(-angle) for angle in angles),
        pixel_size_angstrom=stated or None,
        excluded_views=_unused(root, path, count),
        tilt_angle_offset_deg=-level_y,
        x_axis_tilt_deg=level_x,
        acquisition_order=order,
        dose_e_per_square_angstrom=tuple(float(value) for value in dose) if dose.any() else None,
        notes=_notes(root, level_x, path),
        source=str(path),
    )


def is_warp(path: str | Path) -> bool:
    """Say whether a file is the XML of a tilt series of Warp."""
    try:
        return _root(Path(path)).find("Angles") is not None
    except InputError:
        return False


def _root(path: Path) -> ElementTree.Element:
    text = read_text(path, "the XML of a tilt series of Warp")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # A few bytes of nested entities unfold to gigabytes.
        raise InputError(f"{path} declares a document type, which Warp does not write; check the file")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise InputError(f"not the XML of a tilt series of Warp: {path}: {str(error).splitlines()[0][:80]}; check the file") from error
    if root.tag != "TiltSeries":
        raise InputError(f"{path} describes {root.tag[:40]!r}: expected a TiltSeries of Warp; check the path")
    return root


def _words(root: ElementTree.Element, name: str) -> list[str]:
    element = root.find(name)
    return [] if element is None else (element.text or "").split()


def _numbers(root: ElementTree.Element, name: str, path: Path, count: int | None, largest: float = 180.0) -> np.ndarray:
    """Return a list, zeros where it is not there; its length must be ``count`` where that is given."""
    words = _words(root, name)
    if not words and count is not None:
        return np.zeros(count)
    if count is not None and len(words) != count:
        raise InputError(f"{name} in {path} has {len(words)} values: expected {count}, as many as Angles; correct the file")
    if len(words) > _MOST_VIEWS:
        raise InputError(f"{name} in {path} has {len(words)} values: expected at most {_MOST_VIEWS}; check the file")
    return np.asarray([number(word, f"{name} of tilt {index}", path, largest) for index, word in enumerate(words)], dtype=np.float64)


def _unused(root: ElementTree.Element, path: Path, count: int) -> tuple[int, ...]:
    words = _words(root, "UseTilt")
    if words and len(words) != count:
        raise InputError(f"UseTilt in {path} has {len(words)} values: expected {count}, as many as Angles; correct the file")
    return tuple(view for view, word in enumerate(words) if word.lower() in ("false", "0"))


def _pixel_size(root: ElementTree.Element, path: Path) -> float | None:
    for parameter in root.findall("./CTF/Param"):
        if parameter.get("Name") == "PixelSize" and (size := pixel_size(parameter.get("Value") or "0", "PixelSize", path)):
            return size
    return None


def _notes(root: ElementTree.Element, level_x: float, path: Path) -> tuple[str, ...]:
    notes = []
    if any(abs(float(node.get("Value") or "0")) > 0 for name in _WARPS for node in root.findall(f"./{name}/Node") if _is_number(node)):
        notes.append(f"local warps in {path} are not applied")
    if level_x:
        notes.append(f"LevelAngleX {level_x:g} degrees in {path} is not applied: wedge turns about y alone")
    return tuple(notes)


def _is_number(node: ElementTree.Element) -> bool:
    try:
        float(node.get("Value") or "0")
    except ValueError:
        return False
    return True
