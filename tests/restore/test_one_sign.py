"""The sign of restored density, and the background that is made flat where it has one."""

import numpy as np
import pytest
import torch

from wedge.fit.config import RestoreConfig
from wedge.restore.cubes import Cubes
from wedge.restore.halves import Pair, pair_of
from wedge.restore.lessons import FromMade
from wedge.restore.network import Restorer, half_turns
from wedge.restore.one_sign import Background, background_of
from wedge.restore.run import Halves, Restoration
from wedge.restore.training import Learning

ANGLES = tuple(np.linspace(-60, 60, 41))


def texture(like: torch.Tensor, strength: float) -> torch.Tensor:
    return strength * torch.from_numpy(np.random.default_rng(1).normal(size=like.shape)).float()


@pytest.fixture(scope="module")
def pair(rods: torch.Tensor) -> Pair:
    random = np.random.default_rng(0)
    first, second = (rods + torch.from_numpy(random.normal(scale=0.3, size=rods.shape)).float() for _ in range(2))
    return pair_of(first, second, ANGLES)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_density_with_one_sign_has_a_background_whatever_its_units(rods: torch.Tensor, sign: float) -> None:
    density = rods + texture(rods, 0.01)
    found = background_of(density * sign * 5 + 3, 0.2)
    assert found is not None
    assert found.sign == sign
    assert found.level == pytest.approx(3, abs=0.1)
    assert float((found.flat(density * sign * 5 + 3) * sign).min()) == pytest.approx(found.level * sign)
    assert ("below" if sign > 0 else "above") in str(found)


def test_what_lies_on_the_right_side_of_a_background_is_kept() -> None:
    density = torch.tensor([-2.0, -1.0, 0.0, 1.0])
    assert Background(-1.0, 1.0).flat(density).tolist() == [-1, -1, 0, 1]
    assert Background(-1.0, -1.0).flat(density).tolist() == [-2, -1, -1, -1]
    moved = Background(-1.0, -1.0).in_units(2.0, 5.0)
    assert torch.equal(moved.flat(2 * density + 5), 2 * Background(-1.0, -1.0).flat(density) + 5)


def test_density_with_both_signs_has_none(rods: torch.Tensor) -> None:
    fringes = rods - 0.5 * rods.roll(4, 0) - 0.5 * rods.roll(4, 2)
    assert background_of(fringes, 0.2) is None
    assert background_of(texture(rods, 1.0), 0.2) is None
    assert background_of(torch.full((8, 8, 8), 2.0), 0.2) is None
    assert background_of(rods + texture(rods, 0.01), 0.0) is None, "nobody has asked"


def test_what_is_learned_from_has_a_flat_background_where_density_has_one_sign(pair: Pair) -> None:
    torch.manual_seed(0)
    network, turns, cubes = Restorer(2), half_turns(ANGLES), Cubes(16, ANGLES, 0, torch.device("cpu"))
    plain, flat = (FromMade.by(network, pair, turns, cubes, 0, share).state()["made"] for share in (0.0, 0.5))
    level = background_of(plain, 0.5)
    assert level is not None
    expected = level.flat(plain)
    assert float((plain - expected).abs().max()) > 0.01
    torch.testing.assert_close(flat, expected - expected.mean())


@pytest.mark.parametrize("other_side", [0.0, 0.5])
def test_restored_density_keeps_nothing_beyond_its_background(pair: Pair, rods: torch.Tensor, other_side: float) -> None:
    config = RestoreConfig(steps=4, own_rounds=1, cube=16, channels=2, clear_above=1.0, other_side=other_side)
    learning = Learning(pair, ANGLES, config, 0, False)
    while learning.done < learning.steps:
        learning.step()
    first, second = (half * 7 + 40 for half in pair.halves)
    given = pair_of(first, second, ANGLES)
    restoration = Restoration.of(learning, given, ANGLES)
    made = restoration.rows(Halves(tuple(rods.shape), lambda low, high: (first[low:high], second[low:high])), 0, rods.shape[0])
    if other_side == 0:
        assert restoration.background is None
    else:
        assert restoration.background is not None
        beyond = (restoration.background.level - made) * restoration.background.sign
        assert float(beyond.max()) == 0
        assert float((beyond == 0).float().mean()) > 0.05
