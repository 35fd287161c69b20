"""Whether an output will find room on its disk, asked before a long run instead of during it."""

import math
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from wedge.errors import InputError
from wedge.formats.mrc import SUFFIXES
from wedge.output import partial_path
from wedge.pyramid import level_shapes

IGNORE_VARIABLE = "WEDGE_IGNORE_DISK_SPACE"
LEAST_OF_COMPUTED, LEAST_OF_COPIED = 1 / 2, 1 / 8
"""Share of its size that a compressed store takes at the least: what was computed hardly compresses, counts of a detector do."""


def require_space(
    outputs: Iterable[Path],
    shape: tuple[int, int, int],
    *,
    is_volume: bool = True,
    copied: bool = False,
    bytes_per_value: int = 4,
    beside_bytes: int = 0,
    on_note: Callable[[str], None] | None = None,
) -> None:
    """Refuse outputs that cannot find room, and tell of those that may not.

    Parameters
    ----------
    outputs
        Files or stores, all of one shape; they may lie on several disks.
    shape
        ``(z or tilt, y, x)``.
    is_volume
        Volumes in stores have coarser copies.
    copied
        Values are copied, not computed: a store of them may be much smaller.
    bytes_per_value
        Of an MRC file.
    beside_bytes
        What the run may keep beside its first output meanwhile.
    on_note
        Told where room may become short.

    Raises
    ------
    InputError
        If less is free than the outputs take at the least. ``WEDGE_IGNORE_DISK_SPACE=1`` goes on all the same.
    """
    disks: dict[int, tuple[Path, float, float]] = {}
    for place, path in enumerate(outputs):
        folder = path.absolute().parent
        if not folder.is_dir():
            continue  # told where the output is begun
        full = _size(path, shape, is_volume, bytes_per_value)
        share = 1.0 if _is_file(path) else LEAST_OF_COPIED if copied else LEAST_OF_COMPUTED
        # What an earlier run left unfinished makes room when this one begins.
        left = _bytes_of(partial_path(path))
        first, least, most = disks.get(folder.stat().st_dev, (folder, 0.0, 0.0))
        disks[folder.stat().st_dev] = (first, least + full * share - left, most + full - left + (0 if place else beside_bytes))
    for folder, least, most in disks.values():
        _compare(folder, least, most, shutil.disk_usage(folder).free, on_note)


def _compare(folder: Path, least: float, most: float, free: int, on_note: Callable[[str], None] | None) -> None:
    told = f"{_amount(free)} are free in {folder}"
    if free < least and os.environ.get(IGNORE_VARIABLE, "") in ("", "0"):
        advice = f"make room, choose another place, or try it with {IGNORE_VARIABLE}=1"
        raise InputError(f"the disk is too small: the output needs {_amount(least)} or more, {told}; {advice}")
    if free < most and on_note is not None:
        on_note(f"room may become short: the output may need {_amount(most)}, {told}; a compressed store takes less")


def _amount(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"


def _is_file(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _size(path: Path, shape: tuple[int, int, int], is_volume: bool, bytes_per_value: int) -> int:
    if _is_file(path):
        return 1024 + bytes_per_value * math.prod(shape)
    return 4 * sum(math.prod(level) for level in (level_shapes(shape) if is_volume else [shape]))


def _bytes_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
