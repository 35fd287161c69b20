"""TIFF stacks as tilt series: one grey page per view, read when it is asked for.

The first row of a TIFF is the top of the picture; that of an MRC file the bottom. As IMOD does, rows are turned over, so that a view has
the same hand and the same ``y`` as the MRC file that IMOD makes of it, and alignments of that file fit.
"""

import contextlib
import logging
import lzma
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wedge.errors import InputError
from wedge.formats.file_array import full_key

SUFFIXES = (".tif", ".tiff")
_MOST_VIEWS = 10_000
_LARGEST_VIEW = 2**32  # bytes
_LARGEST_GAIN = 2000  # of a compression: what is said to be larger is not there
_SMALLEST_PIXEL, _LARGEST_PIXEL = 0.01, 1e5  # angstrom; what lies beyond is the dots per inch of some printer
_ANGSTROM_PER_UNIT = {2: 2.54e8, 3: 1e8}  # of ResolutionUnit: inch, centimetre
_ANGSTROM_PER_NAME = {"a": 1.0, "angstrom": 1.0, "å": 1.0, "nm": 10.0, "um": 1e4, "µm": 1e4, "μm": 1e4, "micron": 1e4, "\\u00b5m": 1e4}
# What tifffile raises where a file is not what it says; it has no error of its own for most.
_FAULTS = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RuntimeError, NotImplementedError),
    *(struct.error, zlib.error, lzma.LZMAError, MemoryError, AssertionError, ZeroDivisionError),
)


@dataclass(frozen=True)
class TiffArray:
    """The pages of a TIFF as ``(view, y, x)``, rows from the bottom up; they stay on disk.

    Parameters
    ----------
    path
        The file.
    shape
        Counts of views, rows and columns.
    dtype
        Type of one value.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read views; one integer or slice per axis, missing ones are whole."""
        views, *rest = full_key(key)
        wanted = np.arange(self.shape[0])[views]
        block = np.empty((wanted.size, *self.shape[1:]), self.dtype)
        with _opened(self.path) as file:
            for target, view in zip(block, np.atleast_1d(wanted), strict=True):
                target[:] = _page(file, self.path, int(view), self.shape[1:])[::-1]
        return (block[0] if wanted.ndim == 0 else block)[(..., *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype=dtype)


def read_tiff(path: str | Path) -> tuple[TiffArray, float | None]:
    """Open a TIFF stack, BigTIFF and ImageJ's among them.

    Returns
    -------
    tuple
        The views, and the edge of a pixel in angstrom or None where the file doesn't say it, or says that of a printer.

    Raises
    ------
    InputError
        If the file is missing, is no TIFF or a damaged one, has colours or complex values, pages of different shapes, or a compression that
        cannot be read here.
    """
    path = Path(path)
    with _opened(path) as file, _complaints() as complaints:
        _refuse_kind(file, path)
        pages = _num_views(file)
        if any(" page " in complaint for complaint in complaints):
            # Pages are described at the end of many files: without this, one that is cut short would just have fewer views.
            raise InputError(f"truncated TIFF: {path} ends within its list of pages, after {pages} views; copy it anew")
        if not 0 < pages <= _MOST_VIEWS:
            raise InputError(f"TIFF with {pages} pages: {path}; expected 1 to {_MOST_VIEWS} views")
        page = file.pages.first
        shape, dtype = (pages, int(page.imagelength), int(page.imagewidth)), page.dtype
        if dtype is None or dtype.kind not in "uif":
            raise InputError(f"values of {path} are {dtype}: expected real numbers; convert it first")
        if min(shape) < 1 or math.prod(shape[1:]) * dtype.itemsize > _LARGEST_VIEW:
            raise InputError(f"damaged TIFF, or none of views: {path} states {shape[2]} x {shape[1]} pixels; check the file")
        _refuse_truncated(file, path, shape, dtype)
        return TiffArray(path, shape, np.dtype(dtype)), _pixel_size(file)


def _num_views(file: tifffile.TiffFile) -> int:
    # ImageJ writes stacks beyond 4 GB as one page and a count.
    if _is_hyperstack(file):
        return int((file.imagej_metadata or {})["images"])
    return len(file.pages)


def _is_hyperstack(file: tifffile.TiffFile) -> bool:
    images = (file.imagej_metadata or {}).get("images") if file.is_imagej else None
    return isinstance(images, int) and images > 1 and len(file.pages) == 1


def _refuse_kind(file: tifffile.TiffFile, path: Path) -> None:
    page = file.pages.first
    if page.samplesperpixel != 1 or page.photometric not in (0, 1):
        raise InputError(f"colours in {path}: expected one grey value per pixel; convert it to grey first")
    if page.imagedepth != 1:
        raise InputError(f"pages of {path} are volumes: expected one view per page; convert it first")


def _refuse_truncated(file: tifffile.TiffFile, path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    """Refuse what claims to be larger than the file can hold, before memory is taken for it, and pages that differ."""
    size = path.stat().st_size
    needed = math.prod(shape[1:]) * dtype.itemsize
    if _is_hyperstack(file):
        offset = file.pages.first.dataoffsets[0]
        if file.pages.first.compression != 1 or offset + shape[0] * needed > size:
            raise InputError(f"truncated TIFF: {path} holds {size} bytes, less than its {shape[0]} views; copy it anew")
        return
    pages: Any = file.pages
    for view, page in enumerate(pages):
        if (page.imagelength, page.imagewidth, page.dtype) != (*shape[1:], dtype) or page.samplesperpixel != 1:
            raise InputError(f"page {view} of {path} is of another shape or type than the first; expected views of one shape")
        stored = sum(page.databytecounts)
        ends = max((start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
        if ends > size or stored * (_LARGEST_GAIN if page.compression != 1 else 1) < needed:
            raise InputError(f"truncated TIFF: {path} ends within view {view}; copy it anew")


def _page(file: tifffile.TiffFile, path: Path, view: int, shape: tuple[int, int]) -> np.ndarray:
    if _is_hyperstack(file):
        page = file.pages.first
        dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
        handle = file.filehandle
        handle.seek(page.dataoffsets[0] + view * math.prod(shape) * dtype.itemsize)
        values = np.frombuffer(handle.read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
    else:
        values = file.pages[view].asarray()
    if values.shape != shape:
        raise InputError(f"view {view} of {path} is of shape {values.shape}, the first of {shape}; check the file")
    return values


def _pixel_size(file: tifffile.TiffFile) -> float | None:
    page = file.pages.first
    tag = page.tags.get("XResolution")
    description = str(page.description or "")
    if match := re.search(r'PhysicalSizeX="([\d.eE+-]{1,30})"', description):
        unit = re.search(r'PhysicalSizeXUnit="([^"]{1,20})"', description)
        return _sensible(match[1], _ANGSTROM_PER_NAME.get((unit[1] if unit else "µm").lower()))
    if tag is None or not isinstance(tag.value, tuple) or len(tag.value) != 2 or not all(tag.value):
        return None
    per_pixel = tag.value[1] / tag.value[0]
    if file.is_imagej and (name := str((file.imagej_metadata or {}).get("unit", "")).lower()):
        return _sensible(per_pixel, _ANGSTROM_PER_NAME.get(name))
    unit_tag = page.tags.get("ResolutionUnit")
    return _sensible(per_pixel, _ANGSTROM_PER_UNIT.get(2 if unit_tag is None else int(unit_tag.value)))


def _sensible(size: str | float, angstrom_per_unit: float | None) -> float | None:
    try:
        result = float(size) * (angstrom_per_unit or math.nan)
    except ValueError:
        return None
    return float(f"{result:.7g}") if _SMALLEST_PIXEL <= result <= _LARGEST_PIXEL else None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF; whatever goes wrong inside the block because of what stands in it is an `InputError`."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"cannot read {path}: a pipe or a device, expected a file; write it to a file first")
    try:
        with _complaints(), tifffile.TiffFile(path) as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except _FAULTS as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        remedy = "save it without compression" if "imagecodecs" in str(error) else "check the file"
        raise InputError(f"not a TIFF that can be read: {path}: {first}; {remedy}") from error


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs as an error and goes on, rather than have it printed."""
    messages: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
