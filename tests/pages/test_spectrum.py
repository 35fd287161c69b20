"""Laws of the spectra that pages show: log power where it is, over seven decades, whatever the size."""

import base64

import numpy as np
import pytest

from wedge.data import Volume
from wedge.pages.spectrum import middle_spectrum, spectrum_message


def codes_of(message: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(message["codes"]), np.uint8).reshape(message["shape"])


def test_codes_are_log_power_of_seven_decades():
    power = np.array([[-20.0, -5.0, 0.0], [1.0, -np.inf, np.nan]])
    message = spectrum_message(power, (-50.0, 0.0, 60.0))
    assert (message["low"], message["high"], message["tilt_range_deg"]) == (-6.0, 1.0, [-50.0, 60.0])
    shown = np.array([[-6.0, -5.0, 0.0], [1.0, -6.0, -6.0]])
    assert codes_of(message).tolist() == np.rint((shown + 6) / 7 * 255).tolist()
    assert spectrum_message(power, None)["tilt_range_deg"] is spectrum_message(power, ())["tilt_range_deg"] is None


@pytest.mark.parametrize("periods", [(3, 5), (3, -5), (0, 7)])
@pytest.mark.parametrize("constant", [0.0, 1000.0])
def test_a_wave_is_at_its_frequency_whatever_the_constant(periods, constant):
    z, _, x = np.meshgrid(np.arange(20), np.arange(6), np.arange(33), indexing="ij")
    wave = np.cos(2 * np.pi * (periods[0] * z / 20 + periods[1] * x / 33)) + constant
    codes = codes_of(middle_spectrum(Volume(wave.astype(np.float32), tilt_angles_deg=(-60.0, 60.0))))
    assert codes.shape == (20, 33)
    peaks = {(int(place) // 33 - 10, int(place) % 33 - 16) for place in np.argsort(codes.ravel())[-2:]}
    assert peaks == {periods, (-periods[0], -periods[1])}


@pytest.mark.parametrize("count", [512, 513, 1024, 1030, 1537])
def test_zero_frequency_of_large_ones_stays_in_the_middle(count):
    power = np.full((count, 9), -3.0)
    power[count // 2, 4] = 4.0
    message = spectrum_message(power, None)
    codes = codes_of(message)
    assert codes.shape[0] <= 512
    assert np.unravel_index(codes.argmax(), codes.shape) == (codes.shape[0] // 2, 4)
