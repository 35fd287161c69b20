import numpy as np
import pytest
import torch

from wedge.resample import ViewResampler

RAW = (57, 66)


def matrix(degrees, stretch=1.0, shear=0.0):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return stretch * np.array([[c, -s + shear], [s, c]])


def pixels(shape, binning=1):
    """Return y and x of all pixels, in raw pixels from the middle."""
    return np.meshgrid(*(binning * (np.arange(n) - (n - 1) / 2) for n in shape), indexing="ij")


def raw_places(shape, binning, turn, shift):
    """Return y and x on the raw view of all pixels of an aligned one."""
    y, x = pixels(shape, binning)
    at = np.linalg.inv(turn) @ np.stack([(x - shift[0]).ravel(), (y - shift[1]).ravel()])
    return at[1].reshape(shape), at[0].reshape(shape)


def waves(highest, seed=0, count=40):
    """Return a function of y and x with all its waves below so many cycles per pixel."""
    random = np.random.default_rng(seed)
    direction, radius = random.uniform(0, np.pi, count), highest * np.sqrt(random.uniform(0, 1, count))
    phase = random.uniform(0, 2 * np.pi, count)
    return lambda y, x: sum(
        np.cos(2 * np.pi * r * (np.cos(d) * x + np.sin(d) * y) + p) for d, r, p in zip(direction, radius, phase, strict=True)
    )


@pytest.mark.parametrize(("shape", "binning"), [((57, 66), 1), ((66, 57), 1), ((28, 33), 2), ((20, 19), 3)])
@pytest.mark.parametrize(("highest", "error"), [(0.25, 0.01), (0.4, 0.05)])
@pytest.mark.parametrize("degrees", [12.66, -86.0])
def test_waves_are_moved_exactly(shape, binning, highest, error, degrees):
    image, turn, shift = waves(highest / binning), matrix(degrees, 1.01, 0.01), np.array([3.37, -1.81])
    moved = ViewResampler(RAW, shape, binning)(image(*pixels(RAW)), turn, shift)
    y, x = raw_places(shape, binning, turn, shift)
    inside = (np.abs(y) < RAW[0] / 2 - 8) & (np.abs(x) < RAW[1] / 2 - 8)
    assert moved.dtype == np.float32
    difference = (moved - image(y, x))[inside]
    assert np.sqrt(np.mean(difference**2)) < error * image(y, x)[inside].std()


@pytest.mark.parametrize("degrees", [0.0, 90.0, -90.0, 180.0])
def test_quarter_turns_only_rearrange(degrees):
    view = np.random.default_rng(1).normal(size=RAW).astype(np.float32)
    quarters = round(degrees / 90)
    expected = np.rot90(view, -quarters)  # rot90 turns from y towards x
    moved = ViewResampler(RAW, expected.shape)(view, matrix(degrees), np.zeros(2))
    inner = (slice(6, -6),) * 2
    # All but the highest frequency, of which noise has a little.
    assert np.sqrt(np.mean((moved - expected)[inner] ** 2)) < 0.15


def test_noise_stays_as_white_as_it_was():
    view = np.random.default_rng(2).normal(size=(128, 128)).astype(np.float32)
    moved = ViewResampler((128, 128), (100, 100))(view, matrix(12.66), np.array([0.37, 0.61]))[14:-14, 14:-14]
    assert moved.std() == pytest.approx(1, abs=0.04)
    assert abs(np.corrcoef(moved[:, 1:].ravel(), moved[:, :-1].ravel())[0, 1]) < 0.04


def test_binning_lets_nothing_through_that_it_cannot_show():
    _, x = pixels((64, 64))
    fine = np.cos(2 * np.pi * 0.4 * x)  # would come back as a wave of 0.2 cycles per binned pixel
    moved = ViewResampler((64, 64), (32, 32), 2)(fine, matrix(0), np.zeros(2))
    assert np.abs(moved[8:-8, 8:-8]).max() < 0.03
    # Of what it cuts the aligned view's axes decide: turned by 90 degrees the wave runs along y.
    assert np.abs(ViewResampler((64, 64), (32, 32), 2)(fine, matrix(90), np.zeros(2))[8:-8, 8:-8]).max() < 0.03
    # Turned by 45 degrees, a wave of 0.3 has 0.21 along each axis, which binned pixels show.
    slanted = ViewResampler((64, 64), (32, 32), 2)(np.cos(2 * np.pi * 0.3 * x), matrix(45), np.zeros(2))
    assert slanted[10:-10, 10:-10].std() > 0.6
    # A wave at 20 degrees lies at 45 when turned by 25, and not at -5, where it would be cut.
    y, x = pixels((64, 64))
    wave = np.cos(2 * np.pi * 0.3 * (np.cos(np.deg2rad(20)) * x + np.sin(np.deg2rad(20)) * y))
    assert ViewResampler((64, 64), (32, 32), 2)(wave, matrix(25), np.zeros(2))[10:-10, 10:-10].std() > 0.6


def test_beyond_the_raw_view_it_fades_to_the_mean_of_the_view():
    view = 1000 + pixels(RAW)[1]
    moved = ViewResampler(RAW, (57, 200))(view, matrix(0), np.array([-120.0, 0.0]))
    assert moved[:, 100:] == pytest.approx(1000, abs=0.1)
    steps = np.abs(np.diff(moved[28]))
    assert steps.max() < 0.2 * np.ptp(view)


@pytest.mark.parametrize("raw", [(1, 1), (3, 2), (40, 1)])
def test_views_smaller_than_the_fade_are_moved_as_well(raw):
    moved = ViewResampler(raw, raw)(np.full(raw, 5.0), matrix(0), np.zeros(2))
    np.testing.assert_allclose(moved, 5, rtol=1e-6)


def test_other_views_are_refused():
    with pytest.raises(ValueError, match="not of the shape"):
        ViewResampler(RAW, RAW)(np.zeros((5, 5)), matrix(0), np.zeros(2))


def test_result_does_not_depend_on_the_size_of_a_tile(monkeypatch):
    view = np.random.default_rng(3).normal(size=RAW)
    whole = ViewResampler(RAW, (60, 60))(view, matrix(33), np.array([1.5, 2.5]))
    monkeypatch.setattr("wedge.resample._TILE", 17)
    assert np.array_equal(ViewResampler(RAW, (60, 60))(view, matrix(33), np.array([1.5, 2.5])), whole)
    assert torch.get_default_dtype() == torch.float32
