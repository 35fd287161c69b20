import numpy as np
import pytest

from wedge.statistics import RunningStatistics


def test_blocks_give_the_statistics_of_the_whole():
    values = (np.random.default_rng(0).normal(size=1000) + 30000).astype(np.float32)
    seen = RunningStatistics()
    for block in np.split(values, [1, 10, 700]):
        seen.update(block)
    assert (seen.minimum, seen.maximum, seen.count) == (values.min(), values.max(), 1000)
    assert seen.mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-12)
    assert seen.std == pytest.approx(values.std(dtype=np.float64), rel=1e-9)


def test_values_that_are_not_finite_are_counted_apart():
    seen = RunningStatistics()
    seen.update(np.array([np.nan, 1.0, np.inf, 3.0]))
    assert (seen.num_not_finite, seen.count, seen.mean, seen.maximum) == (2, 2, 2.0, 3.0)


def test_whole_numbers_do_not_wrap():
    seen = RunningStatistics()
    seen.update(np.array([0, 65535], dtype=np.uint16))
    assert (seen.mean, seen.std) == (32767.5, 32767.5)


def test_nothing_seen_has_no_mean():
    assert np.isnan(RunningStatistics().mean)
    assert np.isnan(RunningStatistics().std)
