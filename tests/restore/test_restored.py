"""A restored tomogram: nearer to the truth, seamless, and still what was measured."""

import math
from dataclasses import replace

import pytest
import torch

from wedge.errors import InputError
from wedge.fit.config import RestoreConfig
from wedge.fourier import is_missing, missing_mask
from wedge.restore import lessons
from wedge.restore.cubes import Cubes
from wedge.restore.halves import pair_of, radius, shell_of
from wedge.restore.network import COARSEST, REACH, Restorer, applied, applied_all_round, half_turns
from wedge.restore.run import Halves, Restoration, learn, rows_to_learn_from
from wedge.restore.training import LEAST_CUBE, Learning, cube_size

ANGLES = tuple(range(-50, 51, 2))
SHAPE = (32, 24, 40)  # y, z, x
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def halves(rods: torch.Tensor) -> list[torch.Tensor]:
    """The rods without what views miss, twice with noise."""
    rows, num_z, num_x = SHAPE
    measured = ~missing_mask((num_z, rows, num_x), ANGLES, real=True).transpose(0, 1)
    seen = torch.fft.irfftn(torch.fft.rfftn(rods) * measured, s=SHAPE)
    return [seen + 0.25 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


CONFIG = RestoreConfig(steps=120, own_rounds=0, cube=16, channels=4, clear_above=1.0)
QUICK = RestoreConfig(steps=4, own_rounds=0, cube=16, channels=2, clear_above=1.0)


def of(volumes: list[torch.Tensor]) -> Halves:
    return Halves(tuple(volumes[0].shape), lambda low, high: (volumes[0][low:high], volumes[1][low:high]))  # type: ignore[arg-type]


def restored(volumes: list[torch.Tensor], config: RestoreConfig, seed: int = 0, half_precision: bool = False) -> torch.Tensor:
    halves = of(volumes)
    made = learn(pair_of(*volumes, ANGLES), ANGLES, config, seed, half_precision)
    return torch.cat([density for _, density in made.blocks(halves)])


@pytest.fixture(scope="module")
def found(halves: list[torch.Tensor]) -> torch.Tensor:
    return restored(halves, CONFIG)


def missing_part(density: torch.Tensor) -> torch.Tensor:
    rows, num_z, num_x = SHAPE
    missing = missing_mask((num_z, rows, num_x), ANGLES, real=True).transpose(0, 1)
    return torch.fft.irfftn(torch.fft.rfftn(density) * missing, s=SHAPE)


def test_noise_goes_and_the_wedge_is_filled(rods: torch.Tensor, halves: list[torch.Tensor], found: torch.Tensor) -> None:
    """Judged by the truth, which the network has not seen: as a whole, and in the wedge, where there was nothing but noise."""
    mean = (halves[0] + halves[1]) / 2
    assert likeness(found, rods) > likeness(mean, rods) + 0.2
    assert likeness(missing_part(found), missing_part(rods)) > 0.4 > likeness(missing_part(mean), missing_part(rods)) + 0.3


def test_both_halves_together_show_more_than_each_of_them(rods: torch.Tensor, halves: list[torch.Tensor]) -> None:
    """Given their mean, which has less noise, the network gives more than the mean of what it gives of either."""
    noises = [0.35 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)]
    noisier = [half + noise for half, noise in zip(halves, noises, strict=True)]
    pair = pair_of(*noisier, ANGLES)
    learning = Learning(pair, ANGLES, CONFIG, 0, False)
    for _ in range(CONFIG.steps):
        learning.step()
    made = Restoration.of(learning, pair, ANGLES)
    of_each = [applied_all_round(learning.network, half, made.turns) for half in pair.filtered]
    found = made.rows(of(noisier), 0, SHAPE[0])
    assert likeness(found, rods) > likeness(of_each[0] + of_each[1], rods) + 0.004


def test_result_follows_the_seed_alone_and_keeps_the_units(halves: list[torch.Tensor]) -> None:
    found, again, other = restored(halves, QUICK), restored(halves, QUICK), restored(halves, QUICK, seed=1)
    assert torch.equal(again, found)
    assert not torch.allclose(other, found, atol=1e-2 * float(found.std()))
    scaled = restored([4 * half for half in halves], QUICK)
    assert torch.allclose(scaled / 4, found, atol=1e-2 * float(found.std()))


def test_offset_stays(halves: list[torch.Tensor]) -> None:
    found, moved = (restored([offset + half for half in halves], QUICK) for offset in (0.0, 5.0))
    assert torch.allclose(moved - 5, found, atol=1e-2 * float(found.std()))
    assert float(found.mean()) == pytest.approx(float(sum(half.mean() for half in halves)) / 2, abs=0.1 * float(found.std()))


@pytest.mark.parametrize("cautious", [False, True])
def test_a_constant_that_the_network_adds_is_taken_away(halves: list[torch.Tensor], cautious: bool) -> None:
    pair = pair_of(halves[0], halves[1], ANGLES)
    learning = Learning(pair, ANGLES, QUICK, 0, False)
    found = Restoration.of(learning, pair, ANGLES, cautious=cautious).rows(of(halves), 0, SHAPE[0])
    with torch.no_grad():
        learning.network.last.bias += 2.0
    again = Restoration.of(learning, pair, ANGLES, cautious=cautious).rows(of(halves), 0, SHAPE[0])
    assert torch.allclose(again, found, atol=1e-4 * float(found.std()))


def test_half_precision_changes_little(halves: list[torch.Tensor]) -> None:
    exact, half = restored(halves, QUICK), restored(halves, QUICK, half_precision=True)
    assert not torch.equal(half, exact)
    assert torch.allclose(half, exact, atol=0.1 * float(exact.std()))


def test_losses_are_in_units_of_the_noise(halves: list[torch.Tensor]) -> None:
    told: list[float] = []
    learn(pair_of(*halves, ANGLES), ANGLES, QUICK, 0, False, lambda loss: told.append(float(loss)))
    assert len(told) == QUICK.steps
    assert all(0.5 < loss < 10 for loss in told), "which is what a perfect network leaves"


def test_where_halves_share_most_of_their_power_fewer_steps_are_enough(halves: list[torch.Tensor]) -> None:
    pair = pair_of(halves[0], halves[1], ANGLES)
    config = QUICK.model_copy(update={"steps": 100, "clear_steps": 80})
    for above, steps in ((1.0, 100), (1.01 * pair.units.common, 100), (0.99 * pair.units.common, 80)):
        assert Learning(pair, ANGLES, config.model_copy(update={"clear_above": above}), 0, False).steps == steps
    assert [RestoreConfig().parts_for(common, 2**19) for common in (0.1, 0.59, 0.61)] == [[300, 150, 150], [300, 150, 150], [480]]


def test_larger_volumes_take_more_steps_in_proportion_to_the_root_of_their_voxels(halves: list[torch.Tensor]) -> None:
    pair = pair_of(halves[0], halves[1], ANGLES)
    for small, times in ((0, 1), (math.prod(SHAPE) // 4, 1), (math.prod(SHAPE) // 9, 1.5), (math.prod(SHAPE) // 64, 2)):
        assert Learning(pair, ANGLES, QUICK.model_copy(update={"small_voxels": small}), 0, False).steps == times * QUICK.steps
    assert [RestoreConfig().parts_for(common, 1, 2) for common in (0.1, 0.9)] == [[600, 150, 150], [960]]
    sizes = (1, 2**21, 64 * 256 * 256, 2**25)
    assert [RestoreConfig().parts_for(0.9, voxels) for voxels in sizes] == [[480], [960], [1358], [1920]]
    assert [RestoreConfig().parts_for(0.1, voxels)[0] for voxels in sizes] == [300, 600, 849, 1200]
    assert [RestoreConfig().parts_for(0.1, voxels)[1:] for voxels in sizes] == [[150, 150], [150, 150], [212, 212], [300, 300]]
    assert [RestoreConfig(own_rounds=0).parts_for(0.1, voxels) for voxels in sizes[:3]] == [[600], [600], [849]]


def test_steps_are_parted_alike_and_none_is_lost() -> None:
    for steps, rounds, parts in ((9, 2, [5, 2, 2]), (8, 1, [4, 4]), (6, 0, [6]), (2, 16, [1, 1]), (1, 2, [1])):
        assert RestoreConfig(steps=steps, own_rounds=rounds).parts_for(0.0, 1) == parts
    assert RestoreConfig(steps=12, own_share=0.75).parts_for(0.0, 1) == [4, 4, 4]
    assert RestoreConfig(steps=12, own_share=0.75).parts_for(0.0, 2**21) == [6, 4, 4]
    assert RestoreConfig(steps=15, clear_steps=12).parts_for(1.0, 1) == [12], "halves that are clear teach better"


def test_each_part_ends_with_small_steps(halves: list[torch.Tensor]) -> None:
    """Only at the end of a part has the rate fallen to next to nothing, and the network come to what the part teaches."""
    learning = Learning(pair_of(halves[0], halves[1], ANGLES), ANGLES, QUICK.model_copy(update={"steps": 120, "own_rounds": 2}), 0, False)
    moved, before = [], torch.cat([parameter.detach().flatten() for parameter in learning.network.parameters()])
    while learning.done < learning.steps:
        learning.step()
        now = torch.cat([parameter.detach().flatten() for parameter in learning.network.parameters()])
        moved.append(float((now - before).norm()))
        before = now
    for begin, end in ((0, 60), (60, 90), (90, 120)):
        assert moved[end - 1] < 0.25 * max(moved[begin:end])


def test_of_halves_in_several_ways_it_learns_in_turn(halves: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the noise and the missing part of each."""
    noise = [torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)]
    pairs = [pair_of(halves[0] + more * noise[0], halves[1] + more * noise[1], ANGLES) for more in (0.0, 0.2)]
    seen = []
    spectra, wrong = Cubes.spectra, lessons._wrong

    def drawn(cubes, volumes, turn, centre):
        seen.append([volumes])
        return spectra(cubes, volumes, turn, centre)

    def weighted(network, inputs, targets, weights):
        seen[-1].append(weights)
        return wrong(network, inputs, targets, weights)

    monkeypatch.setattr(Cubes, "spectra", drawn)
    monkeypatch.setattr(lessons, "_wrong", weighted)
    config = QUICK.model_copy(update={"steps": 4, "batch": 1})
    both = Learning(pairs[0], ANGLES, config, 0, False, pairs[1:])
    for step in range(both.steps):
        both.step()
        (given, target), weights = seen[step]
        pair = pairs[step % 2]
        which = next(place for place, half in enumerate(pair.halves) if half is target)
        filtered = pair.filtered[1 - which]
        # Filled anew after every second step, each from what it was itself.
        assert torch.equal(given, filtered) == (step < 2)
        measured = torch.fft.rfftn(given - filtered)[pair.measured].abs()
        assert float(measured.max()) < 1e-3 * float(torch.fft.rfftn(filtered).abs().max())
        shells = shell_of(radius((16,) * 3, CPU)).expand(weights.shape)
        for shell in (4, 12):
            assert float(weights[shells == shell].max()) == pytest.approx(2 / float(pair.units.noise[shell]) / 16**3)


@pytest.mark.parametrize(("more", "stops"), [(False, (1, 6, 10, 14)), (True, (6, 22))])
def test_learning_goes_on_exactly_where_another_one_was(halves: list[torch.Tensor], more: bool, stops: tuple[int, ...]) -> None:
    """Before and after the missing part was filled anew, and from what was made; of halves in one way and in two."""
    config = RestoreConfig(steps=16, own_rounds=2, cube=16, channels=2, clear_above=1.0)
    pair = pair_of(halves[0], halves[1], ANGLES)
    others = [pair_of(halves[1].flip(0), halves[0].flip(0), ANGLES)] if more else []
    through = Learning(pair, ANGLES, config, 0, False, others)
    states = {}
    while through.done < through.steps:
        states[through.done] = through.state()
        last = through.step()
    for done in stops:
        other = Learning(pair, ANGLES, config, 0, False, others)
        other.load(states[done])
        while other.done < other.steps:
            found = other.step()
        assert torch.equal(found, last)
        assert all(torch.equal(one, same) for one, same in zip(other.network.parameters(), through.network.parameters(), strict=True))
    with pytest.raises(InputError, match="another network"):
        Learning(pair, ANGLES, RestoreConfig(cube=16, channels=3), 0, False).load(states[1])


def test_blocks_leave_no_seam(halves: list[torch.Tensor]) -> None:
    """The filter reaches further than its halo, by little."""
    tall = [torch.cat([half] * 6) for half in halves]
    made = learn(pair_of(*halves, ANGLES), ANGLES, QUICK, 0, False)
    whole = made.rows(of(tall), 0, 192)
    parts = torch.cat([density for _, density in made.blocks(of(tall))])
    apart = (parts - whole).abs().amax((1, 2)) / whole.std()
    assert float(apart.max()) < 0.15
    assert float((parts - whole).std()) < 2e-2 * float(whole.std())


def test_the_network_sees_as_many_rows_around_a_block_as_have_a_say(halves: list[torch.Tensor]) -> None:
    tall = [torch.cat([half] * 6) for half in halves]
    pair = pair_of(halves[0], halves[1], ANGLES)
    torch.manual_seed(0)
    network = Restorer(4)
    with torch.no_grad():
        for parameter in network.parameters():
            # As they are drawn, what is far away says little.
            parameter.mul_(4)
    made = Restoration(network, pair.units, half_turns(ANGLES), 0.0, pair.units.share_of_mean)
    # With all rows that the filter looks at.
    start, stop, around = 64, 128, REACH + 24
    given = pair.units.filtered_mean(*(half[start - around : stop + around] for half in tall), made.share)
    restored = applied_all_round(made.network, given, made.turns)
    expected = restored[around : around + stop - start] * pair.units.scale + pair.units.mean
    assert torch.allclose(made.rows(of(tall), start, stop), expected, atol=1e-5 * float(expected.abs().max()))


def test_half_turns_are_those_after_which_the_same_is_measured() -> None:
    """Flipping axes of a volume flips the signs of its frequencies."""
    kz, kx = torch.meshgrid(*[torch.linspace(-0.5, 0.5, 41)] * 2, indexing="ij")
    for angles, count in [((-60.0, 0.0, 60.0), 4), ((-30.0, 0.0, 60.0), 2)]:
        turns = half_turns(angles)
        assert len(turns) == count
        for axes in turns:
            signs = [-1 if axis in axes else 1 for axis in range(3)]
            assert len(axes) % 2 == 0, "a mirror image is another molecule"
            assert torch.equal(is_missing(signs[1] * kz, signs[2] * kx, angles), is_missing(kz, kx, angles))


def test_mean_over_half_turns_turns_with_the_density() -> None:
    torch.manual_seed(0)
    network, density, turns = Restorer(2), torch.randn(12, 16, 20), half_turns((-60, 60))
    made = applied_all_round(network, density, turns)
    assert not torch.allclose(applied(network, density), made, atol=1e-3)
    for axes in turns:
        assert torch.allclose(applied_all_round(network, density.flip(axes), turns), made.flip(axes), atol=1e-5)


def test_slabs_leave_no_seam() -> None:
    torch.manual_seed(0)
    network, density = Restorer(3), torch.randn(3 * REACH + 5, 10, 14)
    whole = applied(network, density)
    assert whole.shape == density.shape
    assert torch.allclose(applied(network, density, voxels_at_once=1), whole, atol=1e-5)


def test_input_has_a_say_as_far_as_it_is_said_to_reach() -> None:
    furthest = 0
    for place in range(60, 60 + COARSEST):
        density = torch.randn(1, 1, 128, 8, 8, dtype=torch.double, requires_grad=True)
        torch.autograd.backward(Restorer(2).double()(density)[0, 0, place].sum())
        assert density.grad is not None
        seen = torch.nonzero(density.grad.abs().sum((0, 1, 3, 4))).flatten()
        furthest = max(furthest, place - int(seen.min()), int(seen.max()) - place)
    assert REACH - COARSEST < furthest <= REACH


def test_thin_volumes_are_refused() -> None:
    assert cube_size(40, (64, 30, 64)) == 28
    with pytest.raises(InputError, match="too thin"):
        cube_size(40, (64, 15, 64))


def test_rows_learned_from_are_where_halves_have_something_in_common() -> None:
    shape = (128, 16, 16)
    volumes = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    for volume in volumes:
        volume[90:110] += 3 * torch.randn(20, 16, 16, generator=torch.Generator().manual_seed(3))
    rows = rows_to_learn_from(of(volumes), 20 * 16 * 16)
    assert len(rows) == 20
    assert 85 < rows.start < 95
    assert rows_to_learn_from(of(volumes), 10**9) == range(128)
    assert len(rows_to_learn_from(of(volumes), 1)) == LEAST_CUBE


def test_what_the_other_half_misses_is_not_asked_for(halves: list[torch.Tensor]) -> None:
    """A wave that no view could have measured changes the loss by little, one within the cone by much."""
    pair = pair_of(halves[0], halves[1], ANGLES)
    network = Restorer(2)
    torch.nn.init.zeros_(network.last.weight)
    cubes = Cubes(16, ANGLES, 0, CPU)

    def loss(wave: torch.Tensor) -> float:
        changed = replace(pair, halves=(pair.halves[0] + wave, pair.halves[1] + wave))
        return float(lessons.FromHalves([changed], cubes).loss(network, 0, range(6)).detach())

    waves = [3 * torch.cos(2 * torch.pi * 0.2 * torch.arange(float(n))) for n in SHAPE]
    seen, missed = waves[2].expand(SHAPE), waves[1][:, None].expand(SHAPE)
    base = loss(torch.zeros(SHAPE))
    assert loss(missed) - base < 0.2 * (loss(seen) - base)
