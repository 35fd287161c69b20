"""Laws of the data term: which residuals weigh how much, and which views it sees."""

import math

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.fit.batches import Slab
from wedge.fit.config import DataTermConfig
from wedge.fit.data_term import DataPart, DataTerm, Perturbation, residual_weight, split_parts
from wedge.fit.hold_out import spread_views
from wedge.fit.normalization import Normalization
from wedge.geometry import TiltGeometry

CPU = torch.device("cpu")
TILTS, ROWS, WIDTH = 5, 6, 16
UNITS = Normalization(0.0, 1.0, True)


class Nothing:
    """A projector that sees nothing: the residual is what was measured, but for its sign."""

    adjoint_tolerance = 0.0

    def __init__(self, geometry: TiltGeometry) -> None:
        self.geometry = geometry

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.new_zeros(len(slices), self.geometry.num_tilts, self.geometry.detector_shape[1])

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        return sinograms.new_zeros(len(sinograms), *self.geometry.volume_shape[::2])


class Sums(Nothing):
    """One view along z."""

    def project(self, slices: torch.Tensor) -> torch.Tensor:
        return slices.sum(dim=1, keepdim=True).expand(-1, self.geometry.num_tilts, -1)

    def backproject(self, sinograms: torch.Tensor) -> torch.Tensor:
        return sinograms.sum(dim=1, keepdim=True).expand(-1, self.geometry.volume_shape[0], -1)


def geometry(thickness: int = 4, width: int = WIDTH, **settings) -> TiltGeometry:
    return TiltGeometry(tuple(np.linspace(-60, 60, TILTS)), (ROWS, width), (thickness, ROWS, width), **settings)


def term(sinograms: np.ndarray, config: DataTermConfig, *, weights=None, resident=True, units=UNITS, thickness=4, kind=Nothing, **settings):
    where = geometry(thickness, sinograms.shape[2], **settings)
    series = TiltSeries(np.ascontiguousarray(sinograms.transpose(1, 0, 2), dtype=np.float32), where)
    part = DataPart(series, where, torch.ones(TILTS) if weights is None else torch.tensor(weights))
    return DataTerm(part, kind(where), units, config, CPU, resident)


def loss_of(sinograms: np.ndarray, thickness: int = 4, **settings) -> float:
    """The loss of empty space."""
    options = {key: settings.pop(key) for key in list(settings) if key in DataTermConfig.model_fields}
    made = term(sinograms, DataTermConfig(**options), thickness=thickness, **settings)
    return float(made(torch.zeros(ROWS, thickness, sinograms.shape[2]), Slab(0, ROWS, 0, ROWS)))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, TILTS, WIDTH))


def test_plain_l2_is_the_mean_square_over_the_thickness(noise):
    assert loss_of(noise, weighting="plain") == pytest.approx(np.mean(noise**2) / 4, rel=1e-5)


def test_plain_l1_is_the_mean_over_the_root_of_the_thickness(noise):
    assert loss_of(noise, weighting="plain", loss="l1") == pytest.approx(np.mean(np.abs(noise)) / 2, rel=1e-5)


def test_huber_lies_between_its_two_ends(noise):
    assert loss_of(noise, weighting="plain", loss="huber", huber_delta=1e3) == pytest.approx(np.mean(noise**2) / 8, rel=1e-5)
    linear = loss_of(noise, weighting="plain", loss="huber", huber_delta=1e-5)
    assert linear == pytest.approx(1e-5 * np.mean(np.abs(noise)) / 2, rel=1e-3)


@pytest.mark.parametrize("rolloff", [None, 0.1])
@pytest.mark.parametrize("width", [16, 13, 1])
def test_ramped_l2_is_the_weighted_power_by_parseval(rolloff, width):
    sinograms = np.random.default_rng(1).normal(size=(ROWS, TILTS, width))
    num_fft = 2 ** math.ceil(math.log2(2 * width))
    frequency = np.abs(np.fft.fftfreq(num_fft))
    weight = frequency + 0.005
    if rolloff:
        weight /= 1 + (frequency / rolloff) ** 4
    weight /= weight[: num_fft // 2 + 1].mean()
    power = np.abs(np.fft.fft(sinograms, n=num_fft, axis=2)) ** 2
    expected = (power * weight).sum() / num_fft / (ROWS * TILTS * width) / 4
    assert loss_of(sinograms, rolloff=rolloff) == pytest.approx(expected, rel=1e-4)


def test_ramp_weights_every_frequency_of_a_white_residual_by_itself():
    # One wave at a time, faded out towards the detector's ends: the loss is the weight at its frequency.
    width = 256
    weight = residual_weight(2 * width, DataTermConfig(ramp_floor=0.0), CPU)
    assert float(weight.mean()) == pytest.approx(1)
    fade, place = np.hanning(width), np.arange(width)
    for wave in (16, 32, 64):
        sinograms = np.broadcast_to(fade * np.cos(2 * np.pi * wave / width * place), (ROWS, TILTS, width))
        expected = float(weight[2 * wave]) * np.mean(sinograms**2) / 4
        assert loss_of(sinograms, ramp_floor=0.0) == pytest.approx(expected, rel=0.01)


def test_floor_and_rolloff_bend_the_ramp():
    frequency = torch.fft.rfftfreq(64)
    ramp = residual_weight(64, DataTermConfig(ramp_floor=0.0), CPU)
    assert torch.allclose(ramp / ramp[-1], frequency / 0.5)
    lifted = residual_weight(64, DataTermConfig(ramp_floor=0.1), CPU)
    assert float(lifted[0] / lifted[-1]) == pytest.approx(0.1 / 0.6)
    rolled = residual_weight(64, DataTermConfig(ramp_floor=0.0, rolloff=0.125), CPU)
    assert float(rolled[8] / rolled[-1]) == pytest.approx((0.125 / 2) / (0.5 / (1 + 4**4)))


def test_same_error_in_every_voxel_costs_the_same_for_thin_and_thick_specimens():
    # White noise of the same variance in every voxel: projections have the thickness times its variance.
    random = np.random.default_rng(2)
    losses = []
    for thickness in (4, 16, 64):
        projected = random.normal(size=(ROWS, thickness, TILTS, 64)).sum(axis=1)
        losses.append(loss_of(projected, thickness))
    assert max(losses) / min(losses) < 1.2


def test_thickness_is_a_length_not_a_count(noise):
    fine = loss_of(noise, thickness=8, voxel_size_in_pixels=0.5)
    assert fine == pytest.approx(loss_of(noise, thickness=4), rel=1e-6)


def test_views_count_by_their_weights(noise):
    only = [0.0, 0.0, 5.0, 0.0, 0.0]
    assert loss_of(noise, weighting="plain", weights=only) == pytest.approx(np.mean(noise[:, 2] ** 2) / 4, rel=1e-5)
    spoilt = noise.copy()
    spoilt[:, 0] = 1e6
    assert loss_of(spoilt, weights=only) == loss_of(noise, weights=only)


def test_intensities_are_measured_in_the_units_of_the_fit(noise):
    raw = 250 + 40 * noise
    assert loss_of(raw, units=Normalization(250.0, 40.0, True)) == pytest.approx(loss_of(noise), rel=1e-4)


@pytest.mark.parametrize("weighting", ["plain", "ramp"])
def test_resident_or_not_gives_the_same_bits(noise, weighting):
    config, units = DataTermConfig(weighting=weighting), Normalization(0.3, 1.7, True)
    slices = torch.rand(3, 4, WIDTH, generator=torch.Generator().manual_seed(0))
    slab = Slab(2, 5, 1, 6)
    values = []
    for resident in (True, False):
        made = term(noise, config, resident=resident, units=units, kind=Sums)
        found = slices.clone().requires_grad_()
        loss = made(found, slab)
        loss.backward()
        values.append((made.measured(slab), loss.detach(), found.grad))
    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))
    expected = (noise[2:5].astype(np.float32).astype(np.float64) - 0.3) / 1.7
    assert np.allclose(values[0][0], expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["l2", "l1", "huber"])
@pytest.mark.parametrize("weighting", ["plain", "ramp"])
def test_gradient_is_that_of_the_loss(noise, loss, weighting):
    made = term(noise, DataTermConfig(loss=loss, weighting=weighting), kind=Sums)
    slab = Slab(0, ROWS, 0, ROWS)
    random = torch.Generator().manual_seed(1)
    slices = torch.rand(ROWS, 4, WIDTH, generator=random).requires_grad_()
    made(slices, slab).backward()
    # Along the gradient the rise is its length.
    length = float(slices.grad.norm())
    direction = slices.grad / length
    with torch.no_grad():
        rise = float(made(slices + 1e-2 * direction, slab).double() - made(slices - 1e-2 * direction, slab).double()) / 2e-2
    assert rise == pytest.approx(length, rel=1e-2)


def test_losses_of_slabs_weighted_by_rows_add_up(noise):
    made = term(noise, DataTermConfig(), kind=Sums)
    slices = torch.rand(ROWS, 4, WIDTH, generator=torch.Generator().manual_seed(2))
    whole = float(made(slices, Slab(0, ROWS, 0, ROWS)))
    parts = [float(made(slices[a:b], Slab(a, b, a, b))) * (b - a) / ROWS for a, b in ((0, 1), (1, 4), (4, 6))]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("num_tilts", [5, 8, 41, 60])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.2, 0.5, 0.89])
def test_held_out_views_spread_and_leave_the_ends(num_tilts, fraction):
    views = spread_views(num_tilts, fraction)
    count = round(fraction * num_tilts)
    assert len(views) == (count if num_tilts - count >= 4 else 0)
    assert not {0, num_tilts - 1} & set(views)
    if len(views) > 1:
        gaps = np.diff([-1, *views, num_tilts])
        assert gaps.max() - gaps.min() <= 2


def test_held_out_views_are_the_inner_angles_whatever_the_order_of_the_stack():
    angles = (0.0, 20.0, -20.0, 40.0, -40.0, 60.0, -60.0, 10.0)
    where = TiltGeometry(angles, (3, 4), (2, 3, 4), acquisition_order=tuple(range(8)))
    array = np.broadcast_to(np.array(angles, dtype=np.float32)[:, None, None], (8, 3, 4)).copy()
    fitted, held = split_parts(TiltSeries(array, where, "stack", simulated=True), 0.25)
    assert (fitted.held_out, held.held_out) == (False, True)
    assert sorted([*fitted.geometry.tilt_angles_deg, *held.geometry.tilt_angles_deg]) == sorted(angles)
    assert {60.0, -60.0} <= set(fitted.geometry.tilt_angles_deg)
    for part in (fitted, held):
        # Every view keeps its angle.
        assert np.array_equal(part.series.array[:, 0, 0], part.geometry.tilt_angles_deg)
        assert part.series.simulated
        assert len(part.weights) == part.geometry.num_tilts
        assert float(part.weights.mean()) == 1


@pytest.mark.parametrize("fraction", [0.0, 0.01])
def test_without_views_to_hold_out_there_is_one_part(fraction):
    series = TiltSeries(np.zeros((TILTS, ROWS, WIDTH), dtype=np.float32), geometry())
    (part,) = split_parts(series, fraction)
    assert not part.held_out
    assert part.series is series


def test_perturbation_is_noise_of_each_rows_own():
    rows = np.full((40, TILTS, WIDTH), 5.0)
    noise = Perturbation(0.3, 7).add(rows, 0) - 5
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert abs(noise.mean()) < 0.02
    # The same however rows are read, another for another seed, and what was read stays.
    assert np.array_equal(Perturbation(0.3, 7).add(rows[10:13], 10) - 5, noise[10:13])
    assert abs(np.corrcoef((Perturbation(0.3, 8).add(rows, 0) - 5).ravel(), noise.ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.4
    assert (rows == 5).all()
    assert Perturbation(0.0, 7).add(rows, 0) is rows


@pytest.mark.parametrize("held_out", [False, True])
def test_views_that_judge_are_not_perturbed(noise, held_out):
    where, config = geometry(), DataTermConfig(weighting="plain")
    part = DataPart(TiltSeries(np.ascontiguousarray(noise.transpose(1, 0, 2), np.float32), where), where, torch.ones(TILTS), held_out)
    slab, empty = Slab(0, ROWS, 0, ROWS), torch.zeros(ROWS, 4, WIDTH)

    def loss(made: Perturbation | None) -> float:
        return float(DataTerm(part, Nothing(where), UNITS, config, CPU, True, perturbation=made)(empty, slab))

    assert (loss(Perturbation(1.0, 0)) == loss(None)) == held_out
