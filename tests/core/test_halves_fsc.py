"""Laws of the correlation between two halves."""

import math

import numpy as np
import pytest

from wedge.data import Volume
from wedge.errors import InputError
from wedge.fourier import first_crossing
from wedge.halves_fsc import ShellCurve, fsc_between

SHAPE = (20, 32, 33)
ANGLES = tuple(float(angle) for angle in range(-60, 61, 6))
REGIONS = {"whole", "z", "y", "x", "cone", "wedge"}


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def test_identical_halves_agree_wholly_in_every_direction() -> None:
    volume = Volume(noise(0) + 5, 4.0, tilt_angles_deg=ANGLES)
    found = fsc_between(volume, Volume(3 * noise(0) - 1, 4.0, tilt_angles_deg=ANGLES))
    assert found.curves.keys() == REGIONS
    for region, curve in found.curves.items():
        known = curve.correlation[np.isfinite(curve.correlation)]
        assert known == pytest.approx(1.0, abs=1e-5), region
        assert found.resolution(region, "0.143") == found.resolution(region, "half-bit") == pytest.approx(8.0)


def test_independent_noise_has_nothing_in_common_in_any_direction() -> None:
    sums = {region: [] for region in REGIONS}
    for seed in range(8):
        found = fsc_between(Volume(noise(2 * seed)), Volume(noise(2 * seed + 1)), ANGLES)
        for region, curve in found.curves.items():
            some = curve.independent > 20
            sums[region].append(curve.correlation[some] * np.sqrt(2 * curve.independent[some]))
    for region, parts in sums.items():
        normal = np.concatenate(parts)
        # In units of its own error: as the count of independent frequencies says.
        assert abs(normal.mean()) < 4 / math.sqrt(len(normal)), region
        assert 0.7 < normal.std() < 1.15, region
    whole = fsc_between(Volume(noise(0)), Volume(noise(1)))
    assert whole.curves.keys() == {"whole", "z", "y", "x"}
    assert math.isnan(whole.resolution("x", "half-bit"))


def test_what_only_one_direction_has_in_common_is_seen_there_alone() -> None:
    length = np.fft.fftfreq(SHAPE[2])
    common = np.fft.ifft(np.fft.fft(noise(0), axis=2) * (np.abs(length) > 0.25), axis=2).real * 3
    smooth_yz = np.fft.ifftn(np.fft.fftn(common) * _low(0) * _low(1)).real
    smooth_yz /= smooth_yz.std()
    found = fsc_between(Volume(noise(1) + smooth_yz), Volume(noise(2) + smooth_yz))
    high = (found.frequency > 0.27) & (found.frequency < 0.48)
    assert np.nanmean(found.curves["x"].correlation[high]) > 0.5
    assert abs(np.nanmean(found.curves["y"].correlation[high])) < 0.15
    assert abs(np.nanmean(found.curves["z"].correlation[high])) < 0.15


def _low(axis: int) -> np.ndarray:
    view = [1, 1, 1]
    view[axis] = -1
    return (np.abs(np.fft.fftfreq(SHAPE[axis])) < 0.13).reshape(view)


def test_a_border_in_common_is_tapered_away() -> None:
    frame = np.zeros(SHAPE)
    frame[:, [0, -1]] = 100.0
    found = fsc_between(Volume(noise(0) + frame), Volume(noise(1) + frame))
    without = fsc_between(Volume(noise(0)), Volume(noise(1)))
    high = found.frequency > 0.2
    for region in ("whole", "y"):
        assert np.abs(found.curves[region].correlation - without.curves[region].correlation)[high].max() < 0.05


@pytest.mark.parametrize(("n", "threshold"), [(1, 1.0), (100, 0.3067), (1e12, 0.1716)])
def test_half_bit_threshold_is_the_published_one(n: float, threshold: float) -> None:
    curve = ShellCurve(np.zeros(1), np.array([n]))
    assert curve.half_bit[0] == pytest.approx(threshold, abs=5e-5)
    # The expected correlation of two halves whose sum carries half a bit: each has this signal to noise.
    s, root = (math.sqrt(2) - 1) / 2, math.sqrt(n)
    expected = (s + 2 * math.sqrt(s) / root + 1 / root) / (s + 2 * math.sqrt(s) / root + 1)
    assert curve.half_bit[0] == pytest.approx(expected, abs=1e-4)


def test_crossings_are_interpolated_over_shells_that_are_known() -> None:
    frequency = [0.0, 0.1, 0.2, 0.3, 0.4]
    assert first_crossing(frequency, [-1, 0.5, math.nan, -0.5, 1], 0.1) == pytest.approx(0.2)
    assert first_crossing(frequency, [-1, 0.5, 0.1, 0.5, 1], 0.1) == 0.5
    assert first_crossing(frequency, [1, -0.5, 0.1, 0.5, 1], 0.1) is None
    assert first_crossing(frequency, [1, -0.5, 0.1, -0.1, 1], 0.2) == pytest.approx(0.25)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match=r"shapes \(z, y, x\) differ"):
        fsc_between(Volume(noise(0)), Volume(noise(0)[:, 1:]))
    with pytest.raises(InputError, match=r"the volume is constant, 2 everywhere: flat"):
        fsc_between(Volume(noise(0)), Volume(np.full(SHAPE, 2.0, np.float32), name="flat"))
    spoiled = noise(0)
    spoiled[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values in volume, y-row 4"):
        fsc_between(Volume(spoiled), Volume(noise(0)))
