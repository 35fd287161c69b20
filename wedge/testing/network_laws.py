"""The laws of networks."""

import copy
import math
from typing import Any, ClassVar

import pytest
import torch

from wedge.lattice import FieldBox, Lattice

_DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


class NetworkLaws:
    """What every network must do. Subclass it and override `make`; change an attribute only for a reason.

    Examples
    --------
    >>> class TestMine(NetworkLaws):  # doctest: +SKIP
    ...     def make(self, field_box):
    ...         return MyNetwork(field_box, MyOptions())
    """

    shapes: ClassVar[tuple[tuple[int, int, int], ...]] = ((8, 12, 10), (5, 7, 6), (6, 1, 9), (1, 1, 8))
    """``(z, y, x)`` of the boxes that the laws are tried in."""
    start_bound: ClassVar[float] = 0.1
    """Root mean square of the raw values that a new network may return."""
    tolerance: ClassVar[float] = 1e-4
    """Difference between two ways to the same value, relative to the field's largest."""
    autocast_tolerance: ClassVar[float] = 0.1
    """Root mean square that autocast to bfloat16 may change, relative to the field's standard deviation."""
    fit_steps: ClassVar[int] = 100
    """Steps of Adam in which a smooth blob must be fitted to half its error."""
    fit_learning_rate: ClassVar[float] = 3e-3
    """Their learning rate, times what the network suggests."""

    def make(self, field_box: FieldBox) -> Any:
        """Build the network for this box."""
        raise NotImplementedError(f"{type(self).__name__} must override make(field_box): return an instance of the network")

    # What the laws need.

    def build(self, box: FieldBox, seed: int = 0, device: str = "cpu") -> Any:
        """Build as the fit does: in a forked, seeded random generator, on the CPU."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make(box).to(device)

    def build_filled(self, box: FieldBox, device: str = "cpu") -> Any:
        """Build a network whose field is not flat, as after some steps of a fit."""
        network = self.build(box)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return network.to(device)

    def assert_close(self, found: torch.Tensor, expected: torch.Tensor) -> None:
        """Compare two fields."""
        assert found.shape == expected.shape
        scale = max(1e-6, expected.abs().max().item())
        assert (found - expected).abs().max().item() <= self.tolerance * scale

    # The laws.

    @pytest.mark.parametrize("device", _DEVICES)
    def test_forward_returns_float32_slices(self, device: str) -> None:
        """Of the lattice's shape, finite, on its device; whatever the box."""
        for shape in self.shapes:
            box = FieldBox(shape)
            lattice = box.lattice(device=device)
            slices = self.build_filled(box, device)(lattice)
            assert slices.shape == lattice.shape
            assert slices.dtype == torch.float32
            assert slices.device == lattice.x.device
            assert bool(torch.isfinite(slices).all())

    def test_start_is_about_zero(self) -> None:
        """Scale and offset are the fit's."""
        for shape in self.shapes:
            box = FieldBox(shape)
            assert self.build(box)(box.lattice()).square().mean().sqrt().item() <= self.start_bound

    def test_same_seed_gives_same_network(self) -> None:
        """Bit for bit, and evaluation draws no random number."""
        box = FieldBox(self.shapes[0])
        first, second = self.build(box, seed=3), self.build(box, seed=3)
        before = torch.random.get_rng_state()
        assert torch.equal(first(box.lattice()), second(box.lattice()))
        assert torch.equal(before, torch.random.get_rng_state())
        for name, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), name

    @pytest.mark.parametrize("device", _DEVICES)
    def test_sub_lattice_is_crop_of_whole(self, device: str) -> None:
        """Slabs of a field are parts of one field; ranges of z and x as well."""
        for shape in self.shapes[:2]:
            box = FieldBox(shape)
            network = self.build_filled(box, device)
            whole = network(box.lattice(device=device))
            self.assert_close(network(box.lattice(2, 5, device=device)), whole[2:5])
            part = Lattice(box.axis(0, 1, 4, device=device), box.axis(1, 1, 4, device=device), box.axis(2, 1, 4, device=device))
            self.assert_close(network(part), whole[1:4, 1:4, 1:4])

    def test_shift_by_a_voxel_is_shifted_crop(self) -> None:
        """A lattice may begin anywhere, also outside the box, and the points inside don't notice."""
        box = FieldBox(self.shapes[0])
        network = self.build_filled(box)
        whole = network(box.lattice())
        nz, ny, nx = box.shape
        shifted = network(Lattice(box.axis(0, 1, nz + 1), box.axis(1, -1, ny - 1), box.axis(2, -2, nx + 2)))
        assert bool(torch.isfinite(shifted).all())
        self.assert_close(shifted[1:, :-1, 2:-2], whole[:-1, 1:, :])

    @pytest.mark.parametrize("device", _DEVICES)
    def test_finer_lattice_contains_the_coarser(self, device: str) -> None:
        """Every third of thirds of a voxel is a voxel's centre."""
        for shape in self.shapes[:2]:
            box = FieldBox(shape)
            network = self.build_filled(box, device)
            fine = network(box.lattice(spacing=1 / 3, device=device))
            self.assert_close(fine[1::3, 1::3, 1::3], network(box.lattice(device=device)))

    def test_sub_voxel_shift_moves_the_field_a_little(self) -> None:
        """Values are those of the points asked for, not of the nearest voxels, and they change without jumps."""
        box = FieldBox((8, 12, 10))
        network = self.build_filled(box)

        def shifted(by: float) -> torch.Tensor:
            return network(Lattice(box.axis(0, by, 8 + by), box.axis(1, by, 12 + by), box.axis(2, by, 10 + by)))

        here = shifted(0.0)
        near, far = ((shifted(by) - here).square().mean().sqrt().item() for by in (0.02, 0.4))
        assert 0 < near < 0.5 * far

    def test_half_spacing_and_other_lattices_work(self) -> None:
        """Coarser, finer and uneven axes, down to a single point."""
        box = FieldBox(self.shapes[0])
        network = self.build_filled(box)
        for lattice in (
            box.lattice(spacing=0.5),
            box.lattice(spacing=2),
            Lattice(torch.tensor([-0.3, 0.1, 0.11]), torch.tensor([0.0]), torch.tensor([0.9, -0.9])),
            Lattice(torch.tensor([0.123]), torch.tensor([-0.2]), torch.tensor([0.05])),
        ):
            slices = network(lattice)
            assert slices.shape == lattice.shape
            assert bool(torch.isfinite(slices).all())

    @pytest.mark.parametrize("device", _DEVICES)
    def test_gradient_reaches_every_parameter(self, device: str) -> None:
        """From the first step on."""
        for shape in self.shapes[:2]:
            box = FieldBox(shape)
            network = self.build(box, device=device)
            slices = network(box.lattice(device=device))
            slices.backward(torch.randn(slices.shape, generator=torch.Generator().manual_seed(2)).to(device))
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None, name
                assert bool(torch.isfinite(parameter.grad).all()), name
                assert bool(parameter.grad.any()), f"{name} has a gradient of zeros"

    def test_fit_lowers_the_error(self) -> None:
        """A blob on nothing is learned from a few steps."""
        box = FieldBox((8, 10, 12))
        network, lattice = self.build(box), box.lattice()
        z, y, x = lattice.z[None, :, None], lattice.y[:, None, None], lattice.x
        target = torch.exp(-8 * (z.square() + y.square() + (x - 0.2).square()))
        suggested: dict[str, float] = getattr(network, "learning_rates", dict)()
        groups = [
            {"params": [parameter], "lr": self.fit_learning_rate * _rate(name, suggested)} for name, parameter in network.named_parameters()
        ]
        optimizer = torch.optim.Adam(groups)
        errors = []
        for _ in range(self.fit_steps):
            error = (network(lattice) - target).square().mean()
            errors.append(error.item())
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        assert errors[-1] < 0.5 * errors[0]

    def test_suggested_learning_rates_name_parameters(self) -> None:
        """``learning_rates`` is optional; what it names exists."""
        network = self.build(FieldBox(self.shapes[0]))
        names = [name for name, _ in network.named_parameters()]
        for prefix, rate in getattr(network, "learning_rates", dict)().items():
            assert any(name.startswith(prefix) for name in names), prefix
            assert math.isfinite(rate)
            assert rate > 0

    def test_state_dict_round_trip(self) -> None:
        """A checkpoint restores the field, as does a copy."""
        box = FieldBox(self.shapes[0])
        network = self.build_filled(box)
        expected = network(box.lattice())
        state = {name: value.clone() for name, value in network.state_dict().items()}
        restored = self.build(box, seed=9)
        restored.load_state_dict(state, strict=True)
        assert torch.equal(restored(box.lattice()), expected)
        assert torch.equal(copy.deepcopy(network)(box.lattice()), expected)

    def test_result_is_not_the_parameter(self) -> None:
        """The caller may work in place on what it got."""
        box = FieldBox(self.shapes[0])
        network = self.build_filled(box)
        with torch.no_grad():
            expected = network(box.lattice()).clone()
            network(box.lattice()).fill_(7)
            assert torch.equal(network(box.lattice()), expected)

    def test_autocast_keeps_the_field(self) -> None:
        """Under autocast the result is float32 still, and nearly the same."""
        box = FieldBox(self.shapes[0])
        network = self.build_filled(box)
        with torch.no_grad():
            expected = network(box.lattice())
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = network(box.lattice())
        assert found.dtype == torch.float32
        assert (found - expected).square().mean().sqrt().item() <= self.autocast_tolerance * expected.std().item()

    def test_memory_bound_holds_and_grows(self) -> None:
        """It covers what autograd keeps beside the parameters, and more points never need less."""
        box = FieldBox((16, 24, 20))
        network = self.build_filled(box)
        held = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in held:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            slices = network(box.lattice())
        assert network.memory_bytes((24, 16, 20)) >= sum(kept.values()) + 4 * slices.numel()
        bounds = [network.memory_bytes(shape) for shape in ((1, 16, 20), (2, 16, 20), (24, 16, 20), (24, 32, 40))]
        assert 0 < bounds[0] <= bounds[1] < bounds[2] < bounds[3]


def _rate(name: str, suggested: dict[str, float]) -> float:
    """Return the relative learning rate suggested for a parameter, 1 where none is."""
    return next((rate for prefix, rate in suggested.items() if name.startswith(prefix)), 1.0)
