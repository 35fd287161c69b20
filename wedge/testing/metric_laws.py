"""The laws of metrics."""

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from wedge.data import Volume
from wedge.evaluate import Evaluation, evaluate
from wedge.fourier import missing_mask

_ANGLES = tuple(float(angle) for angle in range(-60, 61, 4))
_DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


class MetricLaws:
    """What every metric must do. Subclass it and override `make`; say in the attributes which further laws hold.

    Examples
    --------
    >>> class TestMine(MetricLaws):  # doctest: +SKIP
    ...     scale_invariant = True
    ...
    ...     def make(self):
    ...         return MyMetric(MyOptions())
    """

    shape: ClassVar[tuple[int, int, int]] = (24, 21, 40)
    """``(z, y, x)`` of the test volumes."""
    identity: ClassVar[float | None] = None
    """The value of a volume compared with itself, where it is a definite number."""
    scale_invariant: ClassVar[bool] = False
    """Whether multiplying the volume by a positive number leaves the value."""
    symmetric: ClassVar[bool] = False
    """Whether volume and reference may change places, the data range being equal."""
    slab_tolerance: ClassVar[float] = 1e-6
    """Relative difference that slabs of another height may make."""

    def make(self) -> Any:
        """Build the metric."""
        raise NotImplementedError(f"{type(self).__name__} must override make(): return an instance of the metric")

    # What the laws need.

    def reference(self) -> np.ndarray:
        """Return a smooth random ``(z, y, x)`` float32 volume."""
        return _smooth(np.random.default_rng(1).standard_normal(self.shape), 1.0)

    def degraded(self, strength: float = 1.0) -> np.ndarray:
        """Return the reference with its missing wedge weakened and its detail blurred."""
        weakened = _smooth(self.reference(), 0.8 * strength)
        mask = missing_mask((self.shape[0], self.shape[2]), _ANGLES).numpy()[:, None, :]
        spectrum = np.fft.fft2(weakened, axes=(0, 2))
        return np.fft.ifft2(np.where(mask, spectrum / (1 + 4 * strength), spectrum), axes=(0, 2)).real.astype(np.float32)

    def score(
        self,
        volume: np.ndarray,
        reference: np.ndarray,
        *,
        metric: Any = None,
        slab_rows: int = 8,
        angles: tuple[float, ...] | None = _ANGLES,
        device: str = "cpu",
    ) -> Evaluation:
        """Run the metric over two volumes as they are; it is called "m" in the result."""
        chosen = self.make() if metric is None else metric
        return evaluate(
            Volume(volume, 10.0, "volume", angles),
            Volume(reference, 10.0, "reference"),
            [("m", chosen)],
            intensity_fit="none",
            slab_rows=slab_rows,
            device=device,
        )

    def is_worse(self, value: float, than: float) -> bool:
        """Compare in the direction that the metric declares."""
        return value < than if self.make().better == "higher" else value > than

    # The laws.

    def test_declares_scope_and_direction(self) -> None:
        """The evaluator and tables go by them."""
        metric = self.make()
        assert metric.scope in ("slice", "volume")
        assert metric.better in ("higher", "lower")
        assert isinstance(getattr(metric, "unit", ""), str)

    @pytest.mark.parametrize("device", _DEVICES)
    def test_value_is_finite(self, device: str) -> None:
        """On every device, for equal and for unequal volumes; a metric that only says nan or infinity can't be tabulated."""
        for volume in (self.reference(), self.degraded()):
            value = self.score(volume, self.reference(), device=device).values["m"]
            assert isinstance(value, float)
            assert math.isfinite(value)

    def test_identity_is_best(self) -> None:
        """Nothing scores better than the reference itself, and more damage scores worse."""
        best, good, bad = (
            self.score(volume, self.reference()).values["m"] for volume in (self.reference(), *map(self.degraded, (0.5, 2.0)))
        )
        assert self.is_worse(good, than=best)
        assert self.is_worse(bad, than=good)
        if self.identity is not None:
            assert best == pytest.approx(self.identity, rel=1e-6)
        # What a report takes for right.
        assert best == pytest.approx(getattr(self.make(), "ideal", best), rel=1e-6)

    @pytest.mark.parametrize("slab_rows", [1, 5, 21])
    def test_result_does_not_depend_on_slab_height(self, slab_rows: int) -> None:
        """Every value, series and curve: what is a slab is decided by memory."""
        expected = self.score(self.degraded(), self.reference(), slab_rows=8)
        found = self.score(self.degraded(), self.reference(), slab_rows=slab_rows)
        tolerance = self.slab_tolerance
        assert found.values == pytest.approx(expected.values, rel=tolerance, abs=tolerance, nan_ok=True)
        assert found.per_slice.keys() == expected.per_slice.keys()
        for name, series in expected.per_slice.items():
            assert found.per_slice[name] == pytest.approx(series, rel=tolerance, abs=tolerance, nan_ok=True)
        for name, curve in expected.curves.items():
            for key, series in curve.series.items():
                assert found.curves[name].series[key] == pytest.approx(series, rel=tolerance, abs=tolerance, nan_ok=True)

    def test_start_forgets(self) -> None:
        """One instance scores volume after volume, and says the same of the same."""
        metric = self.make()
        first = self.score(self.degraded(), self.reference(), metric=metric)
        self.score(self.reference(), self.degraded(), metric=metric)
        again = self.score(self.degraded(), self.reference(), metric=metric)
        assert again.values == pytest.approx(first.values, nan_ok=True)

    def test_series_and_curves_have_their_lengths(self) -> None:
        """One value per y-row; as many values of each curve as of its x."""
        found = self.score(self.degraded(), self.reference())
        for series in found.per_slice.values():
            assert len(series) == self.shape[1]
        for curve in found.curves.values():
            assert curve.series
            assert all(len(series) == len(curve.x) for series in curve.series.values())

    def test_inputs_stay_as_they_are(self) -> None:
        """Other metrics get the same slabs."""
        context_free = self.make()
        volume, reference = (torch.from_numpy(array.transpose(1, 0, 2).copy()) for array in (self.degraded(), self.reference()))
        before = volume.clone(), reference.clone()
        if context_free.scope == "slice":
            context_free(volume, reference, 1.0)
        else:
            from wedge.contracts import MetricContext

            context_free.start(MetricContext(self.shape, 1.0, _ANGLES))
            context_free.update(0, volume, reference)
            context_free.finish()
        assert torch.equal(volume, before[0])
        assert torch.equal(reference, before[1])

    def test_flat_rows_do_not_spoil_the_value(self) -> None:
        """Rows beside the specimen are empty; they may have no value, the volume has one."""
        reference, volume = self.reference(), self.degraded()
        reference[:, :3], volume[:, :3] = 0.25, 0.25
        assert math.isfinite(self.score(volume, reference).values["m"])

    def test_thin_volume_has_a_value(self) -> None:
        """Five voxels of z are a volume too."""
        assert math.isfinite(self.score(self.degraded()[:5], self.reference()[:5]).values["m"])

    def test_missing_angles_are_no_fault(self) -> None:
        """Values that need them may be missing or nan, but nothing fails."""
        assert "m" in self.score(self.degraded(), self.reference(), angles=None).values

    def test_scale_law(self) -> None:
        """Twice the density, the same value, where the metric says so."""
        if not self.scale_invariant:
            pytest.skip("not declared scale-invariant")
        once, twice = (self.score(factor * self.degraded(), self.reference()).values["m"] for factor in (1, 2))
        assert twice == pytest.approx(once, rel=1e-5)

    def test_symmetry_law(self) -> None:
        """Volume and reference change places, where the metric says so."""
        if not self.symmetric:
            pytest.skip("not declared symmetric")
        volume, reference = self.degraded(), self.reference()
        low, high = float(reference.min()), float(reference.max())
        volume = low + (volume - volume.min()) * np.float32((high - low) / (volume.max() - volume.min()))
        assert self.score(volume, reference).values["m"] == pytest.approx(self.score(reference, volume).values["m"], rel=1e-5)


def _smooth(volume: np.ndarray, sigma: float) -> np.ndarray:
    """Return a Gaussian blur of ``(z, y, x)``, periodic at the edges, float32."""
    squared = sum(np.square(np.fft.fftfreq(n)).reshape([-1 if axis == i else 1 for i in range(3)]) for axis, n in enumerate(volume.shape))
    blurred = np.fft.ifftn(np.fft.fftn(volume) * np.exp(-2 * (np.pi * sigma) ** 2 * squared)).real
    return blurred.astype(np.float32)
