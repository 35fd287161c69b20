"""Matrices kept on disk between runs, one safetensors file for each geometry and model."""

import hashlib
import json
import logging
import os
import tempfile
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from wedge.plugin_api import TiltGeometry, cache_dir
from wedge_torch import matrix

# part of the key: raise it whenever `matrix` computes anything else
_VERSION = 1
_WORTH_KEEPING = 1_000_000
_KEPT_BYTES = 4 * 2**30
_log = logging.getLogger(__name__)


def load_or_build(geometry: TiltGeometry, model: matrix.Model, dtype: torch.dtype) -> tuple[matrix.Rows, matrix.Rows]:
    """Return `matrix.build`'s pair, from disk where it lies there whole; what is damaged or missing is built and written.

    Notes
    -----
    Small matrices are built as fast as they are read and are not kept. Files used least recently make room beyond 4 GiB. A disk that is
    full or not writable costs time, nothing else.
    """
    if matrix.entries_bound(geometry, model) < _WORTH_KEEPING:
        return matrix.build(geometry, model, dtype)
    path = cache_dir("matrices") / f"{_key(geometry, model, dtype)}.safetensors"
    pair = _load(path)
    if pair is None:
        pair = matrix.build(geometry, model, dtype)
        _store(path, pair)
    return pair


def _key(geometry: TiltGeometry, model: str, dtype: torch.dtype) -> str:
    """Hash what the matrix depends on; extents along y are not among it."""
    nz, _, nx = geometry.volume_shape
    numbers = [*geometry.volume_centre_pixels, geometry.voxel_size_in_pixels, geometry.axis_offset_pixels, *geometry.tilt_angles_deg]
    parts = [_VERSION, model, str(dtype).removeprefix("torch."), nz, nx, geometry.detector_shape[1], *(float(n).hex() for n in numbers)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _load(path: Path) -> tuple[matrix.Rows, matrix.Rows] | None:
    try:
        with safe_open(path, framework="pt") as file:
            sums = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in _names()}
        if any(_checksum(array) != sums.get(name) for name, array in arrays.items()):
            raise ValueError("a checksum differs")
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, SafetensorError) as error:
        _log.info("matrix %s is built again: %s", path, error)
        return None
    parts = [arrays[name] for name in _names()]
    return matrix.Rows(*parts[:3]), matrix.Rows(*parts[3:])


def _store(path: Path, pair: tuple[matrix.Rows, matrix.Rows]) -> None:
    """Write beside and rename, so that nobody reads half a file."""
    arrays = dict(zip(_names(), (part for rows in pair for part in (rows.starts, rows.columns, rows.values)), strict=True))
    size = sum(array.nbytes for array in arrays.values())
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, size)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        os.close(handle)
        partial = Path(name)
        save_file(arrays, partial, metadata={name: _checksum(array) for name, array in arrays.items()})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        _log.info("matrix %s is not kept: %s", path, error)
        if partial is not None:
            partial.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    files = sorted(((file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob("*.safetensors")), reverse=True)
    kept = size
    for _, file_size, file in files:
        kept += file_size
        if kept > _KEPT_BYTES:
            file.unlink(missing_ok=True)


def _names() -> list[str]:
    return [f"{which}.{part}" for which in ("forward", "backward") for part in ("starts", "columns", "values")]


def _checksum(array: torch.Tensor) -> str:
    return f"{zlib.crc32(array.numpy()):08x}"
