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


def test_halves_of_other_views_are_refused():
    with pytest.raises(InputError, match=r"halves differ in shape.*\(3, 4, 5\).*\(2, 4, 5\)"):
        pair_halves(half(1), replace(half(2), array=half(2).array[:2]))
    other = replace(GEOMETRY, tilt_angles_deg=(-10.0, 0.0, 11.0))
    with pytest.raises(InputError, match=r"halves differ in tilt angles by up to 1\.00 degrees"):
        pair_halves(half(1), replace(half(2), geometry=other))
