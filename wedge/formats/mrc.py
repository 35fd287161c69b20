"""MRC files as arrays that stay on disk, with what their headers say and what they leave open."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import dtype_from_mode

from wedge.data import ArrayLike3D
from wedge.errors import InputError
from wedge.formats.extended_header import ExtendedHeader, read_extended_header
from wedge.formats.file_array import FileArray
from wedge.formats.mrc_values import DensityArray, values_of
from wedge.geometry import TiltGeometry
from wedge.store_attributes import is_number, read_json

SUFFIXES = (".mrc", ".st", ".ali", ".rec", ".mrcs")
_SUFFIX_KINDS: dict[str, Literal["tilts", "volume"]] = {".st": "tilts", ".ali": "tilts", ".mrcs": "tilts", ".rec": "volume"}
_HEADER_BYTES = 1024
_MODES = (0, 1, 2, 3, 4, 6, 12, 101)
_BIG_ENDIAN_STAMP = 0x11
_COMPRESSED = (b"\x1f\x8b", b"BZh")
IMOD_STAMP, SIGNED_BYTES = 1146047817, 1
_VOLUME_STACKS = range(401, 631)
IMOD_AXES = "imod"
"""What a record calls the order of a volume as IMOD's ``tilt`` writes it: sections along y, rows along falling z, columns along x, with the
axes of the header left at their usual numbers. IMOD's ``trimvol -rx`` and ``clip rotx``, a rotation by -90 degrees around x, make of row k
of section j the row j of section n-1-k (``clip_proc.c``): that is the order (z, y, x), and no mirror image. ``tilt`` itself takes the sine
of the tilt angle negative along its rows, so that z rises as in wedge for the same angles."""
_TURNED = (1, 0, 2)


@dataclass(frozen=True)
class MrcData:
    """What an MRC file holds.

    Parameters
    ----------
    path
        The file.
    array
        ``(section, y, x)``: views of a stack, z of a volume. It stays on disk.
    spacing_angstrom
        ``(z, y, x)`` spacing, or None where the header doesn't say.
    stated_kind
        ``"tilts"`` or ``"volume"`` where there is positive evidence: a record beside the file, or a suffix with one meaning. The header of
        MRC does not say it reliably.
    record
        The attributes that wedge left beside the file, or nothing.
    extended
        What the extended header says, or None.
    """

    path: Path
    array: ArrayLike3D
    spacing_angstrom: tuple[float, float, float] | None
    stated_kind: Literal["tilts", "volume"] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    extended: ExtendedHeader | None = None

    @property
    def pixel_size_angstrom(self) -> float | None:
        """Edge of a pixel as the extended header says, which decides over the header."""
        return None if self.extended is None else self.extended.pixel_size_angstrom

    @property
    def tilt_angles_deg(self) -> tuple[float, ...] | None:
        """Angles as the extended header says."""
        return None if self.extended is None else self.extended.tilt_angles_deg


def record_path(path: Path) -> Path:
    """Return where the record of an MRC file is kept: beside it, as JSON."""
    return path.with_name(path.name + ".json")


def suffix_kind(path: Path) -> Literal["tilts", "volume"] | None:
    """Return the kind that a suffix means by itself."""
    return _SUFFIX_KINDS.get(path.suffix.lower())


def read_mrc(path: str | Path, *, imod_axes: bool = False) -> MrcData:
    """Open an MRC file of any real mode; its header is read, its data stays on disk.

    Parameters
    ----------
    path
        The file.
    imod_axes
        The file has the axes that IMOD's ``tilt`` writes, see `IMOD_AXES`. The record of a file that wedge wrote says so itself.

    Raises
    ------
    InputError
        If the file is missing, is no MRC file, is truncated, or holds complex numbers or several volumes.
    """
    path = Path(path)
    header = _read_header(path)
    shape = int(header["nz"]), int(header["ny"]), int(header["nx"])
    dtype = _dtype(header, path)
    offset = _HEADER_BYTES + int(header["nsymbt"])
    if offset < _HEADER_BYTES:
        raise InputError(f"damaged MRC file: {path} states an extended header of {offset - _HEADER_BYTES} bytes; check the file")
    if int(header["ispg"]) in _VOLUME_STACKS:
        raise InputError(f"is a stack of volumes, expected one volume or one tilt series: {path}; take it apart first")
    needed, present = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if present < needed:
        raise InputError(f"truncated MRC file: {path} holds {present} of {needed} bytes; copy it anew")
    record = _read_record(path, shape)
    imod_axes = imod_axes or record.get("axes") == IMOD_AXES
    array = FileArray(path, dtype, shape, offset, _TURNED, True) if imod_axes else FileArray(path, dtype, shape, offset, _axes(header))
    spacing = _spacing(header)
    if imod_axes and spacing is not None:
        spacing = spacing[1], spacing[0], spacing[2]
    values = values_of(record, dtype)
    densities = array if values is None else DensityArray(array, values)
    kind = record.get("kind") or suffix_kind(path)
    return MrcData(path, densities, spacing, kind, record, read_extended_header(path, header))


def refuse_not_finite(array: ArrayLike3D, path: Path, section: str, indices: Iterable[int] | None = None) -> None:
    """Look at every section of an array, or at some.

    Parameters
    ----------
    array
        ``(section, y, x)``.
    path
        For the message.
    section
        What a section is called: ``"view"`` or ``"section"``.
    indices
        The sections to look at; by default all.

    Raises
    ------
    InputError
        If a value is NaN or infinite; it names the first section that has one.
    """
    if np.dtype(array.dtype).kind != "f":
        return
    for index in range(array.shape[0]) if indices is None else indices:
        # The sum of finite float32 values cannot overflow in float64, so it tells whether all of them are.
        values = array[index]
        if not math.isfinite(np.sum(values, dtype=np.float64)):
            count = int(np.count_nonzero(~np.isfinite(values)))
            remedy = "leave it out with --exclude-views or repair it" if section == "view" else "repair the file"
            raise InputError(f"{section} {index} of {path} has {count} values that are NaN or infinite; {remedy}")


def one_size(spacing_angstrom: tuple[float, ...], path: Path, complaint: str) -> float:
    """Return the spacing that the axes share within a percent.

    Raises
    ------
    InputError
        If they do not; the message begins with ``complaint``.
    """
    if max(spacing_angstrom) > 1.01 * min(spacing_angstrom):
        listed = " x ".join(f"{size:.4g}" for size in spacing_angstrom)
        raise InputError(f"{complaint}: {path} states {listed} angstrom; give --voxel-size if that is wrong, else resample it first")
    # Headers hold float32 products of size and count; the digits beyond it are noise.
    return float(f"{spacing_angstrom[-1]:.7g}")


def _read_header(path: Path) -> Any:
    """Read a header as ``()`` of mrcfile's type, in the byte order in which its mode makes sense.

    The identifier is not asked and the machine stamp is a hint: many programs leave them out. mrcfile would read the extended header,
    however large it claims to be, as well.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Opening a pipe would wait for whoever writes to it.
        raise InputError(f"cannot read {path}: a pipe or a device, expected a file; write it to a file first")
    try:
        with path.open("rb") as file:
            content = file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    if len(content) < _HEADER_BYTES:
        raise InputError(f"truncated MRC file, or none: {path} holds {len(content)} bytes, less than a header; copy it anew")
    if content.startswith(_COMPRESSED):
        raise InputError(f"compressed file: {path}; decompress it first")
    for order in "><" if content[212] == _BIG_ENDIAN_STAMP else "<>":
        header = np.frombuffer(content, HEADER_DTYPE.newbyteorder(order))[0]
        if int(header["mode"]) in _MODES and min(int(header[name]) for name in ("nx", "ny", "nz")) > 0:
            return header
    raise InputError(f"not an MRC file, or a damaged one: {path} states no sensible shape and mode; check the file")


def _dtype(header: Any, path: Path) -> np.dtype[Any]:
    mode = int(header["mode"])
    try:
        dtype = dtype_from_mode(mode)
    except ValueError as error:
        raise InputError(f"not an MRC file, or of a mode that is not read: {path} states mode {mode}; convert it to mode 2") from error
    if dtype.kind == "c":
        raise InputError(f"complex values (mode {mode}) in {path}: expected real ones; convert it to mode 2")
    extra = header["extra2"].tobytes()
    order: Any = header.dtype["nx"].byteorder
    stamp, flags = np.frombuffer(extra, np.dtype("i4").newbyteorder(order), count=2, offset=40)
    if mode == 0 and stamp == IMOD_STAMP and not flags & SIGNED_BYTES:
        return np.dtype(np.uint8)  # IMOD's bytes are unsigned unless it says otherwise
    return np.dtype(dtype).newbyteorder(order)


def _axes(header: Any) -> tuple[int, int, int]:
    """Return which stored axis is z, y and x; a header without sense in it leaves them as they are."""
    axes = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(axes) != [1, 2, 3]:
        return 0, 1, 2
    return axes.index(3), axes.index(2), axes.index(1)


def _spacing(header: Any) -> tuple[float, float, float] | None:
    cell, counts = header["cella"], [int(header[name]) for name in ("mz", "my", "mx")]
    if min(counts) < 1:
        return None
    z, y, x = (float(cell[axis]) / count for axis, count in zip("zyx", counts, strict=True))
    return (z, y, x) if all(math.isfinite(s) and s > 0 for s in (y, x)) else None


def _read_record(path: Path, stored_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Read the record beside a file; one that is damaged or belongs to another array says nothing."""
    try:
        record = read_json(record_path(path))["wedge"]
        z, y, x = record["shape"]
        stated = (y, z, x) if record.get("axes") == IMOD_AXES else (z, y, x)
        return record if stated == stored_shape and _is_sound(record) else {}
    except (InputError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_sound(record: dict[str, Any]) -> bool:
    """Say whether all that is used of a record is of the right kind."""
    angles, provenance = record.get("tilt_angles_deg"), record.get("provenance", {})
    if record["kind"] == "tilts":
        TiltGeometry.from_json(record["geometry"])
    elif record["kind"] != "volume":
        return False
    plausible = angles is None or (isinstance(angles, list) and bool(angles) and all(is_number(a) and abs(a) <= 180 for a in angles))
    return plausible and isinstance(provenance, dict)
