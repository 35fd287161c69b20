"""RELION 5 tilt series: a STAR file for each, which a global one names together with the pixel size.

Conventions
-----------
RELION projects by ``Rz(rlnTomoZRot) Ry(rlnTomoYTilt) Rx(rlnTomoXTilt)`` and then shifts by rlnTomoXShiftAngst and rlnTomoYShiftAngst. So a
point of the raw view goes to ``R(-ZRot) (point - shift / pixel size)``, and YTilt is wedge's tilt angle, sign and all; RELION's own import
takes YTilt from ``.tlt`` and ``.aln`` unchanged. As that import does, shifts are taken from the middle of the view; RELION's projector
counts from pixel ``n / 2``, half a pixel further. Tilts are listed as far as they are used, in the order of time.
Which views of a stack they are, ``N@stack`` in rlnMicrographName says, or the names of their movies, rlnTomoTiltMovieIndex (place in time,
from 1), or rlnTomoNominalStageTiltAngle. rlnTomoXTilt is reported as not applied. rlnTomoHand is about defocus.
"""

from pathlib import Path

import numpy as np

from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.star import Block, read_star
from wedge.formats.text import number, pixel_size, tilt_angle, whole_number
from wedge.listed_views import Listed

_ANGLES = ("rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")
_PIXEL = "rlnTomoTiltSeriesPixelSize"
_SERIES_FILE = "rlnTomoTiltSeriesStarFile"


def read_relion(
    path: str | Path,
    *,
    name: str | None = None,
    pixel_size_angstrom: float | None = None,
    fallback_pixel_size_angstrom: float | None = None,
) -> Alignment:
    """Return the alignment of one tilt series.

    Parameters
    ----------
    path
        The STAR file of one tilt series, or a global one.
    name
        Which tilt series (rlnTomoName) of a global file; needed where there are several.
    pixel_size_angstrom
        Of the raw views; decides over what a global file says.
    fallback_pixel_size_angstrom
        Where neither says it: the STAR file of one tilt series does not.

    Raises
    ------
    InputError
        If a file is missing or damaged, does not have the tilt series or its alignment, or nobody says the pixel size.
    """
    path = Path(path)
    blocks = read_star(path)
    row = _global_row(blocks, name, path)
    if row is None:
        series = blocks.get(name or "") or next(iter(blocks.values()))
        return _series(series, path, pixel_size_angstrom, fallback_pixel_size_angstrom)
    if _PIXEL in row:
        pixel_size_angstrom = pixel_size_angstrom or pixel_size(row[_PIXEL], _PIXEL, path)
    file = row.get(_SERIES_FILE)
    if file is None:
        if row["rlnTomoName"] not in blocks:
            raise InputError(f"{path} has neither {_SERIES_FILE} nor a block data_{row['rlnTomoName'][:60]}; check the file")
        return _series(blocks[row["rlnTomoName"]], path, pixel_size_angstrom, fallback_pixel_size_angstrom)
    place = _series_place(path, file)
    inner = read_star(place)
    series = inner.get(row["rlnTomoName"]) or next(iter(inner.values()))
    return _series(series, place, pixel_size_angstrom, fallback_pixel_size_angstrom)


def global_names(path: str | Path) -> tuple[str, ...]:
    """Return the names of the tilt series of a global STAR file; none for other STAR files.

    Raises
    ------
    InputError
        If it is no STAR file.
    """
    return tuple(_global(read_star(path)).column("rlnTomoName") or ())


def _global(blocks: dict[str, Block]) -> Block:
    return next((block for block in (blocks.get("global"), *blocks.values()) if block and "rlnTomoName" in block.labels), Block())


def _global_row(blocks: dict[str, Block], name: str | None, path: Path) -> dict[str, str] | None:
    table = _global(blocks)
    names = table.column("rlnTomoName")
    if names is None or any(label in table.labels for label in _ANGLES):
        return None
    if name is None and len(names) != 1:
        raise InputError(f"{path} has {len(names)} tilt series: name one of them, or give the STAR file of this one")
    if name is not None and name not in names:
        raise InputError(f"{path} has no tilt series {name[:60]!r}; it has {', '.join(names[:5])[:200] or 'none'}")
    return dict(zip(table.labels, table.rows[0 if name is None else names.index(name)], strict=True))


def _series_place(path: Path, file: str) -> Path:
    """Return where the STAR file of a tilt series is: RELION writes its path relative to the project, which lies some folders up."""
    given = Path(file.replace("\0", ""))
    tried = [given] if given.is_absolute() else [folder / given for folder in path.absolute().parents]
    tried += [path.parent / given.name, path.parent / "tilt_series" / given.name]
    for place in tried:
        try:
            if place.is_file():
                return place
        except OSError:
            continue
    raise InputError(f"{path} names {file[:100]}, which is not there; give the STAR file of the tilt series itself")


def _series(table: Block, path: Path, pixel_size_angstrom: float | None, fallback_angstrom: float | None) -> Alignment:
    if not table.rows:
        raise InputError(f"no tilts in {path}; check the file")
    if absent := [label for label in _ANGLES if label not in table.labels]:
        has_matrices = "rlnTomoProjX" in table.labels
        why = "; projection matrices (RELION 4) are not read, convert it to RELION 5" if has_matrices else "; align the tilt series first"
        raise InputError(f"{path} has no {absent[0]}{why}")
    tilts, rotations = (_numbers(table, label, path) for label in _ANGLES[:2])
    shifts_angstrom = np.stack([_numbers(table, label, path, 1e7) for label in _ANGLES[2:]], axis=1)
    size = pixel_size_angstrom or fallback_angstrom
    if not size and shifts_angstrom.any():
        raise InputError(f"pixel size unknown for the shifts in {path}, in angstrom; give the global STAR file or --voxel-size")
    turns = np.deg2rad(rotations)
    matrices = np.stack([np.stack([np.cos(turns), np.sin(turns)], 1), np.stack([-np.sin(turns), np.cos(turns)], 1)], 1)
    shifts = -np.einsum("nij,nj->ni", matrices, shifts_angstrom / (size or 1.0))
    x_tilts = _numbers(table, "rlnTomoXTilt", path) if "rlnTomoXTilt" in table.labels else np.zeros(len(tilts))
    notes = (f"rlnTomoXTilt in {path} is not applied: wedge turns about y alone",) if np.any(np.abs(x_tilts) > 0.01) else ()
    dose, order = None, None
    if "rlnMicrographPreExposure" in table.labels:
        dose = _numbers(table, "rlnMicrographPreExposure", path, 1e6)
        order = tuple(int(rank) for rank in np.argsort(np.argsort(dose, kind="stable"), kind="stable")) if len(set(dose)) > 1 else None
    return Alignment(
        matrices,
        shifts,
        tilt_angles_deg=tuple(float(tilt) for tilt in tilts),
        pixel_size_angstrom=pixel_size_angstrom or None,
        x_tilts_deg=tuple(float(tilt) for tilt in x_tilts) if notes else None,
        acquisition_order=order,
        dose_e_per_square_angstrom=None if dose is None or not dose.any() else tuple(float(value) for value in dose),
        listed=_listed(table, path),
        notes=notes,
        source=str(path),
    )


def _listed(table: Block, path: Path) -> Listed:
    """Return what the table says about which views of a stack its tilts are."""
    sections = [name.partition("@") for name in table.column("rlnMicrographName") or ()]
    files = {file for _, _, file in sections}
    of_one_stack = len(files) == 1 and "" not in files and all(section.isascii() and section.isdigit() for section, _, _ in sections)
    times = table.column("rlnTomoTiltMovieIndex") or ()
    nominal = _numbers(table, "rlnTomoNominalStageTiltAngle", path) if "rlnTomoNominalStageTiltAngle" in table.labels else ()
    return Listed(
        sections=tuple(whole_number(section, "section of rlnMicrographName", path, 0, 10**6) for section, _, _ in sections if of_one_stack),
        stack_name=files.pop() if of_one_stack else "",
        movies=tuple(table.column("rlnMicrographMovieName") or table.column("rlnMicrographName") or ()),
        times=tuple(whole_number(time, f"rlnTomoTiltMovieIndex of tilt {place}", path, 0, 10**6) for place, time in enumerate(times)),
        nominal_angles_deg=tuple(float(angle) for angle in nominal),
    )


def _numbers(table: Block, label: str, path: Path, largest: float | None = None) -> np.ndarray:
    values = table.column(label) or []
    read = tilt_angle if largest is None else lambda value, place, path: number(value, place, path, largest)
    return np.asarray([read(value, f"{label} of tilt {index}", path) for index, value in enumerate(values)], dtype=np.float64)
