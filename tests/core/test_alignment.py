import numpy as np
import pytest

from wedge.alignment import Alignment
from wedge.errors import InputError


def some(**fields):
    turns = np.deg2rad([10.0, 20.0, 30.0])
    matrices = np.stack([np.stack([np.cos(turns), -np.sin(turns)], 1), np.stack([np.sin(turns), np.cos(turns)], 1)], 1)
    return Alignment(matrices, np.arange(6.0).reshape(3, 2), **fields)


def test_identity_moves_nothing():
    assert Alignment.identity(4).is_identity
    assert Alignment.identity(4).num_views == 4
    assert not Alignment.identity(4, binning=2).is_identity
    assert not some().is_identity


def test_rotation_is_from_x_towards_y():
    np.testing.assert_allclose(some().rotations_deg, [10, 20, 30])


def test_views_are_taken_with_all_that_belongs_to_them():
    whole = some(
        tilt_angles_deg=(-3.0, 0.0, 3.0), excluded_views=(1,), acquisition_order=(2, 0, 1), dose_e_per_square_angstrom=(6.0, 0.0, 3.0)
    )
    part = whole.with_views([2, 1])
    np.testing.assert_array_equal(part.shifts_pixels, [[4, 5], [2, 3]])
    np.testing.assert_allclose(part.rotations_deg, [30, 20])
    assert part.tilt_angles_deg == (3.0, 0.0)
    assert part.excluded_views == (1,)
    assert part.used_views == (0,)
    assert part.acquisition_order == (1, 0)
    assert part.dose_e_per_square_angstrom == (3.0, 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tilt_angles_deg": (1.0,)}, "1 values of tilt_angles_deg, but 3 views"),
        ({"excluded_views": (3,)}, "view 3 is excluded"),
        ({"acquisition_order": (0, 0, 1)}, "not a permutation"),
        ({"binning": 0}, "binning 0"),
        ({"pixel_size_angstrom": -1.0}, "not positive"),
        ({"thickness_pixels": float("nan")}, "not finite"),
        ({"tilt_angles_deg": (1.0, 2.0, float("inf"))}, "not finite"),
    ],
)
def test_what_is_no_alignment_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        some(source="a.xf", **fields)


@pytest.mark.parametrize(
    ("matrix", "shift", "message"),
    [
        (np.zeros((2, 2)), (0, 0), "no alignment makes"),
        (np.eye(2), (np.nan, 0), "no finite number"),
        (np.eye(2), (1e9, 0), "no finite number"),
    ],
)
def test_transforms_that_cannot_be_are_refused(matrix, shift, message):
    with pytest.raises(InputError, match=f"view 1 of a.xf .*{message}"):
        Alignment(np.stack([np.eye(2), matrix]), np.array([(0, 0), shift]), source="a.xf")
