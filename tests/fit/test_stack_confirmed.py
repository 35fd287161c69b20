"""Laws of what views confirm of a finished stack."""

import numpy as np
import pytest
import torch

from wedge.fit.emptied import bright_density, share_filled
from wedge.fit.radial import RadialFilter
from wedge.fit.stack import RingEquations, Stack, knots
from wedge.fit.stack_confirmed import confirmed, finished_sample

ROWS, VIEWS, WIDTH = 32, 6, 96
EDGE = 0.2  # cycles per pixel


def band(low: float, high: float, seed: int) -> np.ndarray:
    """Return noise ``(y, tilt, x)`` of a band of frequencies."""
    spectrum = np.fft.fft(np.fft.rfft(np.random.default_rng(seed).normal(size=(ROWS, VIEWS, WIDTH)), axis=2), axis=0)
    frequency = np.hypot(np.fft.fftfreq(ROWS)[:, None], np.fft.rfftfreq(WIDTH))[:, None]
    return np.fft.irfft(np.fft.ifft(spectrum * ((frequency >= low) & (frequency < high)), axis=0), n=WIDTH, axis=2)


COARSE, FINE = band(0.0, EDGE, 1), band(EDGE, 1.0, 2)
NOISE = 0.5 * band(0.0, 1.0, 3)
STACK = Stack(np.ones((2, len(knots()))), 0, 1.0, 1.0)


def test_a_sum_that_predicts_the_views_stays_as_it_is():
    measured = COARSE + FINE + NOISE
    assert confirmed(STACK, COARSE + FINE, COARSE, 1, measured) is STACK


@pytest.mark.parametrize("wrong", [-1.0, 0.0])
def test_what_views_do_not_confirm_is_left_out_and_the_sharpest_fit_stands_there(wrong):
    # Of the fine detail the sum says the contrary, or what has nothing to do with it.
    said = wrong * FINE if wrong else band(EDGE, 1.0, 4)
    found = confirmed(STACK, COARSE + said, COARSE + 2 * FINE, 1, COARSE + FINE + NOISE)
    below, above = knots() < EDGE - 0.07, (knots() > EDGE + 0.07) & (knots() < 0.5)
    assert found.confirmed[below].min() > 0.85
    assert found.confirmed[above].max() < 0.2
    assert found.sharp[below].max() < 0.15
    # The views say by how much the fit's detail is too strong.
    assert found.sharp[above] == pytest.approx(0.5 * (1 - found.confirmed[above]), abs=0.05)
    assert (found.sharpest, found.weights is STACK.weights) == (1, True)


def test_a_sharpest_fit_whose_detail_is_lost_in_noise_is_still_to_be_seen_where_nothing_else_is():
    found = confirmed(STACK, COARSE - FINE, COARSE - 0.1 * FINE + band(EDGE, 1.0, 5), 1, COARSE + FINE + NOISE)
    above = (knots() > EDGE + 0.07) & (knots() < 0.5)
    assert found.sharp[above] == pytest.approx(0.02 * (1 - found.confirmed[above]), abs=0.005)


def test_gains_are_what_each_estimate_is_to_be_multiplied_by():
    gains = RingEquations([2 * (COARSE + FINE), COARSE + 4 * FINE], COARSE + FINE).gains()
    above, below = (knots() > EDGE + 0.05) & (knots() < 0.6), (knots() > 0) & (knots() < EDGE - 0.07)
    assert gains[0, 1:22] == pytest.approx(0.5, abs=1e-6)
    assert gains[1][above] == pytest.approx(0.25, abs=0.01)
    assert gains[1][below] == pytest.approx(1.0, abs=0.01)


def test_a_sample_is_finished_as_the_whole_is():
    densities = [torch.randn(20, 10, 12, generator=torch.Generator().manual_seed(seed)).half() for seed in (0, 1)]
    radial = RadialFilter((10, 20, 12), torch.device("cpu"))
    stack = Stack(np.stack([np.full(len(knots()), 0.75), np.full(len(knots()), -0.25)]), 1, 1.0, 1.0)
    total = 0.75 * densities[0].float() - 0.25 * densities[1].float()
    best = densities[1].float()
    expected = total.clamp_min(0) * share_filled(best, 0, 20, bright_density(best), 4.0)
    assert torch.allclose(finished_sample(densities, stack, radial, 4.0), expected, atol=1e-4)
