"""PSNR, SSIM and VIF against independent implementations, and what they do with slices that are too thin."""

import math

import numpy as np
import pytest
import torch
from sewar.full_ref import vifp
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from wedge_metrics.psnr import CEILING_DB, Psnr
from wedge_metrics.ssim import Ssim
from wedge_metrics.vif import LEAST_SIDE, Vif, VifOptions, vif_slices
from wedge_metrics.windows import filter_slices, gaussian_window, mirror_to

from wedge.contracts import MetricContext, MetricResult


def pair(z: int = 47, y: int = 13, x: int = 58) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume and a reference, ``(y, z, x)`` float32: blobs, and the same blurred, brighter and noisy."""
    rng = np.random.default_rng(3)
    grid = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in (y, z, x)), indexing="ij")
    reference = np.zeros((y, z, x))
    for centre in rng.uniform(0, (y, z, x), (12, 3)):
        reference += np.exp(-sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) / 18)
    volume = 0.8 * (reference + np.roll(reference, 1, axis=2)) / 2 + 0.1 + 0.03 * rng.standard_normal(reference.shape)
    return volume.astype(np.float32), reference.astype(np.float32)


def run(metric: Psnr | Ssim | Vif, volume: np.ndarray, reference: np.ndarray, data_range: float) -> MetricResult:
    y, z, x = volume.shape
    metric.start(MetricContext((z, y, x), data_range))
    for start in range(0, y, 5):
        metric.update(start, torch.from_numpy(volume[start : start + 5]), torch.from_numpy(reference[start : start + 5]))
    return metric.finish()


def test_psnr_is_that_of_scikit_image() -> None:
    volume, reference = pair()
    data_range = float(np.ptp(reference))
    found = run(Psnr(), volume, reference, data_range)
    expected = [
        peak_signal_noise_ratio(r, v, data_range=data_range)
        for v, r in zip(volume.astype(np.float64), reference.astype(np.float64), strict=True)
    ]
    assert found.per_slice == pytest.approx(expected, rel=1e-9)
    assert found.values[""] == pytest.approx(np.mean(expected), rel=1e-9)
    whole = peak_signal_noise_ratio(reference.astype(np.float64), volume.astype(np.float64), data_range=data_range)
    assert found.values["volume"] == pytest.approx(whole, rel=1e-9)


def test_psnr_of_equal_slices_is_the_stated_ceiling() -> None:
    _, reference = pair()
    found = run(Psnr(), reference, reference, 1.0)
    assert set(found.per_slice or []) == {CEILING_DB}
    assert f"{CEILING_DB:g} dB" in found.note


def test_ssim_is_that_of_scikit_image() -> None:
    volume, reference = pair()
    data_range = float(np.ptp(reference))
    found = run(Ssim(), volume, reference, data_range)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": data_range}
    doubles = volume.astype(np.float64), reference.astype(np.float64)
    assert found.per_slice == pytest.approx([structural_similarity(r, v, **options) for v, r in zip(*doubles, strict=True)], rel=1e-9)
    assert found.values["volume"] == pytest.approx(structural_similarity(doubles[1], doubles[0], **options), rel=1e-9)


def test_ssim_of_few_rows_has_no_volume_value_and_says_so() -> None:
    volume, reference = pair(y=10)
    found = run(Ssim(), volume, reference, 1.0)
    assert "volume" not in found.values
    assert "fewer than 11 rows" in found.note


@pytest.mark.parametrize(("variant", "peak"), [("standard", 255.0), ("study", 1.0)])
def test_vif_is_that_of_sewar_on_its_scale(variant: str, peak: float) -> None:
    volume, reference = pair()
    data_range = float(np.ptp(reference))
    found = run(Vif(VifOptions(variant=variant)), volume, reference, data_range)
    scaled = (peak / data_range * array.astype(np.float64) for array in (volume, reference))
    assert found.per_slice == pytest.approx([vifp(r, v) for v, r in zip(*scaled, strict=True)], rel=1e-6)
    assert f"{variant} variant" in found.note


def test_vif_does_not_depend_on_the_unit_of_density() -> None:
    volume, reference = pair(y=3)
    once, again = (run(Vif(), volume * factor, reference * factor, 2.0 * factor).values[""] for factor in (np.float32(1), np.float32(1000)))
    assert again == pytest.approx(once, rel=1e-5)


def test_the_two_variants_may_rank_differently() -> None:
    """Why both carry a name: noise costs information on 0-255 and is nothing beside the eye's noise on 0-1, where only lost gain counts."""
    _, reference = pair()
    rng = np.random.default_rng(0)
    noisy = reference + 0.05 * rng.standard_normal(reference.shape).astype(np.float32)
    faint = 0.7 * reference
    standard, study = (
        [run(Vif(VifOptions(variant=variant)), volume, reference, 1.0).values[""] for volume in (noisy, faint)]
        for variant in ("standard", "study")
    )
    assert standard[0] < standard[1]
    assert study[0] > study[1]


def test_vif_of_thin_slices_is_that_of_mirrored_ones_and_says_so() -> None:
    volume, reference = pair(z=32)
    found = run(Vif(), volume, reference, 1.0)
    before, after = (LEAST_SIDE - 32) // 2, LEAST_SIDE - 32 - (LEAST_SIDE - 32) // 2
    padded = (np.pad(255 * array.astype(np.float64), ((0, 0), (before, after), (0, 0)), mode="symmetric") for array in (volume, reference))
    assert found.per_slice == pytest.approx([vifp(r, v) for v, r in zip(*padded, strict=True)], rel=1e-6)
    assert "z=32 mirrored to the 41 voxels" in found.note


@pytest.mark.parametrize("side", [1, 2, 7, 20])
def test_vif_of_any_thinness_is_finite_and_best_for_the_reference(side: int) -> None:
    volume, reference = pair(z=side)
    assert run(Vif(), reference, reference, 1.0).values[""] == pytest.approx(1.0, rel=1e-6)
    assert 0 < run(Vif(), volume, reference, 1.0).values[""] < 1


def test_slices_that_are_large_enough_are_left_alone() -> None:
    stack = torch.rand(2, LEAST_SIDE, LEAST_SIDE + 3)
    assert mirror_to(stack, LEAST_SIDE) is stack
    assert vif_slices(stack.double() * 255, stack.double() * 255, 2.0).tolist() == pytest.approx([1.0, 1.0])


def test_vif_does_not_divide_by_the_ripple_of_empty_rows() -> None:
    volume, reference = pair()
    whole = run(Vif(VifOptions()), volume, reference, 1.0)
    reference[4] = 1e-4 * reference[4]
    spoiled = run(Vif(VifOptions()), volume, reference, 1.0)
    assert math.isnan(spoiled.per_slice[4])
    assert spoiled.values[""] == pytest.approx((sum(whole.per_slice) - whole.per_slice[4]) / 12)


def test_vif_leaves_out_rows_whose_reference_is_flat() -> None:
    volume, reference = pair()
    expected = run(Vif(), volume[1:], reference[1:], 1.0).values[""]
    reference[0] = 0.3
    found = run(Vif(), volume, reference, 1.0)
    assert math.isnan((found.per_slice or [])[0])
    assert found.values[""] == pytest.approx(expected)
    assert "1 of 13 y-slices left out" in found.note


def test_window_is_a_correlation_inside_the_image() -> None:
    window = gaussian_window(5, 1.1)
    assert sum(window) == pytest.approx(1.0)
    stack = torch.rand(3, 9, 12, dtype=torch.float64)
    kernel = torch.tensor(window, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(stack[:, None], torch.outer(kernel, kernel)[None, None])[:, 0]
    assert torch.allclose(filter_slices(stack, window), expected)
