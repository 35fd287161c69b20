"""The ``astra`` projector: on the CPU one 2-D kernel call for each slice, on a GPU one 3-D call for a slab."""

import astra
import numpy as np
import torch

from wedge.plugin_api import DeviceError, InputError, TiltGeometry, UsageError
from wedge_astra.options import AstraProjectorOptions, probe_cuda


class AstraProjector:
    """ASTRA's kernels; see `wedge.plugin_api.Projector`.

    Notes
    -----
    On the CPU the transpose is exact. On a GPU forward is Joseph's and back is driven by voxels: good for fitting, not a matched pair.

    References
    ----------
    van Aarle et al., Fast and flexible X-ray tomography using the ASTRA toolbox, 2016. https://doi.org/10.1364/OE.24.025129
    """

    def __init__(self, geometry: TiltGeometry, options: AstraProjectorOptions, device: torch.device) -> None:
        self._geometry = geometry
        self._device = torch.device(device)
        self._slice_shape = (geometry.volume_shape[0], geometry.volume_shape[2])
        self._sinogram_shape = (geometry.num_tilts, geometry.detector_shape[1])
        self._flat: int | None = None
        if self._device.type == "cuda":
            if options.model == "strip":
                raise UsageError("projector 'astra' has no strip model on a GPU: choose model=joseph or --device cpu")
            reason = probe_cuda(self._device.index or 0)
            if reason:
                raise DeviceError(f"projector 'astra' cannot use {self._device}: {reason}; choose --device cpu or another projector")
            self.adjoint_tolerance = 0.2
        else:
            self.adjoint_tolerance = 1e-5
            kind = "linear" if options.model == "joseph" else "strip"
            self._flat = astra.create_projector(kind, *_flat_geometries(geometry))

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` density to ``(y, tilt, x)`` density times detector-pixel lengths."""
        batch = self._checked(slices, self._slice_shape)
        # NaN first: ASTRA can fail without saying so
        sinograms = torch.full((len(batch), *self._sinogram_shape), torch.nan, device=batch.device)
        if self._flat is None:
            self._slab("direct_FP", batch, sinograms)
        else:
            for image, sinogram in zip(batch, sinograms, strict=True):
                astra.projector.direct_FP(self._flat, image, out=sinogram)
        return sinograms.to(slices.device)

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``: the Euclidean transpose of `project`, on a GPU nearly."""
        batch = self._checked(sinograms, self._sinogram_shape)
        slices = torch.full((len(batch), *self._slice_shape), torch.nan, device=batch.device)
        if self._flat is None:
            self._slab("direct_BP", batch, slices)
        else:
            for sinogram, image in zip(batch, slices, strict=True):
                astra.projector.direct_BP(self._flat, sinogram, out=image)
        return slices.to(sinograms.device)

    def memory_bytes(self, n_slices: int) -> int:
        """Bound on the bytes of ``n_slices``: the results, copies of inputs that are not contiguous float32, on a GPU ASTRA's own."""
        slice_size, sinogram_size = (shape[0] * shape[1] for shape in (self._slice_shape, self._sinogram_shape))
        return 4 * (3 * n_slices + 2) * (slice_size + sinogram_size)

    def close(self) -> None:
        """Delete ASTRA's objects."""
        if self._flat is not None:
            astra.projector.delete(self._flat)
            self._flat = None

    def _checked(self, batch: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        if batch.ndim != 3 or tuple(batch.shape[1:]) != shape:
            raise InputError(f"projector 'astra' got shape {tuple(batch.shape)}: expected (y, {shape[0]}, {shape[1]})")
        return batch.detach().to(self._device, torch.float32).contiguous()

    def _slab(self, function: str, batch: torch.Tensor, out: torch.Tensor) -> None:
        """Run a 3-D kernel on tensors of the GPU, in place. Their layouts are ASTRA's: (slice, row, column) and (v, angle, u)."""
        if len(batch) == 0:
            return
        astra.set_gpu_index(self._device.index or 0)
        projector = astra.create_projector("cuda3d", *_slab_geometries(self._geometry, len(batch)))
        try:
            # ASTRA works on streams of its own
            torch.cuda.synchronize(self._device)
            getattr(astra.projector3d, function)(projector, batch, out=out)
            torch.cuda.synchronize(self._device)
        finally:
            astra.projector3d.delete(projector)
        if not bool(torch.isfinite(out.reshape(-1)[-1])):
            raise DeviceError(f"projector 'astra' failed on {self._device} without a reason: try fewer slices or another projector")


def _flat_geometries(geometry: TiltGeometry) -> tuple[dict, dict]:
    """Return ASTRA's 2-D geometries. Its row 0 is at the top, where its y is largest: y = -z."""
    nz, _, nx = geometry.volume_shape
    centre_z, centre_x = geometry.volume_centre_pixels
    half_z, half_x = (count * geometry.voxel_size_in_pixels / 2 for count in (nz, nx))
    volume = astra.create_vol_geom(nz, nx, centre_x - half_x, centre_x + half_x, -centre_z - half_z, -centre_z + half_z)
    cosine, sine = np.cos(geometry.tilt_angles_rad), np.sin(geometry.tilt_angles_rad)
    along = np.stack([cosine, -sine], axis=1)
    rays = np.stack([sine, cosine], axis=1)
    vectors = np.concatenate([rays, -geometry.axis_offset_pixels * along, along], axis=1)
    return astra.create_proj_geom("parallel_vec", geometry.detector_shape[1], vectors), volume


def _slab_geometries(geometry: TiltGeometry, num_slices: int) -> tuple[dict, dict]:
    """Return ASTRA's 3-D geometries of a slab; voxels stay cubes, so rows of the detector are as high as they. Here y = z."""
    nz, _, nx = geometry.volume_shape
    centre_z, centre_x = geometry.volume_centre_pixels
    voxel = geometry.voxel_size_in_pixels
    half_z, half_x, half_slab = (count * voxel / 2 for count in (nz, nx, num_slices))
    volume = astra.create_vol_geom(
        nz, nx, num_slices, centre_x - half_x, centre_x + half_x, centre_z - half_z, centre_z + half_z, -half_slab, half_slab
    )
    cosine, sine = np.cos(geometry.tilt_angles_rad), np.sin(geometry.tilt_angles_rad)
    zero = np.zeros_like(cosine)
    along = np.stack([cosine, sine, zero], axis=1)
    rays = np.stack([sine, -cosine, zero], axis=1)
    up = np.stack([zero, zero, zero + voxel], axis=1)
    vectors = np.concatenate([rays, -geometry.axis_offset_pixels * along, along, up], axis=1)
    return astra.create_proj_geom("parallel3d_vec", num_slices, geometry.detector_shape[1], vectors), volume
