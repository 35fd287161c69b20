"""The laws of regularizers."""

from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch

from wedge.contracts import RegularizerContext
from wedge.geometry import TiltGeometry
from wedge.lattice import Lattice

_DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


class RegularizerLaws:
    """What every regularizer must do. Subclass it and override `make`.

    A regularizer may declare, as class attributes, ``zero_for_constant = True``; ``homogeneity = d``: multiplying the density by
    ``a > 0`` multiplies the penalty by ``a ** d``; and ``of_slices_alone = True``: of its context it looks at the interior and the spacing
    alone. What is declared is checked.

    Examples
    --------
    >>> class TestMine(RegularizerLaws):  # doctest: +SKIP
    ...     def make(self, geometry):
    ...         return MyRegularizer(geometry, MyOptions())
    """

    shape: ClassVar[tuple[int, int, int]] = (16, 12, 20)
    """``(z, y, x)`` of the volume."""
    tilt_angles_deg: ClassVar[tuple[float, ...]] = tuple(float(angle) for angle in range(-60, 61, 6))
    """A series coarse enough for a Crowther frequency below Nyquist."""
    tolerance: ClassVar[float] = 1e-4
    """Relative difference between two ways to the same value."""
    homogeneity_tolerance: ClassVar[float] = 0.01
    """The same for the declared degree, where a smoothed corner makes it approximate."""

    def make(self, geometry: TiltGeometry) -> Any:
        """Build the regularizer for this geometry."""
        raise NotImplementedError(f"{type(self).__name__} must override make(geometry): return an instance of the regularizer")

    # What the laws need.

    def build(self) -> Any:
        """Build for the volume of the laws."""
        nz, ny, nx = self.shape
        return self.make(TiltGeometry(self.tilt_angles_deg, (ny, nx), (nz, ny, nx)))

    def density(self, device: str = "cpu") -> torch.Tensor:
        """Return random ``(y, z, x)`` density of both signs."""
        nz, ny, nx = self.shape
        return torch.randn(ny, nz, nx, generator=torch.Generator().manual_seed(0)).to(device)

    def context(self, interior: slice, device: str = "cpu") -> RegularizerContext:
        """Return a context in the middle of a fit; its field is smooth, and no part of the slices."""

        def field(lattice: Lattice) -> torch.Tensor:
            return torch.sin(3 * lattice.y)[:, None, None] + torch.cos(2 * lattice.z)[:, None] * lattice.x

        return RegularizerContext(interior, 1.0, 5, 10, torch.Generator(device=device).manual_seed(4), field)

    def penalty(self, slices: torch.Tensor, start: int = 0, stop: int | None = None, regularizer: Any = None) -> torch.Tensor:
        """Return the penalty of rows ``start`` to ``stop``, handing over the halo that is declared and exists."""
        regularizer = self.build() if regularizer is None else regularizer
        stop = len(slices) if stop is None else stop
        first, last = max(0, start - regularizer.halo_rows), min(len(slices), stop + regularizer.halo_rows)
        return regularizer(slices[first:last], self.context(slice(start - first, stop - first), slices.device.type))

    # The laws.

    @pytest.mark.parametrize("device", _DEVICES)
    def test_penalty_is_a_non_negative_scalar(self, device: str) -> None:
        """For density of both signs, for its negative, and on every device."""
        density = self.density(device)
        for slices in (density, -density, density.abs()):
            value = self.penalty(slices)
            assert value.shape == ()
            assert value.dtype == torch.float32
            assert value.device == slices.device
            assert bool(torch.isfinite(value))
            assert float(value) >= 0

    @pytest.mark.parametrize("device", _DEVICES)
    def test_gradient_is_finite(self, device: str) -> None:
        """At random density, at none at all and at a constant: a fit starts there."""
        for slices in (self.density(device), torch.zeros_like(self.density(device)), torch.full_like(self.density(device), -2.0)):
            slices = slices.requires_grad_()
            self.penalty(slices).backward()
            assert bool(torch.isfinite(_gradient(slices)).all())

    def test_descent_lowers_the_penalty(self) -> None:
        """The gradient is that of the value: a small step against it gains what it promises."""
        slices = self.density().requires_grad_()
        before = self.penalty(slices)
        before.backward()
        promised = 1e-3 * float(before.detach())
        gradient = _gradient(slices)
        after = self.penalty(slices.detach() - gradient * promised / gradient.square().sum())
        assert float(before.detach() - after) == pytest.approx(promised, rel=0.2)

    def test_what_is_of_slices_alone_looks_at_nothing_else(self) -> None:
        """Step, random numbers and field change nothing, where that is declared."""
        regularizer, slices = self.build(), self.density()
        if not getattr(regularizer, "of_slices_alone", False):
            pytest.skip("declares nothing of the kind")

        def field(lattice: Lattice) -> torch.Tensor:
            raise AssertionError("the field was asked for")

        other = RegularizerContext(slice(0, len(slices)), 1.0, 9, 10, torch.Generator().manual_seed(7), field)
        assert torch.equal(regularizer(slices, other), self.penalty(slices, regularizer=regularizer))

    @pytest.mark.parametrize("borders", [(0, 6, 12), (0, 1, 2, 12), (0, 5, 7, 12), tuple(range(13))])
    def test_slabs_add_up_to_the_whole(self, borders: tuple[int, ...]) -> None:
        """Means over slabs, weighted by their rows, are the mean over all: the result doesn't depend on slab height."""
        slices = self.density()
        parts = [float(self.penalty(slices, a, b)) * (b - a) for a, b in pairwise(borders)]
        assert sum(parts) / len(slices) == pytest.approx(float(self.penalty(slices)), rel=self.tolerance, abs=1e-7)

    def test_gradients_of_slabs_add_up(self) -> None:
        """Halo rows carry gradient where the penalty reads them."""
        whole, split = (self.density().requires_grad_() for _ in range(2))
        self.penalty(whole).backward()
        for a, b in ((0, 5), (5, 12)):
            (self.penalty(split, a, b) * (b - a) / len(split)).backward()
        assert torch.allclose(_gradient(split), _gradient(whole), rtol=1e-3, atol=1e-4 * float(_gradient(whole).abs().max()))

    def test_rows_beyond_the_halo_do_not_matter(self) -> None:
        """Nor does it if more halo is handed over than was asked for."""
        regularizer, slices = self.build(), self.density()
        halo = regularizer.halo_rows + 2
        expected = float(self.penalty(slices, 5, 7, regularizer))
        found = regularizer(slices[5 - halo : 7 + halo], self.context(slice(halo, halo + 2)))
        assert float(found) == pytest.approx(expected, rel=self.tolerance)

    def test_same_context_gives_the_same_penalty(self) -> None:
        """From one instance or two; random numbers come from the context alone."""
        slices, regularizer = self.density(), self.build()
        first, second, third = (self.penalty(slices, regularizer=which) for which in (regularizer, regularizer, self.build()))
        assert torch.equal(first, second)
        assert torch.equal(first, third)

    def test_slices_stay_as_they_are(self) -> None:
        """Other penalties get the same slices."""
        slices = self.density()
        before = slices.clone()
        self.penalty(slices)
        assert torch.equal(slices, before)

    def test_constant_law(self) -> None:
        """A constant costs nothing, where that is declared."""
        if not getattr(self.build(), "zero_for_constant", False):
            pytest.skip("not declared to be zero for a constant")
        for value in (0.0, 1.0, -3.0):
            assert float(self.penalty(torch.full_like(self.density(), value))) == pytest.approx(0, abs=1e-6)

    def test_homogeneity_law(self) -> None:
        """Twice the density costs ``2 ** homogeneity`` times as much, where that is declared."""
        degree = getattr(self.build(), "homogeneity", None)
        if degree is None:
            pytest.skip("no homogeneity declared")
        once, twice = (float(self.penalty(factor * self.density())) for factor in (1, 2))
        assert twice == pytest.approx(2**degree * once, rel=self.homogeneity_tolerance)


def _gradient(tensor: torch.Tensor) -> torch.Tensor:
    """Return what backward left in a tensor."""
    assert tensor.grad is not None, "no gradient"
    return tensor.grad
