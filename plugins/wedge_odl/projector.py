"""The ``odl`` projector: ODL's ``RayTransform``, one call for each slice."""

import os
import warnings
from typing import Any

import numpy as np
import torch

from wedge.plugin_api import InputError, TiltGeometry
from wedge_odl.options import OdlProjectorOptions


def _import_odl() -> tuple[Any, Any]:
    """Import ODL, and take back what importing it does to NumPy's print options and to the environment."""
    printing, scipy_switch = np.get_printoptions(), os.environ.get("SCIPY_ARRAY_API")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import odl
            from odl.applications import tomo
    finally:
        np.set_printoptions(**printing)
        if scipy_switch is None:
            os.environ.pop("SCIPY_ARRAY_API", None)
        else:
            os.environ["SCIPY_ARRAY_API"] = scipy_switch
    return odl, tomo


class OdlProjector:
    """ODL's operators on the CPU; see `wedge.plugin_api.Projector`. Tensors of other devices are copied there and back.

    Notes
    -----
    ODL wants sorted, distinct angles, so views are sorted and repeats share one. Its ``astra_cpu`` backend leaves out any shift of the
    detector without a word; where the tilt axis is off the centre, each view gets an operator of its own whose volume is shifted instead:
    ``s = (x + o cos) cos + (z + o sin) sin``.
    """

    adjoint_tolerance = 1e-5

    def __init__(self, geometry: TiltGeometry, options: OdlProjectorOptions, device: torch.device) -> None:
        self._slice_shape = (geometry.volume_shape[0], geometry.volume_shape[2])
        self._sinogram_shape = (geometry.num_tilts, geometry.detector_shape[1])
        self._kind = "linear" if options.model == "joseph" else "strip"
        angles, self._view_of_tilt = np.unique(geometry.tilt_angles_rad, return_inverse=True)
        self._num_views = len(angles)
        groups = [angles] if geometry.axis_offset_pixels == 0 else [angles[i : i + 1] for i in range(len(angles))]
        self._operators = [_ray_transform(geometry, group) for group in groups]

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        """Map ``(y, z, x)`` density to ``(y, tilt, x)`` density times detector-pixel lengths."""
        batch = self._to_numpy(slices, self._slice_shape)
        sinograms = np.empty((len(batch), *self._sinogram_shape), dtype=np.float32)
        for row, image in enumerate(batch):
            columns = np.ascontiguousarray(image.T)
            views = np.concatenate([np.asarray(operator(columns, astra_proj_type=self._kind).data) for operator in self._operators])
            sinograms[row] = views[self._view_of_tilt]
        return torch.from_numpy(sinograms).to(slices.device)

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Map ``(y, tilt, x)`` to ``(y, z, x)``: the Euclidean transpose of `project`, free of ODL's weights."""
        batch = self._to_numpy(sinograms, self._sinogram_shape)
        slices = np.zeros((len(batch), *self._slice_shape), dtype=np.float32)
        views_each = self._num_views // len(self._operators)
        for row, sinogram in enumerate(batch):
            views = np.zeros((self._num_views, self._sinogram_shape[1]), dtype=np.float32)
            np.add.at(views, self._view_of_tilt, sinogram)
            for index, operator in enumerate(self._operators):
                part = np.ascontiguousarray(views[index * views_each : (index + 1) * views_each])
                weight = operator.domain.weighting.const / operator.range.weighting.const
                slices[row] += weight * np.asarray(operator.adjoint(part, astra_proj_type=self._kind).data).T
        return torch.from_numpy(slices).to(sinograms.device)

    def memory_bytes(self, n_slices: int) -> int:
        """Bound on the bytes of ``n_slices``: the results, and copies where they come from another device or type."""
        slice_size, sinogram_size = (shape[0] * shape[1] for shape in (self._slice_shape, self._sinogram_shape))
        return 4 * (2 * n_slices + 8) * (slice_size + sinogram_size)

    def close(self) -> None:
        """Forget the operators."""
        self._operators = []

    @staticmethod
    def _to_numpy(batch: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
        if batch.ndim != 3 or tuple(batch.shape[1:]) != shape:
            raise InputError(f"projector 'odl' got shape {tuple(batch.shape)}: expected (y, {shape[0]}, {shape[1]})")
        return batch.detach().to("cpu", torch.float32).numpy()


def _ray_transform(geometry: TiltGeometry, angles: np.ndarray) -> Any:
    """Return the operator of some sorted, distinct angles; of one angle only where the tilt axis is off the centre."""
    odl, tomo = _import_odl()
    nz, _, nx = geometry.volume_shape
    width, voxel, offset = geometry.detector_shape[1], geometry.voxel_size_in_pixels, geometry.axis_offset_pixels
    centre = np.array(geometry.volume_centre_pixels[::-1]) + offset * np.array([np.cos(angles[0]), np.sin(angles[0])])
    half = np.array([nx, nz]) * voxel / 2
    space = odl.uniform_discr(centre - half, centre + half, (nx, nz), dtype="float32")
    one_view = (angles[0] - 0.5, angles[0] + 0.5, 1)
    views = odl.nonuniform_partition(angles) if len(angles) > 1 else odl.uniform_partition(*one_view)
    detector = odl.uniform_partition(-width / 2, width / 2, width)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'astra_cpu' backend may be too slow", category=RuntimeWarning)
        transform = tomo.RayTransform(space, tomo.Parallel2dGeometry(views, detector), impl="astra_cpu")
        transform.get_impl()
    return transform
