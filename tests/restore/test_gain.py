"""Shells of which a network makes too little are amplified."""

from dataclasses import replace

import pytest
import torch

from wedge.restore.gain import gain_of
from wedge.restore.halves import SHELLS, Pair, by_shell, pair_of, radius, shell_of
from wedge.restore.network import Restorer, half_turns
from wedge.restore.run import Halves, Restoration

ANGLES = tuple(range(-60, 61, 3))
SHAPE = (64, 48, 56)  # y, z, x


class Making(Restorer):
    """Makes of any shell of a density a part of it."""

    def __init__(self, part: torch.Tensor) -> None:
        super().__init__(1)
        self.part = part

    def forward(self, density: torch.Tensor) -> torch.Tensor:
        return torch.stack([by_shell(each[0], self.part)[None] for each in density])


@pytest.fixture(scope="module")
def volumes() -> list[torch.Tensor]:
    """Density of the same power at all frequencies, twice with a third of its power of noise; both end before the faces."""
    density, *noises = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    for axis, count in enumerate(SHAPE):
        taper = torch.hann_window(count + 2, periodic=False)[1:-1].view([-1 if place == axis else 1 for place in range(3)])
        density, noises = density * taper, [noise * taper for noise in noises]
    return [density + 3**-0.5 * noise for noise in noises]


@pytest.fixture(scope="module")
def pair(volumes: list[torch.Tensor]) -> Pair:
    return pair_of(volumes[0], volumes[1], ANGLES)


def of(volumes: list[torch.Tensor]) -> Halves:
    return Halves(SHAPE, lambda low, high: (volumes[0][low:high], volumes[1][low:high]))


def test_what_noise_has_in_common_with_a_density_by_chance_varies_as_is_told(pair: Pair) -> None:
    """Over draws of what it is compared with, in shells that have enough frequencies for it to be told of each draw."""
    density = torch.randn(SHAPE, generator=torch.Generator().manual_seed(20))
    common, chances = [], []
    for seed in range(24):
        half = torch.randn(SHAPE, generator=torch.Generator().manual_seed(30 + seed))
        found, chance, _ = replace(pair, halves=(half, half)).common_power(density, 0)
        common.append(found[8:20])
        chances.append(chance[8:20])
    # Half of the spectrum is looked at: its other half is the same.
    ratio = torch.stack(common).square().mean(0) / torch.stack(chances).mean(0)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.25)


def test_a_network_that_makes_enough_is_left_as_it_is(pair: Pair) -> None:
    """Of a half less its noise nothing needs to be made: that is as much as both have in common."""
    assert torch.allclose(gain_of(Making(torch.ones(SHELLS)), pair), torch.ones(SHELLS), atol=0.06)


def test_what_is_made_too_little_of_is_amplified_and_nothing_else(pair: Pair) -> None:
    part = torch.ones(SHELLS)
    part[8:12], part[12:16], part[16:] = 0.7, 0.5, 2.0
    gain = gain_of(Making(part), pair)
    assert torch.allclose(gain[9:11], torch.full((2,), 0.7**-0.7), rtol=0.15)
    assert torch.allclose(gain[13:15], torch.full((2,), 0.5**-0.7), rtol=0.15)
    assert torch.allclose(gain[:7], torch.ones(7), atol=0.06)
    assert torch.equal(gain[17:], torch.ones(SHELLS - 17)), "nothing is made fainter"


@pytest.mark.parametrize("size", [1.0, 0.1, 0.01])
def test_noise_that_a_network_makes_is_not_amplified(pair: Pair, size: float) -> None:
    """However faint: none of it is in the other half but by chance."""

    class Noise(Making):
        def forward(self, density: torch.Tensor) -> torch.Tensor:
            return size * torch.randn(density.shape, generator=torch.Generator().manual_seed(9))

    assert float((gain_of(Noise(torch.ones(SHELLS)), pair) > 1).float().mean()) <= 2 / SHELLS


def test_what_next_to_nothing_is_made_of_is_amplified_within_bounds(pair: Pair) -> None:
    assert float(gain_of(Making(torch.full((SHELLS,), 1e-3)), pair).max()) == pytest.approx(2.0**0.7)


def test_restored_rows_are_amplified_shell_by_shell(volumes: list[torch.Tensor], pair: Pair) -> None:
    torch.manual_seed(0)
    network, turns = Restorer(2), half_turns(ANGLES)
    gain = torch.linspace(1.2, 1.6, SHELLS)
    plain, amplified = (Restoration(network, pair.units, turns, 0.5, pair.units.share, each) for each in (None, gain))
    whole = plain.rows(of(volumes), 0, SHAPE[0])
    found = amplified.rows(of(volumes), 0, SHAPE[0])
    mean = pair.units.mean
    assert torch.allclose(found - mean, by_shell(whole - mean, gain), atol=1e-4 * float(whole.std()))
    shells = shell_of(radius(SHAPE, whole.device)).flatten()
    spectra = [torch.fft.rfftn(each - mean).abs().square().flatten() for each in (whole, found)]
    power = [torch.zeros(SHELLS).index_add_(0, shells, each) for each in spectra]
    assert torch.allclose((power[1] / power[0]).sqrt()[2:20], gain[2:20], atol=0.04)
    some = amplified.rows(of(volumes), 8, 20)
    assert float((some - found[8:20]).std()) < 0.002 * float(found.std()), "rows come out alike wherever a block ends"
