"""The threshold between two classes."""

import numpy as np
import pytest

from wedge.threshold import otsu_threshold


def test_two_separate_classes_are_parted_in_the_middle():
    values = np.concatenate([np.full(1000, -1.0), np.full(30, 3.0)])
    assert otsu_threshold(values) == pytest.approx(1.0, abs=0.02)


def test_it_is_that_of_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0, 1, 20000), random.normal(5, 1.5, 3000)])
    assert otsu_threshold(values.reshape(100, -1)) == pytest.approx(filters.threshold_otsu(values), abs=0.05)


def test_it_goes_with_scale_and_offset():
    values = np.random.default_rng(1).gamma(1.0, size=5000)
    assert otsu_threshold(-3 * values + 7) == pytest.approx(-3 * otsu_threshold(values) + 7, abs=0.1)


@pytest.mark.parametrize("values", [[4.0], [4.0, 4.0, 4.0]])
def test_values_that_are_all_alike_are_their_own_threshold(values):
    assert otsu_threshold(np.array(values)) == 4.0


def test_codes_have_one_too():
    codes = np.array([[0, 1, 2], [250, 255, 251]], np.uint8)
    assert 2 < otsu_threshold(codes) < 250
