"""Rays with weights: those of weight 0 play no part in any fit, and weights of 1 change nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge.agreement import evaluate_tilts
from wedge.data import TiltSeries, Volume
from wedge.defaults import reconstruct_settings
from wedge.errors import InputError
from wedge.fit.begin import begin
from wedge.fit.halves import pair_halves
from wedge.fit.reconstruct import Plugins, reconstruct
from wedge.fit.run_dir import fingerprint
from wedge.fit.settings import validate
from wedge.formats.views import views_of
from wedge.formats.window import window
from wedge.geometry import TiltGeometry
from wedge.masked import fill_along_rows
from wedge.registry import Registry
from wedge.slabs import read_sinograms, read_weights

CPU = torch.device("cpu")
SHAPE = (12, 20, 24)
GEOMETRY = TiltGeometry(tuple(np.linspace(-60, 60, 15)), SHAPE[1:], SHAPE)
METHODS = {
    "network": {"method": "network", "passes": 3, "tune": ("regularizer",)},
    "stack": {"method": "stack", "passes": 4, "tune": ("stack",)},
    "adaptive": {"method": "adaptive", "positivity": "off", "tune": ("strength",)},
}


def plugins() -> Plugins:
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    projector = registry.resolve("projector", "torch", {"cache": False})
    return Plugins(registry.resolve("network", "voxel"), projector, [registry.resolve("regularizer", "tv")])


@pytest.fixture(scope="module")
def series() -> TiltSeries:
    """Noisy views of two blocks."""
    density = torch.zeros(SHAPE[1], SHAPE[0], SHAPE[2])
    density[3:9, 3:8, 8:14] = 1
    density[11:17, 5:9, 10:17] = 0.7
    projector = plugins().projector.build(GEOMETRY, CPU)
    views = projector.project(density).permute(1, 0, 2).numpy()
    projector.close()
    noise = np.random.default_rng(3).normal(scale=0.5 * views.std(), size=views.shape)
    return TiltSeries((views + noise).astype(np.float32), GEOMETRY, "blocks")


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """A patch that moves over the views, and one whole row of one view."""
    weights = np.ones((GEOMETRY.num_tilts, *SHAPE[1:]), np.float32)
    for tilt in range(GEOMETRY.num_tilts):
        weights[tilt, 6:10, 3 + tilt : 7 + tilt] = 0
    weights[4, 12] = 0
    return weights


def spoiled(series: TiltSeries, weights: np.ndarray, value: float) -> TiltSeries:
    return replace(series, array=np.where(weights == 0, np.float32(value), series.array), weights=weights)


class Collector:
    def __init__(self) -> None:
        self.rows: dict[int, torch.Tensor] = {}

    def write_rows(self, y_start: int, block) -> None:
        self.rows[y_start] = torch.as_tensor(block)


def fitted(series: TiltSeries, method: str, folder: Path, **options) -> tuple[torch.Tensor, dict]:
    settings = {
        "network": {"name": "voxel"},
        "projector": {"name": "torch"},
        "regularizers": [{"name": "tv", "weight": 0.01}],
    } | METHODS[method]
    out = Collector()
    folder.mkdir(exist_ok=True)
    result = reconstruct(series, out, plugins(), validate(settings), device=CPU, run_dir=folder, **options)
    return torch.cat([out.rows[start] for start in sorted(out.rows)]), result.summary()["chosen"]


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_one_change_nothing(method, series, tmp_path) -> None:
    without, chosen = fitted(series, method, tmp_path / "a")
    ones = replace(series, weights=np.ones(series.array.shape, np.float32))
    same, also_chosen = fitted(ones, method, tmp_path / "b")
    assert torch.allclose(without, same, rtol=0, atol=1e-6 * float(without.abs().max()))
    assert chosen.keys() == also_chosen.keys()


@pytest.mark.parametrize("method", METHODS)
def test_what_was_measured_on_rays_without_weight_plays_no_part(method, series, mask, tmp_path) -> None:
    clean, chosen = fitted(spoiled(series, mask, 0.0), method, tmp_path / "a")
    same, also_chosen = fitted(spoiled(series, mask, 1e3), method, tmp_path / "b")
    assert torch.equal(clean, same)
    assert str(chosen) == str(also_chosen)


@pytest.mark.parametrize("method", ["network", "adaptive"])
def test_rays_without_weight_are_left_out_not_only_filled(method, series, mask, tmp_path) -> None:
    # What fills them would be believed if they still had a say.
    weighted, _ = fitted(spoiled(series, mask, 0.0), method, tmp_path / "a")
    filled = read_sinograms(spoiled(series, mask, 0.0), 0, SHAPE[1]).transpose(1, 0, 2)
    believed, _ = fitted(replace(series, array=np.ascontiguousarray(filled)), method, tmp_path / "b")
    assert float((weighted - believed).abs().max()) > 1e-3 * float(believed.abs().max())


def test_garbage_in_both_halves_plays_no_part(series, mask, tmp_path) -> None:
    other = replace(series, array=series.array + np.random.default_rng(4).normal(size=series.array.shape).astype(np.float32))
    found = []
    for value in (0.0, 1e3):
        # The second half has no weights of its own: what is masked in one is masked in both.
        second = replace(spoiled(other, mask, value), weights=None)
        found.append(fitted(spoiled(series, mask, value), "adaptive", tmp_path / str(value), half=second)[0])
    assert torch.equal(*found)


def test_weights_of_both_halves_count(series, mask) -> None:
    second = np.ones_like(mask)
    second[0, 0, 0] = 0.25
    common = pair_halves(replace(series, weights=mask), replace(series, weights=second)).mean.weights
    assert np.array_equal(common[:], np.minimum(mask, second))


def test_fill_is_linear_between_neighbours_and_constant_beyond() -> None:
    row = np.array([[[9.0, 1, 9, 9, 4, 9]]], np.float32)
    filled = fill_along_rows(row, row == 9)
    assert np.allclose(filled, [[[1, 1, 2, 3, 4, 4]]])


def test_a_row_without_any_weight_is_refused(series) -> None:
    weights = np.ones(series.array.shape, np.float32)
    weights[:, 5] = 0
    registry = Registry.load({"WEDGE_PLUGINS": ""})
    plugins = Plugins(registry.resolve("network", "voxel"), registry.resolve("projector", "torch", {"cache": False}))
    with pytest.raises(InputError, match="row 5 of blocks has weight 0 in all views"):
        begin(replace(series, weights=weights), None, plugins, validate(reconstruct_settings()), torch.device("cpu"), None)


def test_a_row_hidden_in_the_views_of_a_part_reads_as_nothing(series) -> None:
    weights = np.ones(series.array.shape, np.float32)
    weights[0, 5] = 0
    part = views_of(replace(series, weights=weights), [0])
    assert not read_sinograms(part, 5, 6).any()
    np.testing.assert_array_equal(read_sinograms(part, 4, 5)[0, 0], series.array[0, 4])


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
def test_weights_beyond_0_and_1_are_refused(series, value) -> None:
    weights = np.full(series.array.shape, value, np.float32)
    with pytest.raises(InputError, match="within 0 and 1"):
        read_weights(replace(series, weights=weights), 0, 8)


def test_views_and_windows_keep_their_weights(series, mask) -> None:
    weighted = replace(series, weights=mask)
    assert np.array_equal(views_of(weighted, [4, 2]).weights[:], mask[[4, 2]])
    assert np.array_equal(window(weighted, crop_y=(5, 15)).weights[:], mask[:, 5:15])


def test_binning_averages_pixels_by_their_weights(series, mask) -> None:
    binned, spoilt = (window(spoiled(series, mask, value), factor=2) for value in (0.0, 1e3))
    assert np.array_equal(binned.array[:], spoilt.array[:])
    blocks = (mask * series.array).reshape(15, 10, 2, 12, 2).sum(axis=(2, 4))
    counts = mask.reshape(15, 10, 2, 12, 2).sum(axis=(2, 4))
    assert np.allclose(binned.array[:][counts > 0], (blocks[counts > 0] / counts[counts > 0]), atol=1e-5)
    assert np.allclose(binned.weights[:], counts / 4)


def test_a_fit_goes_on_with_the_same_weights_only(series, mask) -> None:
    prints = {fingerprint(replace(series, weights=weights)) for weights in (None, np.ones_like(mask), 0.5 * np.ones_like(mask))}
    assert len(prints) == 3


def test_agreement_leaves_rays_without_weight_out(series, mask) -> None:
    density = np.random.default_rng(5).uniform(size=SHAPE).astype(np.float32)
    projector = plugins().projector.build(GEOMETRY, CPU)
    volume = Volume(density)
    clean, spoilt = (evaluate_tilts(volume, spoiled(series, mask, value), projector).values for value in (0.0, 1e3))
    assert clean == spoilt
    ones = evaluate_tilts(volume, replace(series, weights=np.ones_like(mask)), projector).values
    assert ones == pytest.approx(evaluate_tilts(volume, series, projector).values, rel=1e-12)
    assert clean != pytest.approx(ones, rel=1e-6)
    # By hand: correlation over the rays that count.
    predicted = projector.project(torch.from_numpy(density.transpose(1, 0, 2).copy())).numpy().transpose(1, 0, 2)
    expected = np.corrcoef(predicted[mask > 0], series.array[mask > 0])[0, 1]
    assert clean["tilts.correlation"] == pytest.approx(expected, rel=1e-5)
    projector.close()
