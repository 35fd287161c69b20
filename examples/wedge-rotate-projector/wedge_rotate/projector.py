"""Projection by rotation: sample each slice on a grid turned to the tilt angle, and sum along the beam."""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.functional import grid_sample

from wedge.plugin_api import TiltGeometry


class RotateOptions(BaseModel):
    """Options of `RotateProjector`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples_per_voxel: int = Field(2, ge=1, le=16, description="samples along the beam and across a detector pixel, in each voxel")


class RotateProjector:
    """Line integrals by bilinear interpolation; the transpose is exact, because autograd transposes the same interpolation."""

    adjoint_tolerance = 1e-5

    def __init__(self, geometry: TiltGeometry, options: RotateOptions, device: torch.device) -> None:
        voxel, samples = geometry.voxel_size_in_pixels, options.samples_per_voxel
        self._shape = geometry.volume_shape[0], geometry.volume_shape[2]
        self._num_pixels = geometry.detector_shape[1]
        self._step = voxel / samples
        self._fine = max(1, math.ceil(samples / voxel))
        depth, width = (count * voxel for count in self._shape)
        reach = math.hypot(depth, width) / 2 + voxel
        centre_z, centre_x = geometry.volume_centre_pixels
        beam = torch.arange(-reach, reach + self._step, self._step, dtype=torch.float64)
        subpixels = torch.arange(self._num_pixels * self._fine, dtype=torch.float64)
        across = (subpixels + 0.5) / self._fine - self._num_pixels / 2 - geometry.axis_offset_pixels
        self._grids = []
        for angle in geometry.tilt_angles_rad.tolist():
            shift = centre_x * -math.sin(angle) + centre_z * math.cos(angle)
            along = (beam + shift)[:, None]
            x = across * math.cos(angle) - along * math.sin(angle) - centre_x
            z = across * math.sin(angle) + along * math.cos(angle) - centre_z
            self._grids.append(torch.stack([x * 2 / width, z * 2 / depth], dim=-1).float().to(device))

    def _view(self, slices: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Project ``(y, z, x)`` slices to one view, ``(y, x)``."""
        turned = grid_sample(slices[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        return turned.sum(dim=1).unflatten(-1, (self._num_pixels, self._fine)).mean(dim=-1) * self._step

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` to ``(y, tilt, x)``."""
        slices = slices.detach().float()
        return torch.stack([self._view(slices, grid) for grid in self._grids], dim=1)

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``."""
        sinograms = sinograms.detach().float()
        total = sinograms.new_zeros((sinograms.shape[0], *self._shape))
        for index, grid in enumerate(self._grids):
            with torch.enable_grad():
                anywhere = torch.zeros_like(total, requires_grad=True)
                view = self._view(anywhere, grid)
            total += torch.autograd.grad(view, anywhere, sinograms[:, index])[0]
        return total

    def memory_bytes(self, n_slices: int) -> int:
        """Bound the memory: all grids, and the turned slices of one view with their gradient."""
        points = self._grids[0].shape[0] * self._grids[0].shape[1]
        area = self._shape[0] * self._shape[1]
        return 4 * (2 * points * len(self._grids) + n_slices * (3 * points + 4 * area + len(self._grids) * self._num_pixels))

    def close(self) -> None:
        """Free the grids."""
        self._grids.clear()
