"""Turned cubes, and what was measured of them."""

import math

import pytest
import torch

from wedge.fourier import missing_mask
from wedge.restore.cubes import Cubes, random_turn
from wedge.restore.halves import radius

ANGLES = tuple(range(-60, 61, 3))
CPU = torch.device("cpu")


def cubes(size: int = 24, seed: int = 0) -> Cubes:
    return Cubes(size, ANGLES, seed, CPU)


def test_a_cube_that_is_not_turned_is_the_voxels_themselves() -> None:
    volume = torch.randn(30, 26, 40, generator=torch.Generator().manual_seed(0))
    cube = cubes(8).cut((volume,), torch.eye(3), torch.tensor([10.5, 12.5, 20.5]))[0]
    assert torch.allclose(cube, volume[7:15, 9:17, 17:25], atol=1e-5)


def test_beyond_the_volume_is_nothing() -> None:
    cube = cubes(8).cut((torch.ones(20, 20, 20),), torch.eye(3), torch.tensor([0.5, 9.5, 9.5]))[0]
    assert float(cube[:3].abs().max()) < 1e-5
    assert torch.allclose(cube[4:], torch.ones(4, 8, 8))


def test_spectra_have_fine_detail_as_strong_as_the_volume_has_it() -> None:
    """A wave along a direction of the volume, sampled exactly at the places of the turned cube, is what the spectrum is of."""
    made, size, centre = cubes(32), 32, torch.full((3,), 31.5)
    where = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 3, indexing="ij"), -1)
    offsets = torch.stack(torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 3, indexing="ij"), -1)
    for seed, wave in enumerate([(0.05, 0.1, 0.3), (0.38, 0.02, -0.1), (0.2, 0.25, 0.2), (0.0, 0.4, 0.0)]):
        vector, turn = torch.tensor(wave), random_turn(torch.Generator().manual_seed(seed))
        found = made.spectra((torch.cos(2 * math.pi * (where @ vector)),), turn, centre)[0]
        exact = torch.fft.rfftn(torch.cos(2 * math.pi * ((offsets @ turn.T + centre) @ vector)))
        assert float((found * exact.conj()).real.sum() / exact.abs().square().sum()) == pytest.approx(1, abs=0.06)


def test_spectra_hold_nothing_beyond_half_a_cycle() -> None:
    made = cubes(16)
    spectrum = made.spectra(
        (torch.randn(30, 30, 30, generator=torch.Generator().manual_seed(1)),),
        random_turn(torch.Generator().manual_seed(0)),
        torch.full((3,), 14.5),
    )[0]
    beyond = radius((16,) * 3, CPU) > 0.5
    assert float(spectrum[beyond].abs().max()) == 0
    assert float(spectrum[~beyond].abs().min()) > 0


def test_turns_are_rotations_in_all_directions() -> None:
    turns = [random_turn(torch.Generator().manual_seed(seed)) for seed in range(300)]
    for turn in turns[:20]:
        assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-5)
        assert float(torch.linalg.det(turn)) == pytest.approx(1, abs=1e-5)
    mean = torch.stack(turns).mean(0)
    assert float(mean.abs().max()) < 0.12


def test_measured_part_of_a_turned_cube_is_where_the_volume_has_its_spectrum() -> None:
    """A wave along a direction of the volume has its peak, in the turned cube, where the mask knows that direction."""
    made = cubes(32)
    where = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 3, indexing="ij"), -1)
    for seed, (ky, kz, kx) in enumerate([(0, 0.05, 0.2), (0.05, 0.2, 0.05), (0.1, 0.2, -0.02), (0.02, -0.05, 0.2), (0.1, 0.1, 0.15)]):
        turn = random_turn(torch.Generator().manual_seed(seed))
        wave = torch.cos(2 * math.pi * (where @ torch.tensor([ky, kz, kx])))
        cube = made.cut((wave,), turn, torch.tensor([31.5, 31.5, 31.5]))[0]
        hann = torch.hann_window(32, periodic=False)
        cube = cube * hann[:, None, None] * hann[:, None] * hann
        peak = torch.fft.rfftn(cube).abs().argmax()
        assert bool(made.measured_of(turn).flatten()[peak]) == (abs(kz) <= math.tan(math.radians(60)) * abs(kx))


def test_measured_part_of_what_is_not_turned_is_the_cone() -> None:
    expected = ~missing_mask((24, 24, 24), ANGLES, real=True).transpose(0, 1)
    assert torch.equal(cubes(24).measured, expected)


def test_draws_follow_the_seed_and_the_index_alone() -> None:
    first, again, other = cubes(seed=1), cubes(seed=1), cubes(seed=2)
    a, b, c = (made.draw((40, 30, 24), 5) for made in (first, again, other))
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[0], c[0])
    centres = torch.stack([first.draw((40, 30, 24), index)[1] for index in range(50)])
    assert bool((centres[:, 0] >= 11.5).all())
    assert bool((centres[:, 0] <= 27.5).all())
    assert bool((centres[:, 2] == 11.5).all())
