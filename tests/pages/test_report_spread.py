"""Calibration of a spread: what it predicts against what is true."""

from dataclasses import replace

import numpy as np
import pytest

from wedge.data import Volume
from wedge.errors import InputError
from wedge.intensity import IntensityFit
from wedge.pages.report_spread import GAUSSIAN_SHARES, calibrate_spread, spread_section

SHAPE = (24, 32, 28)
PLAIN = IntensityFit("none")


def volumes(factor: float = 1.0) -> tuple[Volume, Volume, Volume]:
    """A volume whose Gaussian error has ``factor`` times the spread that goes with it, the spread, and the truth."""
    random = np.random.default_rng(0)
    truth = random.random(SHAPE).astype(np.float32)
    spread = (10 ** random.uniform(-2, 0, SHAPE)).astype(np.float32)
    error = factor * spread * random.standard_normal(SHAPE).astype(np.float32)
    return Volume(truth + error, name="v"), Volume(spread, name="s"), Volume(truth, name="t")


def test_a_spread_that_is_right_is_found_right() -> None:
    found = calibrate_spread(*volumes(), PLAIN)
    assert found.within == pytest.approx(GAUSSIAN_SHARES, abs=0.01)
    assert found.rms_true == pytest.approx(found.rms_predicted, rel=0.03)
    assert found.true == pytest.approx(found.predicted, rel=0.2)
    assert sum(found.share) == pytest.approx(1.0, abs=0.02)
    assert list(found.predicted) == sorted(found.predicted)


def test_a_spread_that_is_half_of_the_error_is_found_out() -> None:
    found = calibrate_spread(*volumes(2.0), PLAIN)
    assert found.rms_true == pytest.approx(2 * found.rms_predicted, rel=0.03)
    assert found.within[1] == pytest.approx(GAUSSIAN_SHARES[0], abs=0.01)


def test_the_fit_is_applied_to_volume_and_spread_alike() -> None:
    volume, spread, truth = volumes()
    plain = calibrate_spread(volume, spread, truth, PLAIN)
    other, wider = replace(volume, array=(np.asarray(volume.array) - 3) / -2), replace(spread, array=np.asarray(spread.array) / 2)
    found = calibrate_spread(other, wider, truth, IntensityFit("affine", -2.0, 3.0))
    assert found.within == pytest.approx(plain.within, abs=1e-3)
    assert found.rms_predicted == pytest.approx(plain.rms_predicted, rel=1e-5)


def test_it_does_not_depend_on_slabs() -> None:
    whole, rows = (calibrate_spread(*volumes(), PLAIN, slab_rows=rows) for rows in (32, 5))
    assert rows.within == whole.within
    assert rows.true == pytest.approx(whole.true)
    assert rows.correlation == pytest.approx(whole.correlation)


@pytest.mark.parametrize(
    ("value", "message"), [(-1.0, "negative values in s"), (0.0, "0 everywhere: s"), (np.nan, "NaN or infinite values in s")]
)
def test_what_is_no_spread_is_refused(value: float, message: str) -> None:
    volume, spread, truth = volumes()
    with pytest.raises(InputError, match=message):
        calibrate_spread(volume, replace(spread, array=np.full(SHAPE, value, np.float32)), truth, PLAIN)


def test_the_section_states_what_gaussian_errors_would_have() -> None:
    section = spread_section("a", calibrate_spread(*volumes(), PLAIN), ())
    names = [row.name for row in section.tables[0].rows]
    assert "share of voxels within 1 times the spread (Gaussian: 0.683)" in names
    assert "share of voxels within 2 times the spread (Gaussian: 0.954)" in names
    assert "--reference" in " ".join(spread_section("a", None, ()).notes)
