"""Laws of two halves of one series."""

from dataclasses import replace

import numpy as np
import pytest

from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fit.halves import pair_halves
from wedge.geometry import TiltGeometry

GEOMETRY = TiltGeometry((-10.0, 0.0, 10.0), (4, 5), (6, 4, 5))


def half(seed: int) -> TiltSeries:
    return TiltSeries(np.random.default_rng(seed).random((3, 4, 5), dtype=np.float32), GEOMETRY, f"half {seed}")


def test_the_mean_is_read_like_an_array():
    first, second = half(1), half(2)
    mean = pair_halves(first, second).mean
    expected = (first.array + second.array) / 2
    assert mean.array.shape == (3, 4, 5)
    assert np.array_equal(mean.array[:, 1:3, :], expected[:, 1:3, :])
    assert mean.geometry == GEOMETRY


def test_their_difference_tells_the_noise_of_their_mean():
    random = np.random.default_rng(0)
    signal = random.normal(scale=5, size=(30, 40, 50))
    # Neighbours have the same noise: second differences would see nothing of it.
    first, second = (signal + np.repeat(random.normal(scale=2, size=(30, 40, 1)), 50, axis=2) for _ in range(2))
    weights = np.ones((30, 40, 50))
    first[:, :5], weights[:, :5] = 100.0, 0.0
    geometry = TiltGeometry(tuple(np.linspace(-58, 58, 30)), (40, 50), (6, 40, 50))
    pair = pair_halves(*(TiltSeries(array.astype(np.float32), geometry, "half") for array in (first, second)))
    assert pair.noise_variance(lambda series: np.asarray(series.array), weights) == pytest.approx(2, rel=0.15)


def test_halves_of_other_views_are_refused():
    with pytest.raises(InputError, match=r"halves differ in shape.*\(3, 4, 5\).*\(2, 4, 5\)"):
        pair_halves(half(1), replace(half(2), array=half(2).array[:2]))
    other = replace(GEOMETRY, tilt_angles_deg=(-10.0, 0.0, 11.0))
    with pytest.raises(InputError, match=r"halves differ in tilt angles by up to 1\.00 degrees"):
        pair_halves(half(1), replace(half(2), geometry=other))
