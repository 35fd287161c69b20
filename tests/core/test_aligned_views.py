import errno
import os

import numpy as np
import pytest

from wedge.aligned_views import AlignedViews
from wedge.alignment import Alignment
from wedge.errors import InputError

RAW = np.random.default_rng(0).normal(size=(3, 7, 8)).astype(np.float32)


@pytest.fixture
def views():
    alignment = Alignment(np.tile(np.eye(2), (3, 1, 1)), np.array([(0, 0), (1, 0), (0, -2)]))
    return AlignedViews(RAW, alignment, (7, 8), 1)


@pytest.mark.parametrize("key", [
    (slice(None), slice(2, 5), slice(None)), (1, slice(None), 3), (slice(None, None, 2), slice(6, 0, -2), slice(1, 4)),
    (slice(0, 0), slice(None), slice(None)), 2, Ellipsis,
])  # fmt: skip
def test_parts_are_those_of_the_whole(views, tmp_path, key):
    with views.computed(tmp_path):
        whole = views[:]
        np.testing.assert_array_equal(views[key], whole[key])
    assert whole.shape == views.shape


def test_views_are_moved_each_by_its_own(views, tmp_path):
    with views.computed(tmp_path):
        still, right, up = views[:]
    inner = (slice(2, -2), slice(2, -2))
    assert np.corrcoef(still[inner].ravel(), RAW[0][inner].ravel())[0, 1] > 0.97
    assert np.corrcoef(right[2:-2, 3:-1].ravel(), RAW[1][2:-2, 2:-2].ravel())[0, 1] > 0.97
    assert np.corrcoef(up[1:4, 2:-2].ravel(), RAW[2][3:6, 2:-2].ravel())[0, 1] > 0.97


def test_nothing_has_a_name_and_nothing_is_left(views, tmp_path):
    counted = []
    with views.computed(tmp_path, lambda: counted.append(os.listdir(tmp_path))):
        assert counted == [[], [], []]
        assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="outside"):
        views[:]


def test_full_disk_is_one_line(views, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(InputError, match="disk is full"), views.computed(tmp_path):
        pass


def test_alignment_of_other_views_is_a_fault():
    with pytest.raises(ValueError, match="3 views"):
        AlignedViews(RAW[:2], Alignment.identity(3), (7, 8), 1)
