"""Laws of the lattices that a field is projected from: finer ones are of the same voxels, seen from the same views."""

import numpy as np
import pytest
import torch

from wedge.fit.sampling import Sampling, finer_geometry
from wedge.geometry import TiltGeometry
from wedge.lattice import FieldBox
from wedge.registry import Registry

CPU = torch.device("cpu")
BOX = FieldBox((5, 6, 8))
GEOMETRY = TiltGeometry((-60.0, -20.0, 0.0, 45.0), (6, 14), BOX.shape, 3.0, 1.5, (0.5, -1.0), 0.25)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_means_of_a_linear_field_are_its_values_at_the_voxels(factor):
    sampling, voxels = Sampling(BOX, factor, CPU), BOX.lattice(1, 4)
    fine = sampling.lattice(1, 4)
    assert fine.shape == (3, factor * 5, factor * 8)
    assert fine.spacing_voxels == (1 / factor, 1.0, 1 / factor)

    def values(lattice):
        return 3 * lattice.z[None, :, None] + 5 * lattice.y[:, None, None] - 7 * lattice.x

    assert torch.allclose(sampling.pooled(values(fine)), values(voxels), atol=1e-5)


def test_one_point_per_voxel_is_the_voxel_itself():
    sampling, voxels = Sampling(BOX, 1, CPU), BOX.lattice(0, 6)
    lattice = sampling.lattice(0, 6)
    assert all(torch.equal(a, b) for a, b in zip((lattice.z, lattice.y, lattice.x), (voxels.z, voxels.y, voxels.x), strict=True))
    values = torch.rand(lattice.shape)
    assert torch.equal(sampling.pooled(values), values)


def test_means_stay_inside_their_voxel():
    sampling = Sampling(BOX, 2, CPU)
    fine = torch.zeros(1, 10, 16)
    fine[0, 4:6, 6:8] = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    pooled = sampling.pooled(fine)
    assert pooled[0, 2, 3] == 3
    assert float(pooled.sum()) == 3


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_gradient_of_the_means_is_that_of_torch(factor):
    sampling = Sampling(FieldBox((4, 3, 5)), factor, torch.device("cpu"))
    fine = torch.rand(3, 4 * factor, 5 * factor, generator=torch.Generator().manual_seed(0)).requires_grad_()
    outer = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad(sampling.pooled(fine), fine, outer)
    (expected,) = torch.autograd.grad(torch.nn.functional.avg_pool2d(fine[None], factor)[0], fine, outer)
    assert torch.allclose(found, expected)


def test_axes_are_the_same_tensors_at_every_step():
    # Networks know an axis again by its tensor.
    sampling = Sampling(BOX, 2, CPU)
    assert sampling.lattice(0, 2).z is sampling.lattice(3, 5).z
    assert sampling.lattice(0, 2).x is sampling.lattice(3, 5).x


def test_rows_are_taken_from_what_the_device_has():
    # Sent there anew at every step they would be waited for.
    sampling = Sampling(BOX, 2, CPU)
    some, others = sampling.lattice(0, 2).y, sampling.lattice(1, 6).y
    assert some.untyped_storage().data_ptr() == others.untyped_storage().data_ptr()
    assert torch.equal(others, BOX.axis(1, 1, 6))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_finer_voxels_cast_the_same_shadow(factor):
    resolved = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False, "model": "strip"})
    density = torch.from_numpy(np.random.default_rng(0).random((2, 5, 8), dtype=np.float32))
    fine = density.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    finer = finer_geometry(GEOMETRY, factor)
    assert finer.volume_shape == (5 * factor, 6, 8 * factor)
    expected = resolved.build(GEOMETRY, CPU).project(density)
    found = resolved.build(finer, CPU).project(fine)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def test_finer_voxels_keep_the_views():
    finer = finer_geometry(GEOMETRY, 2)
    assert finer.tilt_angles_deg == GEOMETRY.tilt_angles_deg
    assert finer.detector_shape == GEOMETRY.detector_shape
    assert finer.axis_offset_pixels == GEOMETRY.axis_offset_pixels
    assert finer_geometry(GEOMETRY, 1) == GEOMETRY
