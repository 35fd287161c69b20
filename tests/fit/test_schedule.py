"""Laws of the schedules: functions of the step alone, continuous where they should be, ending where they are told to."""

from itertools import pairwise

import pytest

from wedge.fit.config import ComponentChoice, FitConfig, RegularizerChoice
from wedge.fit.schedule import learning_rate_factor, regularizer_weight

STEPS = 1000


def config(**settings) -> FitConfig:
    return FitConfig(network=ComponentChoice(name="voxel"), projector=ComponentChoice(name="torch"), **settings)


def factors(num_steps: int = STEPS, **settings) -> list[float]:
    return [learning_rate_factor(config(**settings), step, num_steps) for step in range(num_steps)]


@pytest.mark.parametrize("schedule", ["cosine", "constant", "exponential"])
def test_warmup_rises_linearly_to_the_full_rate_and_no_further(schedule):
    found = factors(schedule=schedule, warmup=0.1)
    rises = [b - a for a, b in pairwise(found[:101])]
    assert rises == pytest.approx([rises[0]] * 100, rel=1e-6)
    assert 0 < found[0] < 0.02
    assert found[100] == 1.0
    assert max(found) == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_rate_falls_steadily_to_the_final_one(schedule):
    found = factors(schedule=schedule, warmup=0.0, final_learning_rate=0.05)
    assert found[0] == 1.0
    assert all(a > b for a, b in pairwise(found))
    assert found[-1] == pytest.approx(0.05, rel=1e-2)
    assert learning_rate_factor(config(schedule=schedule, warmup=0.0, final_learning_rate=0.05), STEPS, STEPS) == pytest.approx(0.05)


def test_halfway_tells_the_schedules_apart():
    settings = {"warmup": 0.0, "final_learning_rate": 0.04}
    assert factors(schedule="cosine", **settings)[STEPS // 2] == pytest.approx(0.52)
    assert factors(schedule="exponential", **settings)[STEPS // 2] == pytest.approx(0.2)
    assert factors(schedule="constant", **settings) == [1.0] * STEPS


@pytest.mark.parametrize("num_steps", [1, 2, 3, 17])
@pytest.mark.parametrize("warmup", [0.0, 0.02, 0.5, 0.999])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "exponential"])
def test_every_step_of_a_short_fit_moves(num_steps, warmup, schedule):
    assert all(0 < factor <= 1 for factor in factors(num_steps, schedule=schedule, warmup=warmup))


def weights(**settings) -> list[float]:
    return [regularizer_weight(RegularizerChoice(name="tv", **settings), step, STEPS) for step in range(STEPS + 1)]


def test_weight_stays_unless_told_otherwise():
    assert weights(weight=0.3) == [0.3] * (STEPS + 1)


def test_weight_changes_geometrically_from_its_start_to_the_end():
    found = weights(weight=1.0, final_weight=0.01, start=0.5)
    assert found[:500] == [0.0] * 500
    assert found[500] == 1.0
    assert found[750] == pytest.approx(0.1)
    assert found[-1] == pytest.approx(0.01)
    ratios = [b / a for a, b in pairwise(found[500:])]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


def test_weight_may_grow():
    assert weights(weight=0.01, final_weight=1.0)[-1] == pytest.approx(1.0)


def test_no_weight_is_no_weight():
    assert set(weights(weight=0.0)) == {0.0}
    assert set(weights(weight=0.0, final_weight=0.0)) == {0.0}


@pytest.mark.parametrize("settings", [{"weight": 0.0, "final_weight": 1.0}, {"weight": 1.0, "final_weight": 0.0}])
def test_geometric_change_needs_two_positive_weights(settings):
    with pytest.raises(ValueError, match="geometrically"):
        RegularizerChoice(name="tv", **settings)


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"start": 1.0}, {"start": -0.1}])
def test_weights_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"weight|start"):
        RegularizerChoice(name="tv", **settings)
