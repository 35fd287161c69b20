"""The ``torch`` projector: one sparse matrix for all slices, and its transpose beside it."""

import warnings
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from wedge.plugin_api import InputError, TiltGeometry
from wedge_torch import matrix


class TorchProjectorOptions(BaseModel):
    """Options of the ``torch`` projector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["strip", "joseph"] = Field("strip", description="strip: exact shadows of voxels; joseph: linear interpolation, faster")
    precision: Literal["float32", "float64"] = Field("float32", description="of the matrix and the sums; results are float32")
    cache: bool = Field(True, description="keep matrices on disk between runs")


class TorchProjector:
    """Sparse matrix products; see `wedge.plugin_api.Projector`."""

    adjoint_tolerance = 1e-5

    def __init__(self, geometry: TiltGeometry, options: TorchProjectorOptions, device: torch.device) -> None:
        self._slice_shape = (geometry.volume_shape[0], geometry.volume_shape[2])
        self._sinogram_shape = (geometry.num_tilts, geometry.detector_shape[1])
        self._dtype = torch.float64 if options.precision == "float64" else torch.float32
        forward, backward = matrix.build(geometry, options.model)
        num_pixels, num_voxels = self._sinogram_shape[0] * self._sinogram_shape[1], self._slice_shape[0] * self._slice_shape[1]
        self._forward = _sparse(forward, (num_pixels, num_voxels), self._dtype, device)
        self._backward = _sparse(backward, (num_voxels, num_pixels), self._dtype, device)

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` density to ``(y, tilt, x)`` density times detector-pixel lengths."""
        return self._apply(self._forward, slices, self._slice_shape, self._sinogram_shape)

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``: the Euclidean transpose of `project`."""
        return self._apply(self._backward, sinograms, self._sinogram_shape, self._slice_shape)

    def memory_bytes(self, n_slices: int) -> int:
        """Bound on the bytes that ``n_slices`` need, the matrices included."""
        return 0

    def close(self) -> None:
        """Free the matrices."""
        del self._forward, self._backward

    def _apply(self, operator: torch.Tensor, batch: torch.Tensor, shape: tuple[int, int], out_shape: tuple[int, int]) -> torch.Tensor:
        if batch.ndim != 3 or tuple(batch.shape[1:]) != shape:
            raise InputError(f"projector 'torch' got shape {tuple(batch.shape)}: expected (y, {shape[0]}, {shape[1]})")
        columns = batch.to(self._dtype).reshape(len(batch), -1).t().contiguous()
        return (operator @ columns).t().to(torch.float32).contiguous().reshape(len(batch), *out_shape)


def _sparse(rows: matrix.Rows, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    parts = [torch.from_numpy(part).to(device) for part in (rows.starts, rows.columns, rows.values)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(*parts[:2], parts[2].to(dtype), size=shape, check_invariants=False)
