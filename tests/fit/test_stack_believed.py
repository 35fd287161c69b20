"""Laws of what is believed of a finished stack."""

import numpy as np
import pytest
import torch

from wedge.fit.stack import Stack, knots
from wedge.fit.stack_believed import believed_share, faint, with_share
from wedge.fourier import is_missing
from wedge.geometry import TiltGeometry

EDGE = 0.2  # cycles per pixel
SHAPE = (40, 48, 56)
ANGLES = tuple(np.linspace(-50, 50, 26))
GEOMETRY = TiltGeometry(ANGLES, (SHAPE[0], SHAPE[2]), (SHAPE[1], SHAPE[0], SHAPE[2]))


def shell(low: float, high: float, seed: int, missing: bool = False) -> torch.Tensor:
    """Return noise ``(y, z, x)`` of a shell of frequencies that views measured or, alone, of those that they miss."""
    spectrum = torch.fft.rfftn(torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)))
    along = [torch.from_numpy(np.fft.fftfreq(count)) for count in SHAPE[:2]] + [torch.from_numpy(np.fft.rfftfreq(SHAPE[2]))]
    frequency = (along[0][:, None, None] ** 2 + along[1][:, None] ** 2 + along[2] ** 2).sqrt()
    chosen = (frequency >= low) & (frequency < high) & (is_missing(along[1][:, None], along[2], ANGLES) == missing)
    return torch.fft.irfftn(spectrum * chosen, s=SHAPE)


STACK = Stack(np.ones((2, len(knots()))), 0, 1.0, 1.0)
BELOW, ABOVE = knots() < EDGE - 0.05, knots() > EDGE + 0.05


def test_what_the_sum_its_best_fit_and_the_finished_sum_have_in_common_is_believed():
    common = shell(0, EDGE, 1) + shell(EDGE, 1, 2)
    # Whatever the sharpest fit says.
    assert believed_share(common, common, common, shell(0, 1, 3), GEOMETRY) == pytest.approx(1.0)


def test_what_finishing_makes_anew_is_not_believed():
    coarse, fine = shell(0, EDGE, 1), shell(EDGE, 1, 2)
    share = believed_share(coarse + fine, coarse + shell(EDGE, 1, 4), coarse + fine, coarse + fine, GEOMETRY)
    assert share[BELOW].min() == 1
    assert share[ABOVE].max() == 0


@pytest.mark.parametrize(("agreement", "believed"), [(-0.5, 0.0), (0.0, 0.0), (0.09, None), (0.5, 1.0)])
def test_what_the_best_fit_does_not_show_is_believed_as_far_as_the_sharpest_one_does(agreement, believed):
    coarse, fine, other = shell(0, EDGE, 1), shell(EDGE, 1, 2), shell(EDGE, 1, 5)
    sharp = coarse + agreement * fine + (1 - agreement**2) ** 0.5 * other
    share = believed_share(coarse + fine, coarse + fine, coarse + shell(EDGE, 1, 4), sharp, GEOMETRY)
    assert share[BELOW].min() == 1
    assert ((share[ABOVE] > 0) & (share[ABOVE] < 1)).all() if believed is None else (share[ABOVE] == believed).all()


def test_what_views_miss_has_no_say_and_a_frequency_without_any_detail_is_no_end():
    common, gap = shell(0, EDGE, 1) + shell(EDGE + 0.08, 1, 2), shell(EDGE, EDGE + 0.08, 6)
    beside = 3 * shell(0, 1, 7, missing=True)
    assert believed_share(common + beside, common - beside, common, common, GEOMETRY) == pytest.approx(1.0)
    assert believed_share(common + gap, common - gap, common, common, GEOMETRY) == pytest.approx(1.0)


def test_where_all_is_believed_a_stack_stays_as_it_is():
    assert with_share(STACK, np.full(len(knots()), 0.99), 1) is STACK


def test_one_estimate_stands_where_the_sum_is_not_believed():
    share = np.where(ABOVE, 0.25, 1.0)
    found = with_share(STACK, share, 1)
    assert np.array_equal(found.believed, share)
    assert np.array_equal(found.rest, 1 - share)
    assert (found.rest_of, found.weights is STACK.weights) == (1, True)
    assert with_share(STACK, share, 1, 0.04).rest == pytest.approx((1 - share) * 0.04)


def test_the_sharpest_fit_is_faint_beside_the_sum_and_never_more_than_it_is():
    noise = torch.randn(20, 10, 12, generator=torch.Generator().manual_seed(0))
    assert faint(4 * noise, noise) == pytest.approx(0.04)
    assert faint(1e9 * noise, noise) == 1
    assert faint(noise, torch.zeros_like(noise)) == 1
