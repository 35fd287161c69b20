"""First-party networks: the laws, and what each promises beside them."""

import pytest
import torch
from wedge_networks.feature_grid import FeatureGrid, FeatureGridOptions
from wedge_networks.interpolation import GridAxis
from wedge_networks.mlp import block_sizes
from wedge_networks.relu_pe import ReluPositional, ReluPositionalOptions
from wedge_networks.siren import Siren, SirenOptions
from wedge_networks.siren_bank import SirenSlices, SirenSlicesOptions
from wedge_networks.voxel import Voxel, VoxelOptions

from wedge.fit.model import Field, build_optimizer
from wedge.geometry import TiltGeometry
from wedge.lattice import FieldBox, Lattice
from wedge.projection import project
from wedge.registry import Registry
from wedge.testing import NetworkLaws


class TestVoxel(NetworkLaws):
    def make(self, field_box):
        return Voxel(field_box, VoxelOptions())


class TestCoarseVoxel(NetworkLaws):
    def make(self, field_box):
        return Voxel(field_box, VoxelOptions(spacing=1.7))


class TestFeatureGrid(NetworkLaws):
    def make(self, field_box):
        return FeatureGrid(field_box, FeatureGridOptions())


class TestFeatureGridOfOneLevel(NetworkLaws):
    def make(self, field_box):
        return FeatureGrid(field_box, FeatureGridOptions(levels=1, features=3, finest=2.0, activation="gelu", depth=1))


class TestSiren(NetworkLaws):
    def make(self, field_box):
        return Siren(field_box, SirenOptions())


class TestSirenSlices(NetworkLaws):
    def make(self, field_box):
        return SirenSlices(field_box, SirenSlicesOptions())


class TestSirenOfThreeRows(NetworkLaws):
    def make(self, field_box):
        return SirenSlices(field_box, SirenSlicesOptions(width=48, depth=2, rows=3))


class TestReluPositional(NetworkLaws):
    def make(self, field_box):
        return ReluPositional(field_box, ReluPositionalOptions(width=64))


def _filled(network):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return network


def test_voxel_on_its_own_lattice_is_its_values_exactly():
    for shape in ((8, 6, 7), (33, 3, 1024), (1, 1, 1)):
        network = _filled(Voxel(FieldBox(shape), VoxelOptions()))
        assert torch.equal(network(FieldBox(shape).lattice()), network.values)


def test_voxel_interpolates_linearly_and_is_constant_outside():
    box = FieldBox((4, 5, 6))
    network = Voxel(box, VoxelOptions())
    z, y, x = (torch.arange(n, dtype=torch.float32) for n in box.shape)
    with torch.no_grad():
        network.values.copy_(2 * y[:, None, None] - 3 * z[:, None] + 0.5 * x)
    lattice = Lattice(box.axis(0, 0.25, 3.25), box.axis(1, 0.6, 4.6), box.axis(2, -3.0, 9.0))
    expected = 2 * (y[:4] + 0.6)[:, None, None] - 3 * (z[:3] + 0.25)[:, None] + 0.5 * torch.arange(-3.0, 9.0).clamp(0, 5)
    assert torch.allclose(network(lattice), expected, atol=1e-5)


@pytest.mark.parametrize("spacing", [1.0, 1.7, 4.0])
def test_separable_interpolation_agrees_with_grid_sample(spacing):
    box = FieldBox((9, 12, 15))
    network = _filled(Voxel(box, VoxelOptions(spacing=spacing)))
    lattice = Lattice(box.axis(0, -1, 10, 0.4), box.axis(1, 2.3, 7.3, 0.5), box.axis(2, 0.2, 14.2, 0.7))
    # grid_sample wants (x, z, y) in units of the nodes' span, which the axes' positions give.
    network_axes = (network._x, network._z, network._y)
    x, z, y = (
        2 * axis.positions(c) / (axis.num_nodes - 1) - 1 for axis, c in zip(network_axes, (lattice.x, lattice.z, lattice.y), strict=True)
    )
    gy, gz, gx = torch.meshgrid(y, z, x, indexing="ij")
    expected = torch.nn.functional.grid_sample(
        network.values[None, None], torch.stack([gx, gz, gy], dim=-1)[None], align_corners=True, padding_mode="border"
    )[0, 0]
    assert torch.allclose(network(lattice), expected, atol=1e-5)


def test_nodes_reach_from_the_first_voxel_to_the_last():
    for count in (1, 2, 7, 64):
        for spacing in (0.5, 1.0, 3.0, 16.0):
            axis = GridAxis(count, 64, spacing)
            ends = FieldBox((count, 1, 64)).axis(0, 0, count)[[0, -1]]
            first, last = axis.positions(ends).tolist()
            assert first >= 0
            assert last <= axis.num_nodes - 1
            assert (last - first) * spacing == pytest.approx(count - 1, abs=1e-4)
            assert axis.num_nodes - 1 - (last - first) < 1


def test_rows_on_a_device_are_gathered_to_the_same(monkeypatch):
    axis = GridAxis(12, 16, 1.5)
    grid = torch.randn(axis.num_nodes, 3, 4, requires_grad=True)

    class OnDevice(torch.Tensor):
        device = torch.device("cuda")

    for start in (0.0, -2.3, 4.7, 11.5):
        y = FieldBox((8, 12, 16)).axis(1, start, start + 3)
        expected = axis.rows(grid, y)
        found = axis.rows(grid, y.as_subclass(OnDevice)).as_subclass(torch.Tensor)
        assert torch.allclose(found, expected, atol=1e-6)
        (a,), (b,) = (torch.autograd.grad(value.square().sum(), grid) for value in (found, expected))
        assert torch.allclose(a, b, atol=1e-5)


def test_rows_of_a_slab_alone_get_gradient():
    box = FieldBox((8, 20, 8))
    for network in (Voxel(box, VoxelOptions()), FeatureGrid(box, FeatureGridOptions(levels=1))):
        network(box.lattice(4, 8)).sum().backward()
        grid = next(network.parameters())
        touched = grid.grad.flatten(1).any(dim=1).nonzero().flatten().tolist()
        assert touched == [4, 5, 6, 7]


@pytest.mark.parametrize("make", [lambda b: Siren(b, SirenOptions()), lambda b: ReluPositional(b, ReluPositionalOptions())])
def test_separable_first_layer_agrees_with_points(make):
    box = FieldBox((5, 4, 6))
    network, lattice = _filled(make(box)), box.lattice()
    points = lattice.points()
    weight, bias = network.first.weight, network.first.bias
    if isinstance(network, Siren):
        hidden = torch.sin(sum(weight[axis, :, 0] * points[:, axis : axis + 1] for axis in range(3)) + bias)
        activation = torch.sin
    else:
        encoded = [network._encode(points[:, axis]) for axis in range(3)]
        hidden = torch.relu(sum(encoded[axis] @ weight[axis].T for axis in range(3)) + bias)
        activation = torch.relu
    for linear in network.hidden.linears[:-1]:
        hidden = activation(linear(hidden))
    expected = network.hidden.linears[-1](hidden).view(lattice.shape).detach()
    assert torch.allclose(network(lattice), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("rows", "points"), [(3, 5), (40, 4096), (2, 40000), (1, 16384)])
def test_blocks_cover_all_points_once_and_in_order(rows, points):
    array = torch.arange(rows * points).view(rows, points)
    row_step, point_step = block_sizes(rows, points, torch.device("cpu"))
    blocks = [block.flatten() for part in array.split(row_step) for block in part.split(point_step, dim=1)]
    assert torch.equal(torch.cat(blocks), array.flatten())
    assert max(map(len, blocks)) <= max(16384, point_step)


def test_large_slices_are_cut_within_a_row():
    box = FieldBox((130, 2, 140))
    network = _filled(FeatureGrid(box, FeatureGridOptions(levels=2, features=1, finest=4.0)))
    whole = network(box.lattice())
    part = network(Lattice(box.axis(0, 120, 130), box.axis(1, 1, 2), box.axis(2, 0, 140)))
    assert torch.allclose(part, whole[1:, 120:], atol=1e-5)


def test_octaves_follow_the_size_of_the_box():
    assert ReluPositional(FieldBox((4, 4, 128)), ReluPositionalOptions()).octaves == 5
    assert ReluPositional(FieldBox((4, 4, 1024)), ReluPositionalOptions()).octaves == 8
    assert ReluPositional(FieldBox((1, 1, 2)), ReluPositionalOptions()).octaves == 1


def test_sine_phases_do_not_see_autocast():
    box = FieldBox((6, 6, 6))
    network = _filled(Siren(box, SirenOptions()))
    expected = network(box.lattice())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(box.lattice()), expected)


def test_rows_of_different_networks_share_no_parameter():
    box = FieldBox((4, 7, 6))
    network = SirenSlices(box, SirenSlicesOptions(width=8, depth=3))
    for row, owner in enumerate((0, 0, 1, 1, 2, 2, 3)):
        network.zero_grad()
        network(box.lattice(row, row + 1)).square().sum().backward()
        # None, not zero: an optimizer with momentum must pass over the others.
        touched = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
        assert touched == {f"first.{owner}", f"hidden.{owner}", f"last.{owner}"}
        assert len({parameter.untyped_storage().data_ptr() for parameter in network.parameters()}) == 12


def test_a_network_of_its_own_begins_at_the_edge_of_a_voxel():
    box = FieldBox((3, 4, 5))
    network = SirenSlices(box, SirenSlicesOptions(width=8, depth=2))
    # Thirds of voxels -1 to 4; the first and the last voxel lie outside the box.
    owners, _ = network._place(box.axis(1, -1, 5, 1 / 3))
    assert owners == [0] * 9 + [1] * 9
    # Where a coarser row lies on a border, rounding doesn't decide.
    for shape in ((3, 4096, 5), (3, 1000, 1024), (3, 6, 7)):
        large, count = FieldBox(shape), shape[1] // 2
        bank = SirenSlices(large, SirenSlicesOptions(width=1, depth=2))
        assert bank._place(large.axis(1, -1, shape[1] + 1, 2))[0] == [*range(count), count - 1]


def test_slices_agree_with_points():
    box = FieldBox((5, 6, 7))
    network = _filled(SirenSlices(box, SirenSlicesOptions(width=8, depth=3, rows=3)))
    values = network(box.lattice())
    for row in range(6):
        owner, y = row // 3, (row % 3 + 0.5) / 1.5 - 1
        z, x = torch.meshgrid(box.axis(0, 0, 5), box.axis(2, 0, 7), indexing="ij")
        hidden = torch.stack([z, torch.full_like(z, y), x, torch.ones_like(z)], dim=-1) @ network.first[owner].T
        for layer in (*network.hidden[owner], network.last[owner]):
            hidden = torch.sin(hidden) @ layer[:, :-1].T + layer[:, -1]
        assert torch.allclose(values[row], hidden[..., 0], rtol=1e-4, atol=1e-4 * float(values.detach().abs().max()))


def test_a_step_leaves_networks_alone_that_it_does_not_see():
    box = FieldBox((4, 4, 6))
    network = SirenSlices(box, SirenSlicesOptions(width=8, depth=2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    def step(start):
        optimizer.zero_grad(set_to_none=True)
        (network(box.lattice(start, start + 2)) - 1).square().mean().backward()
        optimizer.step()

    step(0)
    before = network(box.lattice()).detach()
    step(2)
    after = network(box.lattice()).detach()
    assert torch.equal(after[:2], before[:2])
    assert not torch.allclose(after[2:], before[2:])


def test_rows_of_one_network_are_fitted_to_their_views():
    geometry = TiltGeometry(tuple(range(-60, 61, 6)), (2, 16), (12, 2, 16))
    box = FieldBox(geometry.volume_shape)
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(geometry, torch.device("cpu"))
    z, x = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    truth = torch.stack([((z - 5).hypot(x - 6) < 3).float(), ((z - 6).hypot(x - 9) < 4).float()])
    measured = projector.project(truth)
    torch.manual_seed(0)
    field = Field(SirenSlices(box, SirenSlicesOptions(width=32, depth=3)), positive=True, half_precision=False)
    optimizer = build_optimizer(field, 3e-3, (0.9, 0.99))
    losses = []
    for _ in range(150):
        loss = (project(projector, field(box.lattice())) - measured).abs().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
    errors = (field(box.lattice()) - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)
    assert bool((errors < 0.4).all())
