"""Laws of the weights of a stack, of the filters that apply them, and of the fits that make it up."""

import numpy as np
import pytest
import torch

from wedge.fit.config import FitConfig
from wedge.fit.emptied import mean_around, usually_below
from wedge.fit.members import are_few, describe, factors, members_for, widest
from wedge.fit.radial import SLAB_ROWS, RadialFilter, mirrored
from wedge.fit.stack import RingEquations, Stack, knots, spline_basis
from wedge.geometry import TiltGeometry

CPU = torch.device("cpu")
ROWS, VIEWS, WIDTH = 24, 8, 64


def split_by_frequency(views: np.ndarray, at: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what views hold below and above a frequency."""
    frequency = np.hypot(np.fft.fftfreq(views.shape[0])[:, None], np.fft.fftfreq(views.shape[2]))[:, None]
    low = np.fft.ifft2(np.fft.fft2(views, axes=(0, 2)) * (frequency < at), axes=(0, 2)).real
    return low, views - low


@pytest.fixture
def views() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, VIEWS, WIDTH))


def config(**settings: object) -> FitConfig:
    given = {"network": {"name": "voxel"}, "projector": {"name": "torch"}, "regularizers": [{"name": "tv", "weight": 0.1}]}
    return FitConfig.model_validate(given | settings)


def test_weights_of_one_at_every_knot_are_one_at_every_frequency():
    frequency = np.linspace(0, 0.75, 200)
    assert np.allclose(spline_basis(frequency).sum(axis=1), 1)
    assert spline_basis(frequency).shape == (200, len(knots()))


def test_errors_are_those_of_the_estimates(views):
    estimates = [0.5 * views, views + 1]
    measured = np.random.default_rng(1).normal(size=views.shape)
    found = RingEquations(estimates, measured).errors()
    assert np.allclose(found, [np.square(estimate - measured).mean() for estimate in estimates], rtol=1e-4)


@pytest.mark.parametrize("width", [WIDTH, WIDTH - 1])
def test_error_of_weights_is_that_of_the_filtered_sum(views, width):
    estimates, measured = [views[..., :width], np.roll(views, 1, axis=2)[..., :width]], 0.3 * views[..., :width]
    equations = RingEquations(estimates, measured)
    weights = np.stack([np.full(len(knots()), 0.7), np.full(len(knots()), -0.2)])
    expected = np.square(0.7 * estimates[0] - 0.2 * estimates[1] - measured).mean()
    assert equations.error(range(VIEWS), weights) == pytest.approx(expected, rel=1e-4)


def test_each_estimate_counts_at_the_frequencies_that_it_is_right_about(views):
    random = np.random.default_rng(1)
    low, high = split_by_frequency(views, 0.25)
    wrong_low, wrong_high = split_by_frequency(random.normal(size=views.shape), 0.25)
    measured = views + random.normal(scale=0.5, size=views.shape)
    stack = RingEquations([low + wrong_high, wrong_low + high], measured).best()
    at = spline_basis(np.array([0.1, 0.4])) @ stack.weights.T
    assert np.allclose(at, [[1, 0], [0, 1]], atol=0.15)
    assert stack.error < 0.5 * stack.base_error
    # Nothing below the noise is promised.
    assert stack.error > 0.9 * 0.25


def test_an_estimate_that_is_too_strong_is_weakened(views):
    measured = views + np.random.default_rng(1).normal(scale=0.5, size=views.shape)
    stack = RingEquations([2 * views], measured).best()
    assert np.allclose(spline_basis(np.linspace(0.05, 0.5, 10)) @ stack.weights.T, 0.5, atol=0.1)


def test_the_sum_does_not_depend_on_how_strong_an_estimate_is(views):
    # At each frequency: one that smoothing has made weak there is worth what it says, not how loud it says it.
    random = np.random.default_rng(1)
    estimates = [views + random.normal(scale=scale, size=views.shape) for scale in (1.0, 1.1, 1.2)]
    equations, faint = (RingEquations([*estimates[:2], factor * estimates[2]], views) for factor in (1.0, 0.1))
    basis = spline_basis(np.linspace(0.05, 0.5, 10)).T
    first, second = (each.solve(range(VIEWS), 0, 1.0, 0.3) @ basis for each in (equations, faint))
    assert np.allclose(first[:2], second[:2], atol=0.01)
    assert np.allclose(first[2], 0.1 * second[2], atol=0.01)
    assert abs(first[2]).max() > 0.1


def test_where_nothing_does_better_the_best_estimate_is_left_as_it_is(views):
    random = np.random.default_rng(1)
    estimates = [views, *(random.normal(size=views.shape) for _ in range(3))]
    stack = RingEquations(estimates, views + random.normal(scale=3, size=views.shape)).best()
    assert stack.base == 0
    at = spline_basis(np.linspace(0.05, 0.5, 10)) @ stack.weights.T
    assert np.allclose(at, [1, 0, 0, 0], atol=0.25)
    assert stack.error <= stack.base_error


def test_where_views_decide_nothing_the_estimate_is_trusted_that_does_better(views):
    low, high = split_by_frequency(views, 0.25)
    measured = low + 0.2 * high + np.random.default_rng(1).normal(scale=2, size=views.shape)
    wrong = split_by_frequency(np.random.default_rng(2).normal(size=views.shape), 0.25)[1]
    for further, expected in ((low + 0.2 * high, 1.0), (low + 0.5 * wrong, 0.0)):
        stack = RingEquations([low, further], measured).best(1)
        assert stack.base == 0
        assert (spline_basis(np.array([0.4])) @ stack.weights.T)[0, 1] == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("trusted", [0, 1])
def test_what_views_cannot_decide_is_left_to_the_trusted_estimate(views, trusted):
    measured = np.random.default_rng(1).normal(size=views.shape)
    equations = RingEquations([1e-4 * views, 1e-4 * np.roll(views, 1, axis=2)], measured)
    assert np.allclose(equations.solve(range(VIEWS), trusted, 0.3, 0.1), np.eye(2)[:, [trusted]], atol=0.05)


@pytest.mark.parametrize("rows", [1, ROWS])
def test_views_that_are_alike_everywhere_have_weights_too(rows):
    measured = np.ones((rows, VIEWS, WIDTH))
    stack = RingEquations([share * measured for share in (0.5, 0.9, 0.9, 1.1)], measured).best()
    assert np.isfinite(stack.weights).all()
    assert stack.error <= stack.base_error == pytest.approx(0.01, rel=1e-3)


def test_a_sum_leans_towards_one_estimate_in_coarse_detail_and_towards_another_in_fine():
    """By a quarter of the way, at all frequencies that are not the lowest; at zero it stays."""
    weights = np.random.default_rng(0).normal(size=(4, len(knots())))
    stack = Stack(weights, 1, 2.0, 3.0)
    leaning = stack.leaning_towards(2, 3)
    moved = 4 * (weights - leaning.weights)
    for target, low, high in ((2, 0.05, 0.2), (3, 0.3, 1.0)):
        there = (knots() >= low) & (knots() <= high)
        assert there.sum() > 3
        assert np.allclose(moved[:, there], (weights - np.eye(4)[target][:, None])[:, there])
    between = (knots() > 0.2) & (knots() < 0.3)
    assert np.all((weights - moved)[2:, between] > 0.01)
    assert np.allclose((weights - moved)[:, between].sum(axis=0), 1)
    assert np.array_equal(leaning.weights[:, knots() <= 0], weights[:, knots() <= 0])
    assert (leaning.base, leaning.error, leaning.base_error) == (1, 2.0, 3.0)
    assert np.allclose(
        4 * (weights - stack.leaning_towards(2, 2).weights)[:, knots() > 0.05], (weights - np.eye(4)[2][:, None])[:, knots() > 0.05]
    )


def test_a_sum_that_leans_has_the_error_that_it_has_then(views):
    """Less where it leans towards what is right, more where towards what is wrong."""
    random = np.random.default_rng(1)
    near, wrong = (views + size * random.normal(size=views.shape) for size in (0.5, 5.0))
    equations = RingEquations([near, wrong, views], views)
    weights = np.zeros((3, len(knots())))
    weights[0] = 1.0
    stack = Stack(weights, 0, *[float(equations.errors()[0])] * 2)
    right, other = equations.leaning(stack, 2, 2), equations.leaning(stack, 1, 1)
    # A quarter of the way to no error at all.
    assert right.error == pytest.approx(0.75**2 * stack.error, rel=0.03)
    assert other.error > 3 * stack.error
    assert right.base_error == stack.base_error


def test_views_that_judge_took_no_part(views):
    random = np.random.default_rng(1)
    noise = random.normal(size=views.shape)
    # An estimate of the noise itself explains the views that it was found on, and no others.
    estimates = [views, *(np.where(np.arange(VIEWS)[:, None] == view, noise, random.normal(size=views.shape)) for view in range(VIEWS))]
    equations = RingEquations(estimates, views + noise)
    weights = equations.solve(range(VIEWS), 0, 3.0, 0.3)
    assert equations.error(range(VIEWS), weights) < equations.cross_validated(0, 3.0, 0.3)


@pytest.mark.parametrize("count", [1, 5, 70])
def test_volumes_go_on_as_their_mirror_image(count):
    expected = np.pad(np.arange(count), 40, mode="symmetric")
    assert np.array_equal(mirrored(-40, count + 40, count), expected)


@pytest.mark.parametrize("shape", [(9, 5, 12), (16, SLAB_ROWS + 7, 20)])
def test_weights_of_one_leave_a_volume_as_it_is(shape):
    volume = torch.randn(shape[1], shape[0], shape[2], generator=torch.Generator().manual_seed(0))
    into = torch.ones_like(volume)
    RadialFilter(shape, CPU).add(into, lambda low, high: volume[low:high], np.ones(len(knots())))
    assert torch.allclose(into, volume + 1, atol=1e-5)


def test_filter_does_not_see_where_slabs_meet():
    # A wave along y of one frequency is multiplied by the weight there, across all borders of slabs.
    rows, frequency = 4 * SLAB_ROWS, 1 / 8
    wave = torch.cos(2 * torch.pi * frequency * (torch.arange(rows) + 0.5))[:, None, None].expand(rows, 6, 10).contiguous()
    weights = np.random.default_rng(0).normal(size=len(knots()))
    into = torch.zeros_like(wave)
    RadialFilter((6, rows, 10), CPU).add(into, lambda low, high: wave[low:high], weights)
    expected = float((spline_basis(np.array([frequency])) @ weights)[0])
    assert torch.allclose(into, expected * wave, atol=0.01)


def test_frequencies_are_those_of_pixels():
    # Voxels of two pixels: four voxels are eight pixels.
    wave = torch.cos(2 * torch.pi / 4 * (torch.arange(64) + 0.5)).expand(8, 6, 64).contiguous()
    weights = np.random.default_rng(0).normal(size=len(knots()))
    into = torch.zeros_like(wave)
    RadialFilter((6, 8, 64), CPU, 2.0).add(into, lambda low, high: wave[low:high], weights)
    assert torch.allclose(into, float((spline_basis(np.array([1 / 8])) @ weights)[0]) * wave, atol=0.01)


def geometry(num_rows: int, thickness: int = 32, num_tilts: int = 60) -> TiltGeometry:
    return TiltGeometry(tuple(np.linspace(-60, 60, num_tilts)), (num_rows, 64), (thickness, num_rows, 64))


def test_members_are_less_regularized_the_less_noise_there_is():
    weights = [
        [member.config.regularizers[0].weight for member in members_for(config(), ratio, geometry(32))] for ratio in (0.0, 0.1, 1.0, 2.0)
    ]
    assert weights[0] == weights[1] == weights[2]
    assert all(less < more for less, more in zip(weights[3], weights[2], strict=True))


def test_members_differ_and_see_all_rows():
    members = members_for(config(passes=120), 0.5, geometry(48))
    told = [describe(members, index) for index in range(sum(len(member.looks) for member in members))]
    assert {member.config.batch_rows for member in members} == {48}
    assert {member.looks for member in members} == {(15, 30, 60), (30, 60, 120)}
    assert all(member.steps_at_looks(48) == member.looks for member in members)
    assert [entry["passes"] for entry in told[:3]] == [15, 30, 60]
    assert len({(member.config.model_dump_json()) for member in members}) == len(members)


@pytest.mark.parametrize("ratio", [60.0, 10.0, 4.0])
def test_where_noise_is_faint_some_converge_on_a_finer_lattice(ratio):
    members = members_for(config(passes=120, oversampling=2), ratio, geometry(48))
    assert factors(members) == {1, 2}
    # Eight steps a pass, of 48 rows and of some of them; the others take all rows at once.
    converging = [member for member in members if member.config.oversampling == 2]
    assert {member.steps(48) for member in converging} == {8 * 60} == {member.on_rows(16).steps(16) for member in converging}
    assert {member.steps(48) for member in members if member not in converging} == {60}
    assert widest(members).config.oversampling == 2
    assert widest(members).config.blur_voxels == max(member.config.blur_voxels for member in members)


def test_the_less_noise_the_more_of_them_converge():
    counts = [[m.config.oversampling for m in members_for(config(oversampling=2), ratio, geometry(48))].count(2) for ratio in (1, 4, 10)]
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[1] < counts[2]


@pytest.mark.parametrize("ratio", [60.0, 10.0, 4.0])
def test_where_views_are_few_for_the_thickness_none_of_them_converges(ratio):
    counts = {
        (thickness, num_tilts): sum(m.config.oversampling == 2 for m in members_for(config(oversampling=2), ratio, one))
        for thickness, num_tilts in ((32, 60), (64, 30), (64, 15), (256, 60), (256, 240))
        for one in [geometry(48, thickness, num_tilts)]
    }
    assert [place for place, count in counts.items() if count == 0] == [(64, 15), (256, 60)]
    # In strong noise there are enough of others.
    assert members_for(config(), 1.0, geometry(48, 256, 60)) == members_for(config(), 1.0, geometry(48))


def test_halves_of_views_are_fitted_as_the_whole_is() -> None:
    """Whatever their own geometry says, for their weights are of the whole's fits."""
    whole, half = geometry(48, 128, 60), geometry(48, 128, 30)
    assert not are_few(whole)
    assert are_few(half)
    assert members_for(config(), 4.0, half, few_views=False) == members_for(config(), 4.0, whole) != members_for(config(), 4.0, half)
    assert members_for(config(), 4.0, whole, few_views=True) == members_for(config(), 4.0, half)


@pytest.mark.parametrize(("ratio", "fewer"), [(60.0, True), (10.0, True), (4.0, False), (1.0, True), (0.1, True)])
def test_beside_a_network_some_of_them_are_enough(ratio, fewer):
    alone = members_for(config(oversampling=2), ratio, geometry(48))
    beside = members_for(config(oversampling=2), ratio, geometry(48), learned=True)
    assert [member for member in alone if member in beside] == beside
    assert (len(beside) < len(alone)) == fewer
    few_views = geometry(48, 256, 60)
    assert members_for(config(), 4.0, few_views, learned=True) == members_for(config(), 4.0, few_views)


@pytest.mark.parametrize("ratio", [60.0, 10.0, 4.0])
def test_beside_a_network_one_that_converges_is_enough(ratio):
    beside = members_for(config(oversampling=2), ratio, geometry(48), learned=True)
    assert [member.config.oversampling for member in beside].count(2) == 1


def test_steps_on_all_rows_are_steps_on_all_of_some_rows():
    for member in members_for(config(passes=120), 0.5, geometry(48)):
        some = member.on_rows(16)
        assert some.config.rows_per_step(16) == 16
        assert some.steps_at_looks(16) == member.steps_at_looks(48)


def test_few_passes_still_make_a_stack():
    assert all(
        member.steps(8) >= 1 and member.looks == tuple(sorted(set(member.looks)))
        for member in members_for(config(passes=1), 0.5, geometry(8))
    )


def test_no_signal_at_all_empties_as_the_most_noise_does():
    assert usually_below(0.0) == usually_below(1e-3) > usually_below(1.0) > usually_below(1e3) > 0


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_mean_around_a_voxel_is_over_those_that_there_are(rows):
    density = torch.rand(rows, 2, 5, generator=torch.Generator().manual_seed(0))
    found = mean_around(density)
    assert found.shape == density.shape
    for y, z, x in [(0, 0, 0), (rows - 1, 1, 4), (rows // 2, 0, 2)]:
        block = density[max(0, y - 1) : y + 2, max(0, z - 1) : z + 2, max(0, x - 1) : x + 2]
        assert float(found[y, z, x]) == pytest.approx(float(block.mean()), rel=1e-5)
