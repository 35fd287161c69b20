"""Laws of lattices: voxel centres in the box's coordinates, at any spacing and over any range."""

import pytest
import torch

from wedge.lattice import FieldBox, Lattice

BOX = FieldBox((6, 10, 20))


def test_longest_side_spans_minus_one_to_one_between_its_edges():
    assert BOX.half_extents == (0.3, 0.5, 1.0)
    x = BOX.axis(2, 0, 20)
    # Centres lie half a voxel inside.
    assert float(x[0]) == pytest.approx(-0.95)
    assert float(x[-1]) == pytest.approx(0.95)
    assert float(BOX.axis(0, 0, 6)[-1]) == pytest.approx(0.25)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_voxels_have_the_same_size_along_every_axis(which):
    axis = BOX.axis(which, 0, BOX.shape[which])
    assert len(axis) == BOX.shape[which]
    assert torch.allclose(axis.diff(), torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(axis, -axis.flip(0), atol=1e-6)


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 10), (9, 10)])
def test_part_of_an_axis_is_a_part_of_the_whole(start, stop):
    assert torch.equal(BOX.axis(1, start, stop), BOX.axis(1, 0, 10)[start:stop])


def test_ranges_may_leave_the_box():
    outside = BOX.axis(2, -2, 22)
    assert torch.equal(outside[2:-2], BOX.axis(2, 0, 20))
    assert float(outside[0]) == pytest.approx(-1.15)


@pytest.mark.parametrize("factor", [2, 3])
def test_means_of_finer_points_are_the_voxels(factor):
    fine = BOX.axis(2, 0, 20, 1 / factor)
    assert torch.allclose(fine.view(20, factor).mean(dim=1), BOX.axis(2, 0, 20), atol=1e-6)


def test_coarse_points_are_the_centres_of_blocks():
    assert torch.allclose(BOX.axis(2, 0, 20, 2), BOX.axis(2, 0, 20).view(10, 2).mean(dim=1), atol=1e-6)


def test_half_voxel_shift_lies_between_voxels():
    shifted = BOX.axis(1, 0.5, 9.5)
    whole = BOX.axis(1, 0, 10)
    assert torch.allclose(shifted, (whole[1:] + whole[:-1]) / 2, atol=1e-6)


def test_centres_are_exact_in_long_boxes():
    # Half a voxel of a box of 16384 is 6e-5; float32 must not lose it.
    axis = FieldBox((1, 1, 16384)).axis(2, 0, 16384).double() * 8192
    assert torch.allclose(axis, torch.arange(16384, dtype=torch.float64) - 8191.5, atol=1e-3)


def test_lattice_of_rows_has_all_of_z_and_x():
    lattice = BOX.lattice(2, 5)
    assert lattice.shape == (3, 6, 20)
    assert torch.equal(lattice.y, BOX.axis(1, 2, 5))
    assert torch.equal(lattice.z, BOX.axis(0, 0, 6))
    assert lattice.spacing_voxels == (1.0, 1.0, 1.0)
    assert BOX.lattice().shape == (10, 6, 20)
    assert BOX.lattice(spacing=2.0).shape == (5, 3, 10)
    assert BOX.lattice(spacing=0.5).spacing_voxels == (0.5, 0.5, 0.5)


def test_points_are_rows_of_z_y_x_in_the_order_of_raveled_slices():
    lattice = Lattice(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0, 30.0]), torch.tensor([100.0, 200.0]))
    points = lattice.points()
    assert points.shape == (12, 3)
    values = (points[:, 0] + points[:, 1] + points[:, 2]).view(lattice.shape)
    for y in range(3):
        for z in range(2):
            for x in range(2):
                assert values[y, z, x] == lattice.z[z] + lattice.y[y] + lattice.x[x]


def test_coordinates_are_float32_and_do_not_depend_on_the_default_device():
    assert BOX.axis(0, 0, 6).dtype == torch.float32
    with torch.device("meta"):
        assert torch.isfinite(BOX.axis(0, 0, 6)).all()
