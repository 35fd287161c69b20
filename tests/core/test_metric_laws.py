"""The laws of metrics themselves: a sound metric of another kind passes, and each fault is caught by its law."""

import math

import pytest
import torch

from wedge.contracts import Curve, MetricContext, MetricResult
from wedge.testing import MetricLaws


class MeanAbsolute:
    scope = "slice"
    better = "lower"

    def __call__(self, slices: torch.Tensor, references: torch.Tensor, data_range: float) -> torch.Tensor:
        return (slices - references).abs().mean(dim=(1, 2)) / data_range


class TestMeanAbsolute(MetricLaws):
    make = MeanAbsolute
    identity = 0.0
    symmetric = True


class Summed:
    """A sound volume metric, to be broken below."""

    scope = "volume"
    better = "lower"

    def __init__(self) -> None:
        self.sums: list[float] = []

    def start(self, context: MetricContext) -> None:
        self.sums = []

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        self.sums += (slices - references).abs().sum(dim=(1, 2)).tolist()

    def finish(self) -> MetricResult:
        return MetricResult({"": math.fsum(self.sums)}, per_slice=self.sums)


class PerSlab(Summed):
    def finish(self) -> MetricResult:
        return MetricResult({"": math.fsum(self.sums)}, curve=Curve("row", [0.0], {"a": [self.sums[0] + self.last_rows]}))

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        super().update(y_start, slices, references)
        self.last_rows = len(slices)


class Remembering(Summed):
    def start(self, context: MetricContext) -> None:
        """Keep what there was."""


class Overwriting(Summed):
    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        super().update(y_start, slices, references)
        slices -= references


class Short(Summed):
    def finish(self) -> MetricResult:
        return MetricResult({"": math.fsum(self.sums)}, per_slice=self.sums[1:])


class Reversed(Summed):
    better = "higher"


class Endless(Summed):
    def finish(self) -> MetricResult:
        return MetricResult({"": math.inf})


@pytest.mark.parametrize(
    ("faulty", "law"),
    [
        (PerSlab, lambda laws: laws.test_result_does_not_depend_on_slab_height(5)),
        (Remembering, lambda laws: laws.test_start_forgets()),
        (Overwriting, lambda laws: laws.test_inputs_stay_as_they_are()),
        (Short, lambda laws: laws.test_series_and_curves_have_their_lengths()),
        (Reversed, lambda laws: laws.test_identity_is_best()),
        (Endless, lambda laws: laws.test_value_is_finite("cpu")),
    ],
)
def test_each_fault_is_caught_by_its_law(faulty: type, law) -> None:
    sound, broken = MetricLaws(), MetricLaws()
    sound.make, broken.make = Summed, faulty  # type: ignore[method-assign]
    law(sound)
    with pytest.raises(AssertionError):
        law(broken)


def test_laws_say_what_to_override() -> None:
    with pytest.raises(NotImplementedError, match="must override make"):
        MetricLaws().test_declares_scope_and_direction()
