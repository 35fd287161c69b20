"""Laws of the correlation between two halves within a mask."""

import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from wedge.data import Volume
from wedge.errors import InputError
from wedge.halves_fsc import fsc_between
from wedge.masked_fsc import random_start, soft_mask, with_random_phases, within_mask

SHAPE = (40, 48, 44)


def ball(radius: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    return (sum(axis**2 for axis in axes) < radius**2).astype(np.float32)


def particle(cut_voxels: float = 2.0) -> np.ndarray:
    """A lump of detail up to some size, and nothing around it."""
    rough = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), cut_voxels)
    return (rough / rough.std() * gaussian_filter(ball(13), 2)).astype(np.float32)


def halves(noise: float, signal: np.ndarray) -> list[Volume]:
    return [Volume(signal + noise * np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32), 2.0) for seed in (1, 2)]


def test_a_mask_around_the_specimen_tells_more_of_it_than_the_box_does() -> None:
    pair = halves(0.8, particle())
    plain = fsc_between(*pair)
    found = within_mask(*pair, Volume(ball(15)), plain)
    middle = (plain.frequency > 0.05) & (plain.frequency < 0.2)
    gain = (found.corrected.curves["whole"].correlation - plain.curves["whole"].correlation)[middle]
    assert gain.mean() > 0.05
    assert found.corrected.resolution("whole", "0.143") < plain.resolution("whole", "0.143")


def test_what_the_mask_alone_makes_is_taken_off() -> None:
    """Slow waves in common and noise of either half's own, within a small mask with hard edges: its fast shells are the mask's doing."""
    slow = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 5.0)
    slow = (10 * slow / slow.std() + 30).astype(np.float32)
    pair = halves(1.0, slow)
    plain = fsc_between(*pair)
    hard = np.where(ball(9) > 0, 1, 1e-6).astype(np.float32)  # not of 0 and 1 alone: taken as it is
    found = within_mask(*pair, Volume(hard), plain)
    fast = plain.frequency > found.random_from + 0.1
    assert abs(plain.curves["whole"].correlation[fast]).max() < 0.1
    assert found.masked.curves["whole"].correlation[fast].mean() > 0.4
    assert abs(found.corrected.curves["whole"].correlation[fast].mean()) < 0.1
    # A soft edge makes less of it in the first place.
    soft = within_mask(*pair, Volume(ball(9)), plain)
    assert soft.softened
    assert not found.softened
    assert soft.masked.curves["whole"].correlation[fast].mean() < 0.5 * found.masked.curves["whole"].correlation[fast].mean()


def test_below_the_random_phases_nothing_is_corrected_and_the_whole_box_is_no_mask() -> None:
    pair = halves(0.3, particle())
    plain = fsc_between(*pair)
    found = within_mask(*pair, Volume(np.ones(SHAPE, np.float32)), plain)
    start = random_start(plain)
    for region, curve in plain.curves.items():
        assert np.array_equal(found.masked.curves[region].correlation, curve.correlation, equal_nan=True)
        assert np.array_equal(found.corrected.curves[region].correlation[: start + 2], curve.correlation[: start + 2], equal_nan=True)
    assert found.random_from == plain.frequency[start]
    assert plain.curves["whole"].correlation[start] < 0.8 <= plain.curves["whole"].correlation[start - 1]


def test_random_phases_keep_every_amplitude_and_what_is_slower() -> None:
    density = particle()  # nothing at the faces, so that it is periodic
    mixed = with_random_phases(density, 0.2, 0, 0)
    before, after = (np.fft.fftn(part) for part in (density, mixed))
    frequency = np.sqrt(sum(np.meshgrid(*(np.fft.fftfreq(n) ** 2 for n in SHAPE), indexing="ij")))
    top = float(np.abs(before).max())
    assert np.abs(after)[1:] == pytest.approx(np.abs(before)[1:], abs=1e-4 * top)
    assert np.abs(after - before)[frequency < 0.199].max() < 1e-4 * top
    assert not np.array_equal(mixed, with_random_phases(density, 0.2, 0, 1))
    assert np.array_equal(mixed, with_random_phases(density, 0.2, 0, 0))


def test_a_soft_edge_leads_from_one_to_nothing_about_the_border() -> None:
    box = np.zeros((20, 20, 20), np.float32)
    box[:, :, 10:] = 1
    soft, softened = soft_mask(box, "m")
    assert softened
    line = soft[10, 10]
    assert (line[:7] == 0).all()
    assert line[13:] == pytest.approx(1)
    assert (np.diff(line[6:14]) > 0).all()
    assert line[9] + line[10] == pytest.approx(1)
    assert soft_mask(soft.astype(np.float32), "m")[1] is False


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(SHAPE), "from 0 to 0: expected 0 without and 1 within"),
        (2 * ball(9), "from 0 to 2"),
        (ball(9)[1:], r"shapes \(z, y, x\) differ"),
        (np.where(np.arange(44) < 1, 1, 0) * np.ones(SHAPE) * 0.5, "nothing but the border"),
    ],
)
def test_what_is_no_mask_of_the_halves_is_refused(mask: np.ndarray, message: str) -> None:
    pair = halves(0.3, particle())
    with pytest.raises(InputError, match=message):
        within_mask(*pair, Volume(mask.astype(np.float32), name="m.mrc"), fsc_between(*pair))


def test_no_copy_of_a_volume_is_made_in_float64() -> None:
    pair, mask = halves(1.0, particle()), Volume((ball(15) > 0.5).astype(np.float32))
    plain = fsc_between(*pair)
    for most_bytes, run in ((15, lambda: fsc_between(*pair)), (30, lambda: within_mask(*pair, mask, plain))):
        tracemalloc.start()
        try:
            run()
            assert tracemalloc.get_traced_memory()[1] < most_bytes * pair[0].array.size
        finally:
            tracemalloc.stop()
