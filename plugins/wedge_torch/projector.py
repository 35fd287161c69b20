"""The ``torch`` projector: one sparse matrix for all slices, and its transpose beside it."""

import math
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from wedge.plugin_api import DeviceError, InputError, TiltGeometry
from wedge_torch import matrix
from wedge_torch.matrix_cache import load_or_build
from wedge_torch.turning import turned

# Slices multiplied at once. On a CPU one cache line of float32 is fastest: at 1024x256 voxels, twice as fast as 64 slices.
_CPU_COLUMNS, _GPU_COLUMNS = 16, 128


class TorchProjectorOptions(BaseModel):
    """Options of the ``torch`` projector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["strip", "joseph"] = Field("strip", description="strip: exact shadows of voxels; joseph: linear interpolation, faster")
    precision: Literal["float32", "float64"] = Field("float32", description="of the matrix and the sums; results are float32")
    cache: bool = Field(True, description="keep matrices on disk between runs (on a CPU)")
    matrix_gib: float = Field(8.0, gt=0, description="matrices larger than this are computed anew in every call: slow")


class TorchProjector:
    """Sparse matrix products; see `wedge.plugin_api.Projector`.

    Notes
    -----
    The transpose is stored as a matrix of its own: a product with a transposed one is ten times slower. A geometry whose pair would exceed
    ``matrix_gib`` is never stored; each call then computes the matrices of a few tilts at a time, uses and drops them.
    """

    adjoint_tolerance = 1e-5

    def __init__(self, geometry: TiltGeometry, options: TorchProjectorOptions, device: torch.device) -> None:
        self._geometry, self._options, self._device = geometry, options, torch.device(device)
        self._slice_shape = (geometry.volume_shape[0], geometry.volume_shape[2])
        self._sinogram_shape = (geometry.num_tilts, geometry.detector_shape[1])
        self._num_voxels, self._num_pixels = (shape[0] * shape[1] for shape in (self._slice_shape, self._sinogram_shape))
        double = options.precision == "float64"
        self._dtype = torch.float64 if double else torch.float32
        self._columns = _CPU_COLUMNS if self._device.type == "cpu" else _GPU_COLUMNS
        needed = matrix.entries_bound(geometry, options.model) * 2 * (4 + self._dtype.itemsize)
        limit = options.matrix_gib * 2**30
        self._num_blocks = 1 if needed <= limit else min(math.ceil(4 * needed / limit), geometry.num_tilts)
        self._block_bytes = -(-needed // self._num_blocks)
        self._pair: tuple[torch.Tensor, torch.Tensor] | None = None
        if needed <= limit:
            try:
                self._pair = self._stored(*self._build())
            except (MemoryError, torch.OutOfMemoryError) as error:
                raise DeviceError(
                    f"projector 'torch': matrices of {needed / 2**30:.1f} GiB do not fit on {self._device}; "
                    "use a smaller box, a smaller matrix_gib (slow) or another device"
                ) from error

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` density to ``(y, tilt, x)`` density times detector-pixel lengths."""
        flat = self._checked(slices, self._slice_shape)
        sinograms = flat.new_empty((len(flat), *self._sinogram_shape), dtype=torch.float32)
        flat_sinograms = sinograms.view(len(flat), self._num_pixels)
        for pixels, forward, _ in self._blocks():
            for rows in self._batches(len(flat)):
                flat_sinograms[rows, pixels] = self._product(forward, flat[rows])
        return sinograms

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``: the Euclidean transpose of `project`."""
        flat = self._checked(sinograms, self._sinogram_shape)
        slices = flat.new_empty((len(flat), *self._slice_shape), dtype=torch.float32)
        flat_slices = slices.view(len(flat), self._num_voxels)
        for index, (pixels, _, backward) in enumerate(self._blocks()):
            for rows in self._batches(len(flat)):
                product = self._product(backward, flat[rows, pixels])
                flat_slices[rows] = product if index == 0 else flat_slices[rows] + product
        return slices

    def memory_bytes(self, n_slices: int) -> int:
        """Bound on the bytes that ``n_slices`` need: matrices, results, and the columns that are multiplied at once."""
        one = self._num_voxels + self._num_pixels
        columns = min(n_slices, self._columns)
        if self._pair is None:
            # building a block holds its entries twice and the footprints of one tilt in float64
            matrices = 2 * self._block_bytes + 250 * self._num_voxels
        else:
            parts = (part for rows in self._pair for part in (rows.crow_indices(), rows.col_indices(), rows.values()))
            matrices = sum(part.numel() * part.element_size() for part in parts)
        return matrices + 4 * n_slices * one + 2 * self._dtype.itemsize * columns * one

    def close(self) -> None:
        """Free the matrices."""
        self._pair = None

    def _blocks(self) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Yield pixels, their matrix and its transpose: all at once where they are stored."""
        if self._pair is not None:
            yield slice(None), *self._pair
            return
        width = self._sinogram_shape[1]
        edges = np.linspace(0, self._sinogram_shape[0], self._num_blocks + 1).astype(int).tolist()
        for start, stop in pairwise(edges):
            rows = matrix.build(self._geometry, self._options.model, self._dtype, slice(start, stop), self._device)
            yield slice(start * width, stop * width), *self._stored(*rows)

    def _build(self) -> tuple[matrix.Rows, matrix.Rows]:
        # A GPU computes them faster than a disk gives them.
        if self._options.cache and self._device.type == "cpu":
            return load_or_build(self._geometry, self._options.model, self._dtype)
        return matrix.build(self._geometry, self._options.model, self._dtype, slice(None), self._device)

    def _stored(self, forward: matrix.Rows, backward: matrix.Rows) -> tuple[torch.Tensor, torch.Tensor]:
        num_pixels, num_voxels = len(forward.starts) - 1, len(backward.starts) - 1
        return (
            _sparse(forward, (num_pixels, num_voxels)),
            _sparse(backward, (num_voxels, num_pixels)),
        )

    def _batches(self, count: int) -> Iterator[slice]:
        """Split slices into batches of nearly equal size."""
        parts = -(-count // self._columns)
        for part in range(parts):
            yield slice(part * count // parts, (part + 1) * count // parts)

    def _product(self, matrix: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Return ``matrix`` times every row of ``batch``. One row is a vector: as a matrix of one column it takes three times as long."""
        batch = batch.to(self._dtype)
        if len(batch) == 1:
            return (matrix @ batch[0])[None]
        product = matrix @ turned(batch)
        # Into where slices lie apart it is copied next, which costs a GPU more than turning it first.
        return turned(product) if product.device.type == "cuda" else product.t()

    def _checked(self, batch: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        if batch.ndim != 3 or tuple(batch.shape[1:]) != shape:
            raise InputError(f"projector 'torch' got shape {tuple(batch.shape)}: expected (y, {shape[0]}, {shape[1]})")
        return batch.detach().reshape(len(batch), shape[0] * shape[1])


def _sparse(rows: matrix.Rows, shape: tuple[int, int]) -> torch.Tensor:
    with warnings.catch_warnings():
        for known in ("Sparse CSR tensor support is in beta", "Sparse invariant checks are implicitly disabled"):
            warnings.filterwarnings("ignore", message=known, category=UserWarning)
        return torch.sparse_csr_tensor(rows.starts, rows.columns, rows.values, size=shape, check_invariants=False)
