"""What a network has made is amplified where the specimen is stronger, to be learned from."""

from dataclasses import replace

import pytest
import torch

from wedge.restore.gain import Making, _short_of_itself, _short_of_the_other_half, gain_of
from wedge.restore.halves import SHELLS, Pair, by_shell, pair_of

ANGLES = tuple(range(-60, 61, 3))
SHAPE = (64, 48, 56)  # y, z, x


def making(part: torch.Tensor) -> Making:
    """Makes of any shell of a density a part of it."""
    return lambda density: by_shell(density, part)


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


def test_what_is_as_strong_as_both_halves_have_in_common_is_left_as_it_is(pair: Pair) -> None:
    """Of a half less its noise nothing needs to be made: that is as much as both have in common."""
    assert torch.allclose(_short_of_the_other_half(making(torch.ones(SHELLS)), pair), torch.ones(SHELLS), atol=0.06)


def test_what_is_made_too_little_of_is_amplified_and_nothing_else(pair: Pair) -> None:
    part = torch.ones(SHELLS)
    part[8:12], part[12:16], part[16:] = 0.7, 0.5, 2.0
    gain = _short_of_the_other_half(making(part), pair)
    assert torch.allclose(gain[9:11], torch.full((2,), 0.7**-0.7), rtol=0.15)
    assert torch.allclose(gain[13:15], torch.full((2,), 0.5**-0.7), rtol=0.15)
    assert torch.allclose(gain[:7], torch.ones(7), atol=0.06)
    assert torch.equal(gain[17:], torch.ones(SHELLS - 17)), "nothing is made fainter"


@pytest.mark.parametrize("size", [1.0, 0.1, 0.01])
def test_noise_that_is_made_is_not_amplified(pair: Pair, size: float) -> None:
    """However faint: none of it is in the other half but by chance."""
    gain = _short_of_the_other_half(lambda density: size * torch.randn(SHAPE, generator=torch.Generator().manual_seed(10)), pair)
    assert float((gain > 1).float().mean()) <= 2 / SHELLS


def test_what_next_to_nothing_is_made_of_is_amplified_within_bounds(pair: Pair) -> None:
    assert float(_short_of_the_other_half(making(torch.full((SHELLS,), 1e-3)), pair).max()) == pytest.approx(2.0**0.7)


def test_what_was_made_is_as_like_the_specimen_as_what_is_made_of_it_is_like_it(volumes: list[torch.Tensor], pair: Pair) -> None:
    """Who changes nothing makes noise of noise: a sixth of the specimen's power is that of the mean's."""
    density = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) / pair.units.scale
    for axis, count in enumerate(SHAPE):
        density = density * torch.hann_window(count + 2, periodic=False)[1:-1].view([-1 if place == axis else 1 for place in range(3)])
    for part in (1.0, 0.5, 0.3):
        gain = _short_of_itself(lambda shown: shown, part * density, pair)
        assert torch.allclose(gain[8:20], torch.full((12,), (1 + 1 / (6 * part**2)) ** 0.5), rtol=0.12)
    assert torch.equal(_short_of_itself(lambda shown: shown, 1e-3 * density, pair)[4:20], torch.full((16,), 2.0)), "within bounds"
    assert torch.equal(_short_of_itself(lambda shown: -shown, density, pair)[4:20], torch.full((16,), 2.0))


def test_a_density_lacks_what_either_tells(pair: Pair) -> None:
    faint = making(torch.full((SHELLS,), 0.5))
    made = pair.filtered_mean(pair.units.share_of_mean)
    both = _short_of_the_other_half(faint, pair) * _short_of_itself(faint, made, pair)
    assert torch.equal(gain_of(faint, made, pair), both.clamp(1, 2))
    assert float(both[8:16].min()) > 1.2
