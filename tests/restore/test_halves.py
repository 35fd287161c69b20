"""What two halves tell of their noise."""

import pytest
import torch

from wedge.errors import InputError
from wedge.restore.halves import PAD, SHELLS, pair_of

ANGLES = tuple(range(-60, 61, 3))


def blobs(shape: tuple[int, int, int] = (24, 20, 28)) -> torch.Tensor:
    rough = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return 3 * torch.nn.functional.avg_pool3d(rough[None, None], 5, 1, 2)[0, 0]


def noise(seed: int, std: float) -> torch.Tensor:
    return std * torch.randn(24, 20, 28, generator=torch.Generator().manual_seed(seed))


def test_noise_is_what_halves_do_not_share_and_units_are_common() -> None:
    first, second = 7 + blobs() + noise(1, 0.2), 7 + blobs() + noise(2, 0.2)
    pair = pair_of(first, second, ANGLES)
    units = pair.units
    assert units.mean == pytest.approx(7, abs=0.05)
    white = 0.2**2 / units.scale**2
    assert units.noise.shape == (SHELLS,)
    assert float(units.noise[4:].mean()) == pytest.approx(white, rel=0.1)
    assert torch.allclose(pair.halves[0] * units.scale, first - first.mean(), atol=1e-4)
    truth = blobs() - blobs().mean()
    assert float((pair.filtered[0] * units.scale - truth).std()) < 0.6 * float((first - first.mean() - truth).std())


def test_mean_of_both_halves_keeps_as_much_as_its_noise_leaves() -> None:
    """A Wiener filter's share, of half the noise."""
    shape = (48, 40, 44)
    truth = 3 * torch.nn.functional.avg_pool3d(torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)), 5, 1, 2)[0]
    noises = [0.4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    first, second = 7 + truth + noises[0], truth + noises[1] - 3
    pair = pair_of(first, second, ANGLES)
    units = pair.units
    told = (units.share > 0.05) & (units.share < 0.95)
    assert int(told.sum()) > 4
    signal = units.noise * units.share / (1 - units.share)
    assert torch.allclose(units.share_of_mean[told], (signal / (signal + units.noise / 2))[told], rtol=1e-3)
    filtered = units.filtered_mean(first, second, units.share_of_mean)
    assert torch.allclose(pair.filtered_mean(units.share_of_mean), filtered, atol=1e-4)

    def wrong(density: torch.Tensor) -> float:
        return float((density - (truth - truth.mean()) / units.scale).std())

    assert wrong(filtered) < 0.98 * wrong((pair.filtered[0] + pair.filtered[1]) / 2)
    assert wrong(filtered) < 0.9 * min(map(wrong, [*pair.filtered, (pair.halves[0] + pair.halves[1]) / 2]))


def test_part_of_a_half_is_filtered_as_the_whole_is() -> None:
    """Away from where it is cut: so blocks leave no seams."""
    shape = (96, 20, 28)
    smooth = torch.nn.functional.avg_pool3d(torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)), 5, 1, 2)[0]
    first, second = (3 * smooth + 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    units = pair_of(first, second, ANGLES).units
    whole, part = units.filtered(first, 0), units.filtered(first[:72], 0)
    assert torch.allclose(part[: 72 - PAD], whole[: 72 - PAD], atol=0.02 * float(whole.std()))
    assert not torch.allclose(part[-4:], whole[68:72], atol=0.02 * float(whole.std()))


def test_halves_may_differ_in_their_means() -> None:
    first, second = 7 + blobs() + noise(1, 0.2), blobs() + noise(2, 0.2) - 3
    units = pair_of(first, second, ANGLES).units
    assert float(units.filtered(first, 0).mean()) == pytest.approx(float(units.filtered(second, 1).mean()), abs=0.1)


def test_same_halves_and_strange_ones_are_refused() -> None:
    first = blobs() + noise(1, 0.2)
    with pytest.raises(InputError, match="the same"):
        pair_of(first, first.clone(), ANGLES)
    with pytest.raises(InputError, match="nothing in common"):
        pair_of(noise(1, 1.0), noise(2, 1.0), ANGLES)
