"""The ``triton`` projector: kernels that compute the matrix where they use it."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from wedge.plugin_api import DeviceError, InputError, TiltGeometry
from wedge_triton.kernels import backproject_kernel, project_kernel
from wedge_triton.options import TritonProjectorOptions, interprets

_BLOCK, _BLOCK_Y = 32, 32  # rays or voxels, and slices, of a program
_INTERPRETED_BLOCK = 4096  # the interpreter takes a program at a time: few and large ones


class TritonProjector:
    """Projection without a stored matrix; see `wedge.plugin_api.Projector`.

    Notes
    -----
    The footprints are those of the ``torch`` projector, evaluated in float32. Memory is that of slices and sinograms, once more for their
    copies with ``y`` innermost. Forward gathers along lines of the steeper axis, backward over views: neither adds to a place twice,
    so that results do not depend on the order of the programs.
    """

    adjoint_tolerance = 1e-5

    def __init__(self, geometry: TiltGeometry, options: TritonProjectorOptions, device: torch.device) -> None:
        self._device = torch.device(device)
        if self._device.type != "cuda" and not interprets():
            raise DeviceError("projector 'triton' works on CUDA GPUs alone: give --device cuda, or --projector torch")
        self._strip = options.model == "strip"
        self._slice_shape = (geometry.volume_shape[0], geometry.volume_shape[2])
        self._sinogram_shape = (geometry.num_tilts, geometry.detector_shape[1])
        voxel, (num_z, num_x) = geometry.voxel_size_in_pixels, self._slice_shape
        centre_z, centre_x = geometry.volume_centre_pixels
        cosine, sine = np.cos(geometry.tilt_angles_rad), np.sin(geometry.tilt_angles_rad)
        sides = voxel * np.abs(np.stack([cosine, sine]))
        wide, narrow = sides.max(axis=0), sides.min(axis=0)
        reach = (wide + narrow) / 2 + 0.5 if self._strip else wide
        table = np.stack([cosine, sine, reach, wide, narrow, voxel * voxel / wide], axis=1)
        self._views = torch.from_numpy(table.astype(np.float32)).to(self._device)
        # Places that a shadow, or on a line a pixel, can reach: one more than fit, for `low` lies before the first.
        self._back_taps = math.ceil(2 * float(reach.max())) + 1
        self._line_taps = math.ceil(2 * float((reach / wide).max())) + 1
        self._numbers = (
            float(voxel),
            float(centre_z - (num_z - 1) / 2 * voxel),
            float(centre_x - (num_x - 1) / 2 * voxel),
            float(geometry.axis_offset_pixels + (self._sinogram_shape[1] - 1) / 2),
        )

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` density to ``(y, tilt, x)`` density times detector-pixel lengths."""
        count, columns = len(slices), self._columns(slices, self._slice_shape)
        num_views, width = self._sinogram_shape
        result = columns.new_empty(num_views * width, count)
        if count:
            block, block_y = self._blocks(width, count)
            grid = (-(-width // block), num_views, -(-count // block_y))
            self._launch(project_kernel, grid)(
                columns, result, self._views, count, *self._slice_shape, width, *self._numbers,
                STRIP=self._strip, TAPS=self._line_taps, BLOCK=block, BLOCK_Y=block_y,
            )  # fmt: skip
        return result.t().reshape(count, num_views, width).contiguous()

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``: the Euclidean transpose of `project`."""
        count, columns = len(sinograms), self._columns(sinograms, self._sinogram_shape)
        (num_z, num_x), (num_views, width) = self._slice_shape, self._sinogram_shape
        result = columns.new_empty(num_z * num_x, count)
        if count:
            block, block_y = self._blocks(num_z * num_x, count)
            grid = (-(-num_z * num_x // block), -(-count // block_y))
            self._launch(backproject_kernel, grid)(
                result, columns, self._views, count, num_z, num_x, width, num_views, *self._numbers,
                STRIP=self._strip, TAPS=self._back_taps, BLOCK=block, BLOCK_Y=block_y,
            )  # fmt: skip
        return result.t().reshape(count, num_z, num_x).contiguous()

    def memory_bytes(self, n_slices: int) -> int:
        """Bytes that ``n_slices`` need: both arrays, and both once more with ``y`` innermost."""
        return 8 * n_slices * (math.prod(self._slice_shape) + math.prod(self._sinogram_shape)) + self._views.numel() * 4

    def close(self) -> None:
        """Free the table of views."""
        self._views = torch.empty(0)

    def _launch(self, kernel: Any, grid: tuple[int, ...]) -> Callable[..., None]:
        """Return the kernel on this projector's device: Triton takes the current one."""

        def launched(*arguments: Any, **constants: Any) -> None:
            with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
                kernel[grid](*arguments, **constants)

        return launched

    def _blocks(self, places: int, count: int) -> tuple[int, int]:
        if self._device.type == "cuda":
            return _BLOCK, _BLOCK_Y
        return min(_INTERPRETED_BLOCK, _power(places)), _power(count)

    def _columns(self, batch: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        if batch.ndim != 3 or tuple(batch.shape[1:]) != shape:
            raise InputError(f"projector 'triton' got shape {tuple(batch.shape)}: expected (y, {shape[0]}, {shape[1]})")
        return batch.detach().to(torch.float32).reshape(len(batch), math.prod(shape)).t().contiguous()


def _power(count: int) -> int:
    """Return the least power of two that is not less."""
    return 1 << max(0, count - 1).bit_length()
