import numpy as np
import pytest

from wedge.errors import UsageError
from wedge.noise import add_poisson

CLEAN = np.broadcast_to(np.array([0.0, 0.5, 2.0, 8.0], dtype=np.float32)[None, :, None], (4, 4, 20000))


@pytest.mark.parametrize("eta", [0.05, 0.3, 1.0])
def test_noise_keeps_the_mean_and_has_the_documented_variance(eta):
    noisy = add_poisson(CLEAN, 0, mean_projection=2.0, eta=eta, seed=3)
    count = 4 * 20000
    for level in range(4):
        value = float(CLEAN[0, level, 0])
        variance = eta**2 * 2.0 * value
        sample = noisy[:, level].astype(np.float64)
        assert sample.mean() == pytest.approx(value, abs=5 * np.sqrt(variance / count) + 1e-6)
        assert sample.var() == pytest.approx(variance, rel=0.05, abs=1e-9)


def test_relative_noise_of_the_mean_projection_is_eta():
    noisy = add_poisson(np.full((2, 10, 5000), 3.0, dtype=np.float32), 0, mean_projection=3.0, eta=0.2, seed=0)
    assert noisy.std() / 3.0 == pytest.approx(0.2, rel=0.02)


def test_level_zero_is_no_noise():
    np.testing.assert_array_equal(add_poisson(CLEAN, 0, mean_projection=2.0, eta=0.0, seed=1), CLEAN)


def test_noise_scales_with_the_intensities():
    once = add_poisson(CLEAN, 0, mean_projection=2.0, eta=0.3, seed=1)
    thousandfold = add_poisson(CLEAN * 1000, 0, mean_projection=2000.0, eta=0.3, seed=1)
    np.testing.assert_allclose(thousandfold, once * 1000, rtol=1e-5)


def test_noise_does_not_depend_on_slab_height():
    whole = add_poisson(CLEAN, 5, mean_projection=2.0, eta=0.5, seed=7)
    parts = [add_poisson(CLEAN[i : i + 1], 5 + i, mean_projection=2.0, eta=0.5, seed=7) for i in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_rows_and_seeds_differ():
    noisy = add_poisson(CLEAN, 0, mean_projection=2.0, eta=0.5, seed=7)
    assert not np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy, add_poisson(CLEAN, 0, mean_projection=2.0, eta=0.5, seed=8))


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_refuses_levels_outside_zero_to_one(eta):
    with pytest.raises(UsageError, match="eta"):
        add_poisson(CLEAN, 0, mean_projection=2.0, eta=eta, seed=0)


def test_refuses_noise_on_nothing():
    with pytest.raises(UsageError, match="mean projection"):
        add_poisson(CLEAN, 0, mean_projection=0.0, eta=0.5, seed=0)
