"""Laws of emptying a sum: by what, how thoroughly, and how bright what is left has to be."""

import numpy as np
import pytest
import torch

from wedge.fit.emptied import Emptying, UnseenViews, emptied, find_emptying, share_filled, usually_below
from wedge.fit.stack import Stack, knots
from wedge.fit.stack_finish import with_finish
from wedge.geometry import TiltGeometry

SHAPE = (20, 24, 28)
CPU = torch.device("cpu")


def noise(strength: float, seed: int) -> torch.Tensor:
    return strength * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def balls() -> torch.Tensor:
    """Balls that are as bright inside as they are at their faces."""
    z, y, x = torch.meshgrid(*[torch.arange(count, dtype=torch.float32) for count in SHAPE], indexing="ij")
    found = torch.zeros(SHAPE)
    for centre in ((6, 6, 6), (13, 17, 9), (8, 12, 21)):
        found[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 20] = 1.0
    return found


def views(density: torch.Tensor) -> np.ndarray:
    """Two views, along z and along x."""
    return torch.stack([density.sum(1), density.sum(2)[:, :, None].expand(-1, -1, 28).mean(1)], 1).numpy()


def found(total: torch.Tensor, sources: dict[int, torch.Tensor], truth: torch.Tensor, more: float = 1.0) -> Emptying:
    return find_emptying(total, sources, UnseenViews(views, more * views(truth)), 1.0)


def test_empty_is_what_the_estimate_says_that_predicts_best(balls: torch.Tensor) -> None:
    everywhere, total = balls + 0.5, balls + noise(0.3, 0)
    assert found(total, {3: everywhere, 8: balls}, balls).by == 8
    assert found(total, {3: balls, 8: everywhere}, balls).by == 3
    assert found(total, {3: balls, 8: balls.clone()}, balls).by == 3, "the first where both say the same"


def test_a_specimen_that_is_full_or_empty_is_emptied_more_thoroughly_than_one_of_all_shades(balls: torch.Tensor) -> None:
    background = 0.15 + noise(0.02, 1)
    thorough = found(balls + background, {0: balls + background}, balls)
    assert thorough.below >= 2 * usually_below(1.0)
    shades = torch.linspace(0.05, 1, SHAPE[2]).expand(SHAPE).contiguous()
    assert found(shades + noise(0.02, 2), {0: shades}, shades).below == usually_below(1.0)
    assert found(shades + noise(0.02, 2), {0: shades}, shades, 0.85).below == usually_below(1.0), "fainter, but not emptier"


@pytest.mark.parametrize(("more", "expected"), [(1.1, 1.1), (0.9, 0.9), (3.0, 1.25), (0.1, 0.8)])
def test_what_is_left_is_as_bright_as_views_say_within_bounds(balls: torch.Tensor, more: float, expected: float) -> None:
    full = torch.ones(SHAPE)
    how = found(balls, {0: full}, balls, more)
    assert how.scale == pytest.approx(expected, rel=1e-3)
    total = emptied(balls, full, 0, SHAPE[0], 1.0, how)
    assert torch.allclose(total, how.scale * balls)


def test_neither_units_nor_how_bright_the_sum_is_change_how_it_is_emptied(balls: torch.Tensor) -> None:
    total, sources = balls + 0.15 + noise(0.02, 1), {2: balls + 0.1, 5: balls + noise(0.1, 5)}
    how = found(total, sources, balls)
    in_units = found(100 * total, {place: 100 * by for place, by in sources.items()}, 100 * balls)
    for other, brighter in ((in_units, 1.0), *((found(total, sources, balls, more), more) for more in (0.95, 1.15))):
        assert (other.by, other.below) == (how.by, how.below)
        assert other.scale == pytest.approx(brighter * how.scale, rel=1e-3)


def test_nothing_at_all_is_emptied_as_ever() -> None:
    nothing = torch.zeros(SHAPE)
    assert found(nothing, {4: nothing}, nothing) == Emptying(4, usually_below(1.0), 1.0)


def test_what_is_kept_rises_to_the_density_below_which_there_is_nothing(balls: torch.Tensor) -> None:
    once, thrice = (share_filled(0.2 * balls, 0, SHAPE[0], below) for below in (0.2, 0.6))
    full = share_filled(balls, 0, SHAPE[0], 0.2)
    inside = full == 1
    assert torch.allclose(once / 3, thrice)
    assert float(once[inside].max()) <= 1
    assert inside.any()


@pytest.mark.parametrize("learned", [False, True])
def test_a_stack_is_told_how_its_sum_is_finished(balls: torch.Tensor, learned: bool) -> None:
    """By what a network has learned where that knows better what is empty, by the best fit where there is none."""
    densities = [balls + noise(0.3, 3), balls + 0.5, *([balls + noise(0.2, 4), balls] if learned else [])]
    weights = np.zeros((len(densities), len(knots())))
    weights[0] = 1.0
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 21)), (SHAPE[0], SHAPE[2]), (SHAPE[1], SHAPE[0], SHAPE[2]))
    stack = with_finish(
        Stack(weights, 1, 1.0, 1.0),
        [each.half() for each in densities],
        2 * learned,
        0,
        UnseenViews(views, views(balls)),
        geometry,
        1.0,
        CPU,
    )
    by = 3 if learned else 1
    expected = found(densities[0].half().float(), {by: densities[by].half().float()}, balls)
    assert (stack.emptying.by, stack.emptying.below) == (by, expected.below)
    assert stack.emptying.scale == pytest.approx(expected.scale, rel=1e-4)
    assert stack.rest_of == (2 if learned else None)
