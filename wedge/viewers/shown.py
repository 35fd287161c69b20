"""What is shown: a volume with its contrast, and how other programs read it without wedge."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wedge.cache import cache_dir
from wedge.convert import copy_volume
from wedge.data import ArrayLike3D, Volume
from wedge.formats import mrc
from wedge.formats.file_array import FileArray
from wedge.formats.mrc_writer import create_mrc_volume
from wedge.formats.space import require_space
from wedge.preview import preview_of
from wedge.threshold import otsu_threshold

_PREVIEW_SIDE = 128
_FOLDER = "view"


@dataclass(frozen=True)
class Shown:
    """A volume to be shown.

    Parameters
    ----------
    path
        The file or store that it was opened from.
    volume
        Its densities.
    contrast
        Densities to be shown as black and white.
    surface
        Density of a surface that separates the specimen from its surroundings.
    """

    path: Path
    volume: Volume
    contrast: tuple[float, float]
    surface: float

    @property
    def title(self) -> str:
        """What viewers call it."""
        return self.path.name


def shown(path: Path, volume: Volume, contrast: tuple[float, float] | None = None) -> Shown:
    """Look at a volume, or a coarser copy of it, for what to show of it.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    preview = preview_of(volume, _PREVIEW_SIDE)
    surface = preview.low + (preview.high - preview.low) / 255 * otsu_threshold(preview.codes)
    low, high = contrast or preview.window
    return Shown(path.absolute(), volume, (low, high if high > low else low + 1.0), surface)


def stored_levels(each: Shown) -> list[dict[str, Any]] | None:
    """Return where a script finds the volume and its coarser copies, finest first; None where it cannot read them as they lie.

    Each is ``{"format": "zarr", "path"}`` of an array ``(z, y, x)``, or ``{"format": "raw", "path", "dtype", "offset", "stored_shape",
    "axes", "z_falls"}`` of a file, as `wedge.formats.file_array.FileArray` says.
    """
    array = each.volume.array
    if isinstance(array, FileArray):
        if array.dtype.kind not in "iuf":
            return None
        place = {"path": str(array.path.absolute()), "dtype": array.dtype.str, "offset": array.offset, "stored_shape": array.stored_shape}
        return [{"format": "raw", **place, "axes": array.axes, "z_falls": array.z_falls}]
    folders = [_zarr_folder(level) for level in (array, *each.volume.coarser)]
    return [{"format": "zarr", "path": str(folder)} for folder in folders if folder] if all(folders) else None


def _zarr_folder(array: ArrayLike3D) -> Path | None:
    """Return the folder of an array of a store of wedge's, whose axes are z, y and x."""
    place = getattr(getattr(array, "store_path", None), "store", None)
    root = getattr(place, "root", None)
    return None if root is None else Path(root, getattr(array, "path", "")).absolute()


def ready_mrc(each: Shown) -> Path | None:
    """Return the volume's own file where every program reads it right as it is: MRC, sections along z, the voxel size in its header."""
    array = each.volume.array
    if not isinstance(array, FileArray) or array.path.suffix.lower() not in mrc.SUFFIXES:
        return None
    spacing = mrc.read_mrc(array.path).spacing_angstrom
    size = each.volume.voxel_size_angstrom
    says_size = spacing is None if size is None else spacing is not None and np.allclose(spacing, size, rtol=1e-4)
    return array.path.absolute() if says_size and array.axes == (0, 1, 2) and not array.z_falls else None


def cache_path(each: Shown, suffix: str, more: str = "") -> Path:
    """Return where what is made of a volume lies in the cache; another one when it has changed."""
    marked = each.path / "zarr.json" if (each.path / "zarr.json").is_file() else each.path
    state = marked.stat()
    told = f"{each.path.resolve()}\n{state.st_mtime_ns}\n{state.st_size}\n{each.volume.voxel_size_angstrom}\n{each.volume.array!r}\n{more}"
    return cache_dir(_FOLDER) / (hashlib.sha256(os.fsencode(told)).hexdigest()[:32] + suffix)


def mrc_copy(each: Shown, on_note: Callable[[str], None], on_progress: Callable[[int], object] | None = None) -> Path:
    """Return the volume as an MRC file in the cache, with sections along z; made anew only where the volume has changed.

    Raises
    ------
    InputError
        If it cannot be read, or the disk of the cache has no room.
    """
    path = cache_path(each, ".mrc")
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    z, y, x = each.volume.array.shape
    require_space([path], (z, y, x), copied=True, on_note=on_note)
    on_note(f"a copy of {each.path} as MRC goes to {path}; wedge cache --clear deletes it, wedge export makes one to keep")
    with create_mrc_volume(path, (z, y, x), voxel_size_angstrom=each.volume.voxel_size_angstrom, overwrite=True) as writer:
        copy_volume(each.volume, writer, on_progress=on_progress)
        writer.commit({})
    # The header says all that viewers ask for, and a cached file stands alone.
    mrc.record_path(path).unlink(missing_ok=True)
    return path
