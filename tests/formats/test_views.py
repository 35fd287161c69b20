import numpy as np
import pytest

from wedge.data import TiltSeries
from wedge.errors import UsageError
from wedge.formats.views import select_views
from wedge.geometry import TiltGeometry
from wedge.slabs import read_sinograms

ANGLES = (40.0, -60.0, 20.0, -20.0, 60.0)


@pytest.fixture
def tilts():
    stack = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    return TiltSeries(stack, TiltGeometry(ANGLES, (4, 3), (3, 4, 3), acquisition_order=(3, 0, 2, 1, 4)), "series")


def test_views_within_the_range_are_kept_with_their_angles(tilts):
    chosen = select_views(tilts, (-20, 60), [2])
    assert chosen.geometry.tilt_angles_deg == (40, -20, 60)
    assert chosen.geometry.acquisition_order == (1, 0, 2)
    assert np.array_equal(read_sinograms(chosen, 1, 3), read_sinograms(tilts, 1, 3)[:, [0, 3, 4]])


def test_nothing_asked_changes_nothing(tilts):
    assert select_views(tilts) is tilts


@pytest.mark.parametrize(
    "key", [1, -1, slice(None), slice(1, None), (slice(None), slice(1, 3)), (0, 2), (slice(0, 2), slice(None), 1), slice(0, 0), (..., 1)]
)
def test_selected_views_are_indexed_like_an_array(tilts, key):
    chosen = select_views(tilts, None, [1, 3]).array
    whole = np.asarray(tilts.array)[[0, 2, 4]]
    assert chosen.shape == whole.shape
    assert np.array_equal(chosen[key], whole[key])


@pytest.mark.parametrize(
    ("tilt_range", "excluded", "message"),
    [
        ((10, -10), (), "the first must not be the greater"),
        ((float("nan"), 1), (), "the first must not be the greater"),
        ((61, 90), (), "no view is left: the angles of series are -60 to 60"),
        (None, [5], "names view 5: series has views 0 to 4"),
        (None, range(5), "no view is left"),
    ],
)
def test_selections_without_sense_are_refused(tilts, tilt_range, excluded, message):
    with pytest.raises(UsageError, match=message):
        select_views(tilts, tilt_range, excluded)
