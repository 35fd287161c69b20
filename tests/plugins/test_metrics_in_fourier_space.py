"""FRC, FSC and wedge energy against a naive computation over the whole spectrum, one frequency after the other."""

import math

import numpy as np
import pytest
import torch
from wedge_metrics.correlation import ShellSums, resolutions
from wedge_metrics.frc import Frc
from wedge_metrics.fsc import Fsc
from wedge_metrics.wedge_energy import WedgeEnergy

from wedge.contracts import MetricContext, MetricResult
from wedge.fourier import half_bit_threshold, shell_index

ANGLES = (-52.0, -30.0, -3.0, 20.0, 41.0, 66.0)
SHAPES = [(12, 10, 16), (9, 15, 11), (16, 7, 13)]


def pair(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume and a reference that share some of their noise, ``(z, y, x)`` float32."""
    rng = np.random.default_rng(5)
    reference = rng.standard_normal(shape)
    return (0.6 * reference + 0.5 * rng.standard_normal(shape) + 3).astype(np.float32), reference.astype(np.float32)


def run(metric: Frc | Fsc | WedgeEnergy, volume: np.ndarray, reference: np.ndarray, **context: object) -> MetricResult:
    known = {"data_range": 1.0, "tilt_angles_deg": ANGLES, **context}
    metric.start(MetricContext(volume.shape, **known))  # type: ignore[arg-type]
    rows = [torch.from_numpy(array.transpose(1, 0, 2).copy()) for array in (volume, reference)]
    for start in range(0, volume.shape[1], 4):
        metric.update(start, *(array[start : start + 4] for array in rows))
    return metric.finish()


def is_missing(kz: float, kx: float) -> bool:
    """Whether no direction between the extreme tilts, or its opposite, passes through this frequency.

    Frequencies of -1/2 stand for 1/2 too: as in a half spectrum, kx is taken as positive, and kz is what it is there.
    """
    if kx == -0.5:
        kx = 0.5
    elif kx < 0:
        kz, kx = kz if kz == -0.5 else -kz, -kx
    if kz == 0 and kx == 0:
        return False
    angle = math.degrees(math.atan2(kz, kx))
    return not any(min(ANGLES) - 1e-9 <= angle + turn <= max(ANGLES) + 1e-9 for turn in (-180, 0, 180))


def naive_curves(volume: np.ndarray, reference: np.ndarray) -> dict[str, list[float]]:
    """Correlate over shells, any number of dimensions with z first and x last, by a loop over every frequency of the whole spectrum."""
    spectra = [np.fft.fftn(array.astype(np.float64)) for array in (volume, reference)]
    longest = max(volume.shape)
    sums = {name: np.zeros((longest // 2 + 1, 3)) for name in ("whole", "cone", "wedge")}
    frequencies = [np.fft.fftfreq(n) for n in volume.shape]
    for place in np.ndindex(volume.shape):
        k = [axis[i] for axis, i in zip(frequencies, place, strict=True)]
        shell = math.floor(math.sqrt(sum(f * f for f in k)) * longest + 0.5 - 1e-6)
        if shell > longest // 2 or not any(k):
            continue
        a, b = (spectrum[place] for spectrum in spectra)
        terms = (a.conjugate() * b).real, abs(a) ** 2, abs(b) ** 2
        sums["whole"][shell] += terms
        sums["wedge" if is_missing(k[0], k[-1]) else "cone"][shell] += terms
    with np.errstate(invalid="ignore"):
        return {name: (s[:, 0] / np.sqrt(s[:, 1] * s[:, 2]))[1:].tolist() for name, s in sums.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_fsc_is_the_naive_one(shape: tuple[int, int, int]) -> None:
    volume, reference = pair(shape)
    found = run(Fsc(), volume, reference)
    expected = naive_curves(volume, reference)
    assert found.curve is not None
    for name, series in expected.items():
        assert found.curve.series[name] == pytest.approx(series, abs=2e-6, nan_ok=True)
    assert found.curve.x == pytest.approx([i / max(shape) for i in range(1, max(shape) // 2 + 1)])
    assert found.values["wedge"] == pytest.approx(np.nanmean(expected["wedge"]), abs=2e-6)
    assert found.values[""] == pytest.approx(np.nanmean(expected["whole"]), abs=2e-6)


def test_fsc_keeps_its_precision_on_a_large_background() -> None:
    """Spectra are kept in single precision, where a background of raw counts would drown what varies along y alone."""
    volume, reference = (array + np.float32(3e4) for array in pair((12, 10, 16)))
    found = run(Fsc(), volume, reference)
    assert found.curve is not None
    assert found.curve.series["cone"] == pytest.approx(naive_curves(volume, reference)["cone"], abs=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_frc_is_the_naive_one_of_each_slice(shape: tuple[int, int, int]) -> None:
    volume, reference = pair(shape)
    found = run(Frc(), volume, reference)
    expected = [naive_curves(volume[:, y], reference[:, y]) for y in range(shape[1])]
    assert found.per_slice == pytest.approx([np.nanmean(curves["whole"]) for curves in expected], abs=1e-9)
    assert found.values["cone"] == pytest.approx(np.mean([np.nanmean(curves["cone"]) for curves in expected]), abs=1e-9)
    assert found.curve is not None
    for name in ("whole", "wedge"):
        mean = np.mean([curves[name] for curves in expected], axis=0).tolist()
        assert found.curve.series[name] == pytest.approx(mean, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_wedge_energy_is_the_ratio_over_the_whole_spectrum(shape: tuple[int, int, int]) -> None:
    volume, reference = pair(shape)
    energies = []
    for array in (volume, reference):
        power = np.abs(np.fft.fftn(array.astype(np.float64))) ** 2
        kz, kx = np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[2])
        missing = np.array([[is_missing(z, x) for x in kx] for z in kz])
        energies.append(power.transpose(0, 2, 1)[missing].sum())
    assert run(WedgeEnergy(), volume, reference).values[""] == pytest.approx(energies[0] / energies[1], rel=1e-9)


def test_half_the_amplitude_has_a_quarter_of_the_energy_and_the_same_correlation() -> None:
    _, reference = pair((12, 10, 16))
    assert run(WedgeEnergy(), reference / 2, reference).values[""] == pytest.approx(0.25)
    assert run(Fsc(), reference / 2, reference).values["wedge"] == pytest.approx(1.0)


def test_nothing_in_the_wedge_correlates_to_nothing_there() -> None:
    """An empty wedge is a correlation of 0, not an undefined one that would be left out of means."""
    _, reference = pair((12, 10, 16))
    spectrum = np.fft.fft2(reference, axes=(0, 2))
    missing = np.array([[is_missing(z, x) for x in np.fft.fftfreq(16)] for z in np.fft.fftfreq(12)])
    measured = np.fft.ifft2(np.where(missing[:, None], 0, spectrum), axes=(0, 2)).real.astype(np.float32)
    found = run(Fsc(), measured, reference)
    assert found.values["cone"] == pytest.approx(1.0, abs=1e-3)
    assert abs(found.values["wedge"]) < 0.2
    assert run(WedgeEnergy(), measured, reference).values[""] < 1e-3
    assert run(Fsc(), np.ones_like(reference), reference).values[""] == 0.0


@pytest.mark.parametrize("shape", [*SHAPES, (8, 8, 8)])
def test_shells_are_those_of_the_core(shape: tuple[int, int, int]) -> None:
    index, number = shell_index(shape)
    squared = sum(
        torch.from_numpy(np.fft.fftfreq(n).astype(np.float32)).reshape([-1 if i == axis else 1 for i in range(3)]).double().square()
        for axis, n in enumerate(shape)
    )
    sums = ShellSums(1, max(shape), torch.device("cpu"))
    index[0, 0, 0] = number  # zero frequency does not count here
    assert sums.num_shells == number
    assert torch.equal(sums.shells(squared), index)


def test_bands_average_the_shells_they_hold() -> None:
    volume, reference = pair((16, 16, 16))
    found = run(Fsc(), volume, reference)
    assert found.curve is not None
    shells = dict(zip(found.curve.x, found.curve.series["whole"], strict=True))
    for low, high, name in ((0, 0.125, "whole-0-0.125"), (0.125, 0.25, "whole-0.125-0.25"), (0.25, 0.5, "whole-0.25-0.5")):
        assert found.values[name] == pytest.approx(np.mean([value for f, value in shells.items() if low < f <= high]))


def test_resolution_is_where_the_curve_crosses_the_threshold() -> None:
    frequencies = torch.arange(33, dtype=torch.float64) / 64
    curve = 1 - 2 * frequencies
    count = torch.full_like(frequencies, 1e12)
    values, _ = resolutions(frequencies, curve, count, 64, None)
    assert values["resolution-0.5-voxels"] == pytest.approx(1 / 0.25)
    assert values["resolution-0.143-voxels"] == pytest.approx(1 / ((1 - 0.143) / 2))
    assert values["resolution-half-bit-voxels"] == pytest.approx(1 / ((1 - float(half_bit_threshold(count)[0])) / 2))
    in_angstrom, _ = resolutions(frequencies, curve, count, 64, 7.5)
    assert in_angstrom["resolution-0.5-angstrom"] == pytest.approx(30.0)


def test_resolution_never_crossed_is_nyquist_and_never_reached_is_none() -> None:
    frequencies = torch.arange(33, dtype=torch.float64) / 64
    count = torch.full_like(frequencies, 1e6)
    values, note = resolutions(frequencies, torch.full_like(frequencies, 0.9), count, 64, None)
    assert values["resolution-0.5-voxels"] == 2.0
    assert "never below 0.143, 0.5, half-bit: 2 voxels" in note
    values, note = resolutions(frequencies, torch.full_like(frequencies, 0.3), count, 64, None)
    assert set(values) == {"resolution-0.143-voxels", "resolution-half-bit-voxels"}
    assert "below 0.5 from the start" in note


def test_resolution_of_a_thin_volume_is_not_decided_by_its_first_shells() -> None:
    """Below one period over the thickness a shell holds few frequencies, and none along z."""
    frequencies = torch.arange(33, dtype=torch.float64) / 64
    curve = torch.where(frequencies < 1 / 20, 0.0, 1 - 2 * frequencies)
    values, _ = resolutions(frequencies, curve, torch.full_like(frequencies, 1e12), 16, None)
    assert values["resolution-0.5-voxels"] == pytest.approx(4.0)


def test_voxel_size_and_angles_decide_what_is_named() -> None:
    volume, reference = pair((12, 10, 16))
    blind = run(Fsc(), volume, reference, tilt_angles_deg=None, voxel_size_angstrom=None)
    assert "cone" not in blind.values
    assert "tilt angles unknown" in blind.note
    assert any(name.endswith("-voxels") for name in blind.values)
    assert any(name.endswith("-angstrom") for name in run(Fsc(), volume, reference, voxel_size_angstrom=5.0).values)
    assert math.isnan(run(WedgeEnergy(), volume, reference, tilt_angles_deg=None).values[""])


def test_frc_leaves_out_slices_whose_reference_is_flat() -> None:
    volume, reference = pair((12, 10, 16))
    expected = run(Frc(), volume[:, 2:], reference[:, 2:]).values[""]
    reference[:, :2] = 7.25
    found = run(Frc(), volume, reference)
    assert [math.isnan(value) for value in (found.per_slice or [])[:3]] == [True, True, False]
    assert found.values[""] == pytest.approx(expected)
    assert "2 of 10 y-slices left out" in found.note
