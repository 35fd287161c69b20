"""What is a file of sections, MRC or TIFF, and what it holds."""

from pathlib import Path

from wedge.errors import InputError, UsageError
from wedge.formats import mrc, tiff


def is_file(path: Path, *, for_output: bool = False) -> bool:
    """Say whether a path is that of an MRC file or a TIFF stack, by its suffix, and not of a store.

    Raises
    ------
    InputError
        If nothing is there.
    UsageError
        If the suffix is unknown.
    """
    suffix = path.suffix.lower()
    if suffix in mrc.SUFFIXES or (suffix in tiff.SUFFIXES and not for_output):
        return True
    if suffix == ".zarr" or (not for_output and path.is_dir()) or path.name.endswith(".zarr.partial"):
        return False
    if not for_output and not path.exists():
        raise InputError(f"no such file: {path}; check the path")
    known = mrc.SUFFIXES if for_output else (*mrc.SUFFIXES, *tiff.SUFFIXES)
    raise UsageError(f"suffix of {path} says no format that wedge knows: expected .zarr or one of {', '.join(known)}")


def read_file(path: str | Path) -> mrc.MrcData:
    """Open an MRC file or a TIFF stack; a TIFF counts as a tilt series.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    path = Path(path)
    if path.suffix.lower() not in tiff.SUFFIXES:
        return mrc.read_mrc(path)
    array, size = tiff.read_tiff(path)
    return mrc.MrcData(path, array, None if size is None else (size, size, size), "tilts")
