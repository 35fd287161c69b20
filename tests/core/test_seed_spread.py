"""The spread between volumes that differ by their seed alone."""

import numpy as np
import pytest

from wedge.data import Volume
from wedge.seed_spread import relative_spread, seed_groups

SHAPE = (4, 21, 6)


def made(seed: int, passes: int = 3, data: str = "a") -> Volume:
    config = {"fit": {"seed": seed, "passes": passes}, "input": {}}
    return Volume(np.zeros(SHAPE, np.float32), provenance={"config": config, "inputs": [{"path": f"{seed}", "blake2b": data}]})


def test_alike_are_volumes_of_one_input_and_setting_with_seeds_of_their_own() -> None:
    volumes = [made(0), made(1), made(1, passes=4), made(0, data="b"), made(2), made(2), Volume(np.zeros(SHAPE, np.float32))]
    assert seed_groups(volumes) == [[0, 1, 4]]


def test_spread_is_the_deviation_over_seeds_relative_to_the_densitys() -> None:
    random = np.random.default_rng(0)
    density = 5 * random.standard_normal(SHAPE) + 100
    stack = [density + random.standard_normal(SHAPE) for _ in range(3)]
    expected = np.sqrt(np.var(stack, axis=0, ddof=1).mean()) / np.mean(stack, axis=0).std()
    assert relative_spread([Volume(part.astype(np.float32)) for part in stack]) == pytest.approx(expected, rel=1e-4)
    assert relative_spread([made(0), made(1)]) != relative_spread([made(0), made(1)])  # undefined where there is no density
