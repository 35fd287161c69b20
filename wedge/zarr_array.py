"""One array of a store, opened with its damage seen."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from wedge.errors import InputError


def open_array(path: Path, name: str, shape: tuple[int, ...]) -> zarr.Array[Any]:
    """Open an array of this shape, ``name`` in the store at ``path``, to read it.

    Raises
    ------
    InputError
        If it cannot be read, has another shape, or lacks chunks.
    """
    try:
        array = zarr.open_array(str(path / name), mode="r")
        # Each chunk has a file of its own: a damaged shape may claim more than could be looked for.
        num_chunks, num_files = array.nchunks, sum(1 for _ in (path / name).rglob("*"))
        num_present = array.nchunks_initialized if num_chunks <= num_files else num_files
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except Exception as error:  # zarr raises many kinds for a damaged file, and all mean the same here
        raise InputError(f"damaged store: cannot open array {name!r} of {path}; make it anew") from error
    if array.chunks[::2] != array.shape[::2]:
        raise InputError(f"damaged store: chunks of shape {array.chunks} do not span z or the views, and x: {path}; make it anew")
    if array.dtype != np.float32:
        raise InputError(f"damaged store: values of type {array.dtype}, expected float32: {path}; make it anew")
    if array.shape != shape:
        raise InputError(f"damaged store: array of shape {array.shape}, expected {shape}: {path}; make it anew")
    if num_present != num_chunks:
        raise InputError(f"damaged store: {num_chunks - num_present} of {num_chunks} chunks are missing: {path}; copy or make it anew")
    return array
