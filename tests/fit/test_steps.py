"""Laws of what an optimizer step sees and how far it goes."""

import numpy as np
import pytest
import torch

from wedge.fit.config import ComponentChoice, FitConfig
from wedge.fit.model import Field, build_optimizer


def config(**settings) -> FitConfig:
    return FitConfig(network=ComponentChoice(name="voxel"), projector=ComponentChoice(name="torch"), **settings)


@pytest.mark.parametrize(("num_rows", "rows"), [(1, 1), (7, 1), (8, 1), (9, 2), (64, 8), (100, 13), (1024, 128)])
def test_auto_is_an_eighth_of_the_rows(num_rows, rows):
    assert config(batch_rows="auto").rows_per_step(num_rows) == rows


def test_a_given_batch_holds_at_most_all_rows():
    assert config(batch_rows=16).rows_per_step(100) == 16
    assert config(batch_rows=16).rows_per_step(5) == 5


@pytest.mark.parametrize("wrong", [0, -1, "all", 1.5])
def test_a_batch_is_auto_or_a_positive_number(wrong):
    with pytest.raises(ValueError, match="batch_rows"):
        config(batch_rows=wrong)


class Values(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.zeros(2))


def first_step(gradient: list[float], epsilon: float) -> np.ndarray:
    field = Field(Values(), positive=False, half_precision=False)
    optimizer = build_optimizer(field, 0.1, (0.9, 0.99), epsilon)
    field.network.values.grad = torch.tensor(gradient)
    optimizer.step()
    return field.network.values.detach().numpy()


def test_gradients_far_below_the_floor_make_steps_in_proportion_and_those_above_do_not():
    assert first_step([1e-3, 1e-4], 1e-8) == pytest.approx([-0.1, -0.1], rel=1e-3)
    small = first_step([1e-4, 1e-5], 1e-2)
    assert small == pytest.approx([-0.001, -0.0001], rel=0.02)
    assert first_step([1.0, 10.0], 1e-2) == pytest.approx([-0.1, -0.1], rel=0.02)
