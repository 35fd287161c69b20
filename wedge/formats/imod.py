"""An alignment by IMOD: ``NAME.xf`` and what lies around it, ``NAME.tlt``, ``newst.com`` and ``tilt.com``.

Conventions
-----------
- ``.xf``: see `wedge.formats.xf`. ``newst.com`` adds binning, the aligned view's size, and offsets, which newstack takes off after the
  transform, or before it with ApplyOffsetsFirst.
- ``tilt`` takes the negative sine of the angle for rows that count downwards after ``trimvol -rx``: in the volume that users get,
  ``s = x cos(theta) + z sin(theta)``. So wedge's tilt angle is IMOD's, sign and all, and wedge's volume is the one after ``trimvol -rx``.
- The tilt axis lies at ``FULLIMAGE / 2 - SUBSETSTART`` of the aligned view plus the second number of OFFSET, all in unbinned pixels.
  ``SHIFT x z`` moves the content: the volume's centre lies at ``-x`` and, rows counting downwards, ``+z`` from there.
- The angle in OFFSET is added to every tilt angle. XAXISTILT and XTILTFILE are read, and reported as not applied.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.angles import read_angles
from wedge.formats.com import numbers_of, read_com, views_of
from wedge.formats.text import lines_of, number, read_text, whole_number
from wedge.formats.xf import read_xf

Options = Mapping[str, list[str]]
_NOTHING: Options = {}


def read_imod(xf: str | Path, *, newst: str | Path | None = None, tilt: str | Path | None = None) -> Alignment:
    """Return the alignment of an ``.xf`` file with its angles and what the command files say.

    Parameters
    ----------
    xf
        The transforms.
    newst, tilt
        The command files ``newst.com`` and ``tilt.com``, where there are any.

    Raises
    ------
    InputError
        If a file is missing or damaged, or they disagree about the number of views or the binning.
    """
    xf = Path(xf)
    matrices, shifts = read_xf(xf)
    fields: dict[str, Any] = {}
    notes: list[str] = []
    if newst is not None:
        fields |= _newst_fields(Path(newst), matrices, shifts)
        shifts = fields.pop("shifts_pixels")
    options = _NOTHING if tilt is None else read_com(tilt, "tilt")
    angles = _angles_file(xf, None if tilt is None else Path(tilt), options)
    if angles is not None:
        fields["tilt_angles_deg"] = _as_many(read_angles(angles), angles, xf, len(matrices))
    if tilt is not None:
        fields |= _tilt_fields(Path(tilt), options, fields)
        fields |= _x_tilts(Path(tilt), options, len(matrices), xf, notes)
    return Alignment(matrices, shifts, notes=tuple(notes), source=str(xf), **fields)


def transform_file(newst: str | Path) -> Path | None:
    """Return the ``.xf`` that a ``newst.com`` names, in its folder, or None where it names none or it is not there.

    Raises
    ------
    InputError
        If the command file is damaged.
    """
    return _named(Path(newst), read_com(newst, "newstack"), "TransformFile")


def names_in(com: str | Path, program: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the file names, without folders, that a command file gives for some options.

    Raises
    ------
    InputError
        If the command file is damaged.
    """
    found = read_com(com, program)
    return tuple(_base_name(value) for name in options for value in found.get(name.lower(), []) if value)


def _newst_fields(path: Path, matrices: np.ndarray, shifts: np.ndarray) -> dict[str, Any]:
    options = read_com(path, "newstack")
    if "sectionstoread" in options:
        raise InputError(
            f"{path} takes some sections of the stack (SectionsToRead), which is not read; align all, or leave views out after"
        )
    binning = numbers_of(options, "BinByFactor", path, (1,))
    offsets = numbers_of(options, "OffsetsInXandY", path, (2,))
    size = numbers_of(options, "SizeToOutputInXandY", path, (2,))
    moved = np.zeros(2) if offsets is None else np.asarray(offsets)
    offsets_first = options.get("applyoffsetsfirst", ["0"])[-1] in ("", "1")
    shifts = shifts - matrices @ moved if offsets_first else shifts - moved
    fields: dict[str, Any] = {"shifts_pixels": shifts}
    if binning is not None:
        fields["binning"] = whole_number(str(binning[0]), "BinByFactor", path, 1, 1000)
    if size is not None:
        x, y = (whole_number(str(value), "SizeToOutputInXandY", path, 1, 1_000_000) for value in size)
        fields["output_shape"] = (y, x)
    return fields


def _tilt_fields(path: Path, options: Options, newst: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (binned := numbers_of(options, "IMAGEBINNED", path, (1,))) is not None:
        binning = whole_number(str(binned[0]), "IMAGEBINNED", path, 1, 1000)
        if newst.get("binning", binning) != binning:
            raise InputError(f"{path} says IMAGEBINNED {binning}, but newst.com bins by {newst['binning']}; run both anew with one binning")
        fields["binning"] = binning
    excluded = {view for name in ("EXCLUDELIST", "EXCLUDELIST2", "EXCLUDE") for view in views_of(options, name, path)}
    fields["excluded_views"] = tuple(sorted(view - 1 for view in excluded))
    if (thickness := numbers_of(options, "THICKNESS", path, (1,))) is not None:
        fields["thickness_pixels"] = float(whole_number(str(thickness[0]), "THICKNESS", path, 1, 1_000_000))
    offset = [*(numbers_of(options, "OFFSET", path, (1, 2)) or [0.0]), 0.0]
    axis = offset[1] + _subset_offset(path, options, newst.get("output_shape"), int(newst.get("binning", fields.get("binning", 1))))
    shift = [*(numbers_of(options, "SHIFT", path, (1, 2)) or [0.0]), 0.0]
    fields |= {"tilt_angle_offset_deg": offset[0], "axis_offset_pixels": axis}
    fields["volume_shift_pixels"] = (shift[1], -axis - shift[0])
    return fields


def _subset_offset(path: Path, options: Options, output_shape: tuple[int, int] | None, binning: int) -> float:
    """Return where the middle of the full image lies on the aligned view, relative to its centre, in unbinned pixels."""
    full, start = numbers_of(options, "FULLIMAGE", path, (2,)), numbers_of(options, "SUBSETSTART", path, (2,))
    if full is None or full[0] < 1:
        return 0.0
    begins = 0.0 if start is None else start[0]
    # Without newst.com nothing says how wide the aligned view is; etomo centres it.
    return 0.0 if output_shape is None else full[0] / 2 - begins - output_shape[1] * binning / 2


def _x_tilts(path: Path, options: Options, count: int, xf: Path, notes: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (tilt := numbers_of(options, "XAXISTILT", path, (1,))) is not None and tilt[0]:
        fields["x_axis_tilt_deg"] = tilt[0]
        notes.append(f"XAXISTILT {tilt[0]:g} degrees in {path} is not applied: wedge turns about y alone")
    file = _named(path, options, "XTILTFILE")
    if file is not None:
        lines = [line for line in lines_of(read_text(file, "a list of x tilts"), 100_000, file) if line.strip()]
        values = tuple(number(line, "an x tilt", file, 180.0) for line in lines)
        if any(values):
            fields["x_tilts_deg"] = _as_many(values, file, xf, count)
            notes.append(f"x tilts of {file} are not applied: wedge turns about y alone")
    if "localfile" in options:
        notes.append(f"local alignments of LOCALFILE in {path} are not applied")
    return fields


def _angles_file(xf: Path, tilt: Path | None, options: Options) -> Path | None:
    named = None if tilt is None else _named(tilt, options, "TILTFILE")
    beside = xf.with_suffix(".tlt")
    return named or (beside if beside.is_file() else None)


def _named(com: Path, options: Options, option: str) -> Path | None:
    """Return the file that an option names, in the folder of the command file, if it is there."""
    name = _base_name(options.get(option.lower(), [""])[-1])
    path = com.parent / name if name else com
    try:
        return path if name and path.is_file() else None
    except (OSError, ValueError):
        return None


def _base_name(value: str) -> str:
    return value.replace("\\", "/").rpartition("/")[2].strip()


def _as_many(values: tuple[float, ...], path: Path, xf: Path, count: int) -> tuple[float, ...]:
    if len(values) != count:
        raise InputError(f"{len(values)} values in {path}, but {count} transforms in {xf}; give the files of one stack")
    return values
