"""Slabs of y-rows: how tall they are, and reading them in the order that the algorithms work in.

On disk the rows are the middle axis, ``(tilt, y, x)`` and ``(z, y, x)``; in the algorithms they come first, because every row is a
problem of its own.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wedge.data import ArrayLike3D, TiltSeries, Volume
from wedge.errors import InputError, UsageError
from wedge.masked import fill_along_rows

CHUNK_BYTES = 8 * 2**20
MAX_CHUNK_ROWS = 16

_MOST_WRITING_THREADS = 4
"""Each holds a chunk about three times: as it is, and while it is compressed."""

_MEMORY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE)


def chunk_rows(shape: tuple[int, int, int]) -> int:
    """Return the rows of one Zarr chunk of a ``(z or tilt, y, x)`` float32 array: a power of two, 4-8 MiB where a row allows it.

    Powers of two nest, so that slabs of a tilt series and of its volume meet whole chunks of both.
    """
    row_bytes = shape[0] * shape[2] * 4
    rows = max(1, min(MAX_CHUNK_ROWS, CHUNK_BYTES // row_bytes))
    return 1 << (rows.bit_length() - 1)


def slab_ranges(num_rows: int, slab_rows: int) -> list[range]:
    """Return the ranges of rows that cover ``num_rows`` in order, ``slab_rows`` each but for the last."""
    if num_rows < 0 or slab_rows < 1:
        raise ValueError(f"cannot cut {num_rows} rows into slabs of {slab_rows}")
    return [range(start, min(start + slab_rows, num_rows)) for start in range(0, num_rows, slab_rows)]


def read_sinograms(tilts: TiltSeries, y_start: int, y_stop: int) -> np.ndarray:
    """Return rows ``y_start`` to ``y_stop`` of a tilt series as ``(y, tilt, x)`` float32, contiguous and writable.

    What was measured on rays of weight 0 is replaced, see `wedge.masked.fill_along_rows`: whoever reads it can't be misled by it.

    Raises
    ------
    InputError
        If the rows cannot be read: the file is damaged.
    """
    rows = _read_rows(tilts.array, tilts.name, y_start, y_stop)
    weights = read_weights(tilts, y_start, y_stop)
    if weights is None:
        return rows
    return fill_along_rows(rows, weights == 0)


def read_weights(tilts: TiltSeries, y_start: int, y_stop: int) -> np.ndarray | None:
    """Return the weights of rows ``y_start`` to ``y_stop`` as ``(y, tilt, x)`` float32, contiguous and writable; None where all are 1.

    Raises
    ------
    InputError
        If they cannot be read, or are not within 0 and 1.
    """
    if tilts.weights is None:
        return None
    weights = _read_rows(tilts.weights, tilts.name, y_start, y_stop)
    if not bool(((weights >= 0) & (weights <= 1)).all()):
        raise InputError(f"weights of {tilts.name} are not all within 0 and 1, or not finite: make it anew")
    return weights


def read_measured(tilts: TiltSeries, y_start: int, y_stop: int) -> np.ndarray:
    """Return rows as they were measured, those of weight 0 too, otherwise as `read_sinograms` does."""
    return _read_rows(tilts.array, tilts.name, y_start, y_stop)


def read_slices(volume: Volume, y_start: int, y_stop: int) -> np.ndarray:
    """Return rows ``y_start`` to ``y_stop`` of a volume as ``(y, z, x)`` float32, contiguous and writable.

    Raises
    ------
    InputError
        If the rows cannot be read: the file is damaged.
    """
    return _read_rows(volume.array, volume.name, y_start, y_stop)


def _read_rows(array: ArrayLike3D, name: str, y_start: int, y_stop: int) -> np.ndarray:
    num_rows = array.shape[1]
    if not 0 <= y_start <= y_stop <= num_rows:
        raise ValueError(f"rows {y_start}..{y_stop} of {name}: it has {num_rows}")
    return np.array(read_block(array, name, y_start, y_stop).transpose(1, 0, 2), dtype=np.float32, order="C")


def read_block(array: ArrayLike3D, name: str, y_start: int, y_stop: int) -> np.ndarray:
    """Return rows ``y_start`` to ``y_stop`` as they lie on disk, ``(z or tilt, y, x)``.

    Raises
    ------
    InputError
        If the rows cannot be read: the file is damaged.
    """
    try:
        return np.asarray(array[:, y_start:y_stop, :])
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot read rows {y_start}..{y_stop} of {name}: {_first_line(error)}; the file is damaged, make it anew"
        ) from error


def write_rows(array: Any, y_start: int, block: np.ndarray, meanwhile: Callable[[], None] | None = None) -> None:
    """Write rows into a Zarr or NumPy array ``(z or tilt, y, x)``, a few chunks at a time.

    The first error is raised, when no chunk is being written any more, and none is begun after it.

    Parameters
    ----------
    array
        Where to.
    y_start
        The first row.
    block
        ``(y, z or tilt, x)`` rows.
    meanwhile
        Called in this thread while others write.

    Raises
    ------
    OSError
        If a chunk cannot be written.
    """
    y_stop = y_start + block.shape[0]
    chunk = array.chunks[1] if hasattr(array, "chunks") else max(1, block.shape[0])

    def write(first: int) -> None:
        start, stop = max(first, y_start), min(first + chunk, y_stop)
        array[:, start:stop, :] = np.ascontiguousarray(block[start - y_start : stop - y_start].transpose(1, 0, 2))

    chunks = range(y_start - y_start % chunk, y_stop, chunk) if len(block) else ()
    _call_in_threads([partial(write, first) for first in chunks], meanwhile)


def _call_in_threads(calls: Sequence[Callable[[], None]], here: Callable[[], None] | None) -> None:
    """Call all in a few threads, and ``here`` in this one; see `write_rows` for errors."""
    in_turn = [*calls, *([] if here is None else [here])]
    if len(in_turn) < 2 or _usable_cores() == 1:
        for call in in_turn:
            call()
        return
    errors: list[BaseException] = []

    def unless_failed(call: Callable[[], None]) -> None:
        try:
            if not errors:
                call()
        except BaseException as error:
            errors.append(error)

    with ThreadPoolExecutor(min(len(calls), _MOST_WRITING_THREADS, _usable_cores()), "wedge-chunk") as pool:
        try:
            finished = pool.map(unless_failed, calls)
            if here is not None:
                unless_failed(here)
            list(finished)
        except BaseException as error:  # this thread was interrupted
            errors.append(error)
    if errors:
        # Not held here any more, for its traceback holds this function, and so the rows.
        raise errors.pop(0)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rows_first(views: np.ndarray) -> np.ndarray:
    """Return rows of views as they lie on disk, ``(tilt, y, x)``, as rows first, ``(y, tilt, x)``."""
    return np.ascontiguousarray(views.transpose(1, 0, 2))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def parse_memory(text: str) -> int:
    """Return the bytes that ``"8GB"``, ``"512MiB"``, ``"1.5g"`` or ``"1000000"`` name; GB is 1000**3, GiB is 1024**3.

    Raises
    ------
    UsageError
        If the text is no positive amount of memory.
    """
    match = _MEMORY.fullmatch(text)
    amount = 0
    if match:
        number, prefix, binary, _ = match.groups()
        amount = int(float(number) * (1024 if binary else 1000) ** ("kmgt".index(prefix.lower()) + 1 if prefix else 0))
    if amount < 1:
        raise UsageError(f"{text!r} is not an amount of memory: write it like 8GB or 512MiB")
    return amount


def available_memory_bytes() -> int:
    """Return the bytes of main memory that a process may still take, within the limits of its container."""
    candidates = [_meminfo_available(), *_cgroup_available()]
    known = [value for value in candidates if value is not None]
    if known:
        return max(0, min(known))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _meminfo_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available() -> list[int | None]:
    """Room left under the memory limits of control groups, version 2 and 1; the page cache counts as used and so errs to the safe side."""
    pairs = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ]
    room: list[int | None] = []
    for limit_file, usage_file in pairs:
        try:
            limit, usage = Path(limit_file).read_text().strip(), Path(usage_file).read_text().strip()
        except OSError:
            continue
        room.append(int(limit) - int(usage) if limit.isdigit() else None)
    return room
