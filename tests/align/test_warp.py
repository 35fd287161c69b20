import numpy as np
import pytest
import torch

from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views

ANGLES = tuple(np.linspace(-60, 60, 5))


def blob(dx=0.0, dy=0.0, centre=(0.0, 0.0), shape=(60, 80)):
    """A narrow Gaussian at ``centre`` ``(x, y)``, moved."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    image = np.exp(-((x - centre[0] - dx) ** 2 + (y[:, None] - centre[1] - dy) ** 2) / 8)
    return torch.from_numpy(image[:, None]).float()


def one(dx=0.0, dy=0.0, turn=0.0):
    return ViewTransforms(np.array([dx]), np.array([dy]), np.array([turn]))


def test_a_view_is_shifted_by_what_is_said():
    assert torch.allclose(warp_views(blob(), one(3.3, -2.6)), blob(3.3, -2.6), atol=1e-3)


def test_a_view_turns_from_x_to_y_and_then_shifts():
    turn = np.deg2rad(10)
    x, y = 15 * np.cos(turn) - 5 * np.sin(turn), 15 * np.sin(turn) + 5 * np.cos(turn)
    assert torch.allclose(warp_views(blob(centre=(15, 5)), one(2.5, 1.5, 10)), blob(2.5, 1.5, centre=(x, y)), atol=2e-3)


def test_each_view_has_a_move_of_its_own():
    views = torch.cat([blob(), blob()], dim=1)
    moved = warp_views(views, ViewTransforms(np.array([0.0, 2.0]), np.zeros(2), np.zeros(2)))
    assert torch.allclose(moved, torch.cat([blob(), blob(2.0)], dim=1), atol=1e-3)


def test_noise_keeps_its_power():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 3, 64))).float()
    moved = warp_views(noise, ViewTransforms(np.full(3, 0.5), np.full(3, 0.5), np.full(3, 1.0)))
    assert float(moved[8:-8, :, 8:-8].var()) == pytest.approx(1, abs=0.05)


def test_views_that_do_not_move_are_not_touched():
    views = blob()
    assert warp_views(views, ViewTransforms.identity(1)) is views


def test_moves_in_a_row_are_one_move():
    first, second = one(2.0, -1.0, 4.0), one(-0.5, 1.5, 3.0)
    views = blob(centre=(8, -6))
    assert torch.allclose(warp_views(warp_views(views, first), second), warp_views(views, first.then(second)), atol=3e-3)


def test_translations_of_the_specimen_are_no_misalignment():
    angles = np.deg2rad(ANGLES)
    free = ViewTransforms(3 * np.cos(angles) - 2 * np.sin(angles), np.full(5, 4.0), np.zeros(5)).gauge_fixed(ANGLES)
    assert free.rms_shift() < 1e-9
    tied = ViewTransforms(np.array([1.0, -1, 1, -1, 1]), np.zeros(5), np.ones(5)).gauge_fixed(ANGLES)
    assert tied.rms_shift() > 0.8
    assert tied.rms_rotation() == 1
