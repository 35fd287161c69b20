"""The extended headers of MRC stacks, in which microscopes write the angle and the pixel size of each view.

Read are SerialEM's (``SERI``, or none stated and sizes that add up), FEI's of today (``FEI1``, ``FEI2``) and FEI's old one: 1024 blocks of
32 numbers. Nothing is believed unless all of it makes sense: finite angles within +-180 degrees that are not all the same, and one pixel
size between 0.01 angstrom and 10 micrometres. An extended header decides over the header's pixel size: programs that write the header
without knowing the size write 1 angstrom.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import get_ext_header_dtype

_HEADER_BYTES = 1024
_ANGSTROM_PER_METRE = 1e10
_SMALLEST_PIXEL, _LARGEST_PIXEL = 0.01, 1e5  # angstrom
_MOST_VIEWS = 100_000

# SerialEM: for each bit of its flags how many bytes a view has of that kind, in this order.
_SERI_BYTES = {1: 2, 2: 6, 4: 4, 8: 2, 16: 2, 32: 4, 64: 2, 128: 4, 256: 2, 512: 4, 1024: 2}
_SERI_TILT, _SERI_MONTAGE = 1, 2
_SERI_UNITS_PER_DEGREE = 100

# FEI's old header: 1024 blocks of 32 numbers, of which these are used.
_OLD_BLOCKS, _OLD_NUMBERS = 1024, 32
_OLD_TILT, _OLD_AXIS, _OLD_PIXEL = 0, 10, 11


@dataclass(frozen=True)
class ExtendedHeader:
    """What the extended header of a stack says.

    Parameters
    ----------
    kind
        ``"SERI"``, ``"FEI1"``, ``"FEI2"`` or ``"FEI"`` for the old one.
    tilt_angles_deg
        One per view as the stage was told, or None where none are there or they make no sense.
    pixel_size_angstrom
        Edge of a pixel, or None likewise.
    tilt_axis_angle_deg
        As the microscope states it, or None likewise; 0 is stated where it is unknown, and taken as None.
    """

    kind: str
    tilt_angles_deg: tuple[float, ...] | None = None
    pixel_size_angstrom: float | None = None
    tilt_axis_angle_deg: float | None = None


def read_extended_header(path: Path, header: Any) -> ExtendedHeader | None:
    """Return what the extended header of an MRC stack says, or None where there is none that is known.

    Never raises for what stands in it: numbers that make no sense count as absent. No more is read than the views need.

    Parameters
    ----------
    path
        The MRC file.
    header
        Its header, ``()`` of mrcfile's type in its byte order.
    """
    length, views = int(header["nsymbt"]), int(header["nz"])
    if not 0 < views <= _MOST_VIEWS or length < 2:
        return None
    order = ">" if header.dtype["nx"].str.startswith(">") else "<"
    kind = bytes(header["exttyp"]).decode("latin-1").strip("\0 ")
    per_view, flags = (int(value) for value in np.frombuffer(header["extra2"].tobytes(), order + "i2", count=2, offset=16))
    try:
        if kind in ("FEI1", "FEI2"):
            return _read_fei(path, kind, order, length, views)
        if length == _OLD_BLOCKS * _OLD_NUMBERS * 4 and (old := _read_old_fei(path, order, views)):
            return old
        if kind in ("SERI", "") or not kind.isalnum():
            return _read_seri(path, order, length, views, per_view, flags)
    except OSError:
        pass
    return None


def _read_seri(path: Path, order: str, length: int, views: int, per_view: int, flags: int) -> ExtendedHeader | None:
    stated = sum(size for bit, size in _SERI_BYTES.items() if flags & bit)
    if not 0 < flags < 2048 or per_view != stated or length < per_view * views:
        return None
    if not flags & _SERI_TILT or flags & _SERI_MONTAGE:
        return ExtendedHeader("SERI")
    content = _read_bytes(path, per_view * views)
    tilts = np.frombuffer(content, np.dtype((np.void, per_view)))
    angles = np.frombuffer(b"".join(tilt.tobytes()[:2] for tilt in tilts), order + "i2") / _SERI_UNITS_PER_DEGREE
    return ExtendedHeader("SERI", _sensible_angles(angles, views))


def _read_fei(path: Path, kind: str, order: str, length: int, views: int) -> ExtendedHeader | None:
    dtype = get_ext_header_dtype(kind.encode(), order)
    block = int(np.frombuffer(_read_bytes(path, 4), order + "i4")[0])
    if not dtype.itemsize <= block <= 65536 or length < block * views:
        return None
    content = np.frombuffer(_read_bytes(path, block * views), np.uint8).reshape(views, block)
    blocks = np.frombuffer(np.ascontiguousarray(content[:, : dtype.itemsize]).tobytes(), dtype)
    return ExtendedHeader(
        kind,
        _sensible_angles(blocks["Alpha tilt"], views),
        _sensible_size(np.concatenate([blocks["Pixel size X"], blocks["Pixel size Y"]])),
        _sensible_axis(blocks["Tilt axis angle"]),
    )


def _read_old_fei(path: Path, order: str, views: int) -> ExtendedHeader | None:
    if views > _OLD_BLOCKS:
        return None
    content = _read_bytes(path, views * _OLD_NUMBERS * 4)
    blocks = np.frombuffer(content, order + "f4").reshape(views, _OLD_NUMBERS)
    angles, size = _sensible_angles(blocks[:, _OLD_TILT], views), _sensible_size(blocks[:, _OLD_PIXEL])
    # Nothing names this header: only both numbers together tell it.
    return None if angles is None or size is None else ExtendedHeader("FEI", angles, size, _sensible_axis(blocks[:, _OLD_AXIS]))


def _read_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(_HEADER_BYTES)
        content = file.read(count)
    if len(content) < count:
        raise OSError("the file ends within its extended header")
    return content


def _sensible_angles(angles: np.ndarray, views: int) -> tuple[float, ...] | None:
    """Return angles in degrees if they can be those of a tilt series; digits beyond float32 are noise."""
    with np.errstate(invalid="ignore"):
        sensible = len(angles) == views and np.isfinite(angles).all() and (np.abs(angles) <= 180).all()
    if not sensible or (views > 1 and len(np.unique(angles)) == 1):
        return None
    return tuple(float(f"{angle:.7g}") for angle in angles)


def _sensible_size(sizes_metre: np.ndarray) -> float | None:
    with np.errstate(all="ignore"):
        sizes = sizes_metre.astype(np.float64) * _ANGSTROM_PER_METRE
        sensible = np.isfinite(sizes).all() and sizes.min() >= _SMALLEST_PIXEL and sizes.max() <= min(_LARGEST_PIXEL, 1.01 * sizes.min())
    return float(f"{sizes[0]:.7g}") if sensible else None


def _sensible_axis(angles: np.ndarray) -> float | None:
    with np.errstate(all="ignore"):
        sensible = np.isfinite(angles).all() and (np.abs(angles) <= 360).all() and angles.max() - angles.min() < 1 and angles[0] != 0
    return float(f"{angles[0]:.7g}") if sensible else None
