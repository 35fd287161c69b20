"""Laws of the adaptive field: what it minimizes, and what it does not depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.fbp import fbp_slices
from wedge.fit.adaptive import Prior, Scales, Views, adapt, smoothed, solve
from wedge.fit.adaptive_run import AdaptiveRun
from wedge.fit.config import AdaptiveConfig
from wedge.fit.reconstruct import Plugins, reconstruct
from wedge.fit.settings import validate
from wedge.fit.spectrum import Spectrum, measure
from wedge.geometry import TiltGeometry
from wedge.registry import Registry

CPU = torch.device("cpu")
SHAPE = (16, 40, 32)
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 21)), SHAPE[1:], SHAPE)
FLAT = Spectrum(torch.linspace(0.01, 0.7, 40), torch.ones(40), torch.linspace(2.0, 0.1, 40), 1.0)


@pytest.fixture(scope="module")
def projector():
    return Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build(GEOMETRY, CPU)


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """Blobs of both signs in few places, ``(y, z, x)``."""
    random = np.random.default_rng(0)
    axes = [np.arange(n) for n in (40, 16, 32)]
    density = np.zeros((40, 16, 32))
    for _ in range(14):
        centre = random.uniform((4, 4, 8), (36, 12, 24))
        y, z, x = ((axis - c) / 1.6 for axis, c in zip(axes, centre, strict=True))
        density += random.choice([-1, 1]) * np.exp(-0.5 * (y[:, None, None] ** 2 + z[:, None] ** 2 + x**2))
    return torch.from_numpy(density.astype(np.float32))


@pytest.fixture(scope="module")
def noisy(truth, projector) -> tuple[np.ndarray, np.ndarray]:
    """Two halves at a signal-to-noise of .25 in their mean, ``(y, tilt, x)``."""
    views = projector.project(truth).numpy()
    sigma = views.std() * np.sqrt(8)
    random = np.random.default_rng(1)
    first, second = (views + random.normal(scale=sigma, size=views.shape) for _ in range(2))
    return first.astype(np.float32), second.astype(np.float32)


def series(sinograms: np.ndarray) -> TiltSeries:
    return TiltSeries(np.ascontiguousarray(sinograms.transpose(1, 0, 2)), GEOMETRY, "blobs")


class Collector:
    def __init__(self) -> None:
        self.rows: dict[int, torch.Tensor] = {}

    def write_rows(self, y_start: int, block) -> None:
        self.rows[y_start] = torch.as_tensor(block)

    @property
    def slices(self) -> torch.Tensor:
        return torch.cat([self.rows[start] for start in sorted(self.rows)])


def run(folder: Path, sinograms: np.ndarray, half: np.ndarray | None = None, **changes) -> tuple[torch.Tensor, dict]:
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    plugins = Plugins(registry.resolve("network", "voxel"), registry.resolve("projector", "torch", {"cache": False}))
    settings = {"network": {"name": "voxel"}, "projector": {"name": "torch"}, "method": "adaptive", "positivity": "off"} | changes
    out = Collector()
    other = None if half is None else series(half)
    result = reconstruct(series(sinograms), out, plugins, validate(settings), device=CPU, run_dir=folder, half=other)
    return out.slices, result.summary()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_prior_is_its_own_transpose():
    prior = Prior((6, 7, 9), FLAT, 1.0, CPU)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 7, 9, generator=generator) for _ in range(2))
    assert float((prior(a) * b).sum()) == pytest.approx(float((a * prior(b)).sum()), rel=1e-4)


def test_prior_gives_white_noise_the_spectrum():
    prior = Prior((32, 32, 32), FLAT, 1.0, CPU)
    density = prior(torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(0)))
    expected = float(prior.amplitude.square().mean())
    assert float(density.square().mean()) == pytest.approx(expected, rel=0.1)


def test_solution_is_the_minimum(truth, projector):
    prior, strength = Prior((40, 16, 32), FLAT, 1.0, CPU), 0.5 + torch.rand(40, 16, 32, generator=torch.Generator().manual_seed(2))
    views = Views(projector.project(truth), projector, 0.7)
    density = solve(views, prior, strength, 200)
    # f = G m u with u = m G P^T (p - P f) / noise at the minimum.
    u = strength * prior(projector.backproject(views.sinograms - projector.project(density))) / views.noise_variance
    assert float((prior(strength * u) - density).norm() / density.norm()) < 1e-3


def test_without_noise_views_are_matched(truth, projector):
    views = projector.project(truth)
    spectrum = measure(views.double().numpy(), GEOMETRY)
    prior = Prior((40, 16, 32), spectrum, 1.0, CPU)
    density = adapt(Views(views, projector, spectrum.noise_variance), prior, AdaptiveConfig(rounds=3, iterations=60), Scales())
    assert float((projector.project(density) - views).norm() / views.norm()) < 0.05
    assert correlation(density, truth) > 0.97


def test_in_noise_it_beats_filtered_backprojection(truth, projector, noisy, tmp_path):
    mean = (noisy[0] + noisy[1]) / 2
    density, told = run(tmp_path, mean)
    assert told["method"] == "adaptive"
    filtered = max(correlation(fbp_slices(torch.from_numpy(mean), projector, GEOMETRY, name), truth) for name in ("ramp", "hann"))
    assert correlation(density, truth) > filtered + 0.15


def test_more_strength_is_smoother(noisy, tmp_path):
    energies = [float(run(tmp_path, noisy[0], adaptive={"strength": strength})[0].square().sum()) for strength in (0.5, 2.0, 8.0)]
    assert energies == sorted(energies, reverse=True)


def test_intensities_in_other_units_give_the_same_density(noisy, tmp_path):
    plain, _ = run(tmp_path, noisy[0])
    other, _ = run(tmp_path, (100 * noisy[0] + 700).astype(np.float32))
    assert float((other / 100 - plain).std()) < 2e-2 * float(plain.std())


def test_result_does_not_depend_on_block_height(noisy, tmp_path, monkeypatch):
    whole, _ = run(tmp_path, noisy[0])
    monkeypatch.setattr(AdaptiveRun, "rows_that_fit", lambda self, limit, taken: 8)
    cut, told = run(tmp_path, noisy[0])
    assert told["block_rows"] == 8
    # A halo of 24 rows stands for the rest.
    assert float((cut - whole).std()) < 0.03 * float(whole.std())


def test_two_halves_are_no_worse_than_their_mean(truth, noisy, tmp_path):
    mean, _ = run(tmp_path, (noisy[0] + noisy[1]) / 2)
    both, _ = run(tmp_path, noisy[0], noisy[1])
    assert correlation(both, truth) > correlation(mean, truth) - 0.005


def test_seeds_differ_where_they_are_perturbed_alone(noisy, tmp_path):
    same = [run(tmp_path, noisy[0], seed=seed)[0] for seed in (0, 1)]
    assert torch.equal(*same)
    apart = [run(tmp_path, noisy[0], seed=seed, perturbation=0.2)[0] for seed in (0, 1)]
    again = run(tmp_path, noisy[0], seed=1, perturbation=0.2)[0]
    assert torch.equal(apart[1], again)
    assert float((apart[0] - apart[1]).std()) > 0.01 * float(same[0].std())


def test_strength_is_chosen_on_held_out_views_and_told(noisy, tmp_path):
    _, told = run(tmp_path, noisy[0], tune=["strength"], adaptive={"strength": 16.0})
    trials = {trial["strength"]: trial["held_out_error"] for trial in told["chosen"]["trials"]}
    assert told["chosen"]["strength"] == min(trials, key=trials.get) or len(trials) < 3
    assert len(trials) >= 2


def test_smoothing_keeps_constants_and_mass_inside():
    assert torch.allclose(smoothed(torch.full((9, 5, 7), 3.0), 2.0), torch.full((9, 5, 7), 3.0), atol=1e-5)
    point = torch.zeros(21, 21, 21)
    point[10, 10, 10] = 1
    assert float(smoothed(point, 1.5).sum()) == pytest.approx(1.0, abs=1e-4)
