"""Pictures of views: which are shown, and that differences are predicted minus measured after the fit on seen views."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from wedge.data import TiltSeries, Volume
from wedge.geometry import TiltGeometry
from wedge.held_out import Views
from wedge.pages.report_data import Picture
from wedge.pages.report_views import ChosenViews, ViewPictures, choose_views

ANGLES = tuple(float(angle) for angle in range(-60, 61, 10))
PLACES = range(len(ANGLES))
ROWS, COLUMNS = 20, 24


def series(views: np.ndarray | None = None) -> TiltSeries:
    array = np.zeros((len(ANGLES), ROWS, COLUMNS), np.float32) if views is None else views
    return TiltSeries(array, TiltGeometry(ANGLES, (ROWS, COLUMNS), (8, ROWS, COLUMNS)))


def made_from(*angles: float) -> Volume:
    return Volume(np.zeros((8, ROWS, COLUMNS), np.float32), name="v", tilt_angles_deg=angles or None)


def pixels(picture: Picture) -> np.ndarray:
    return np.rint(255 * imread(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))).astype(int)


def test_views_that_a_volume_has_not_seen_are_chosen_with_the_outermost_among_them() -> None:
    seen = [angle for angle in ANGLES if angle not in (-60, -40, -20, 0, 20, 60)]
    chosen = choose_views([made_from(*ANGLES), made_from(*seen)], series(), PLACES)
    assert len(chosen.places) == 4
    assert {ANGLES[place] for place in chosen.places} <= {-60, -40, -20, 0, 20, 60}
    assert (ANGLES[chosen.places[0]], ANGLES[chosen.places[-1]]) == (-60, 60)
    assert "4 of the 6 views" in chosen.why
    assert choose_views([made_from(*seen)], series(), PLACES, unseen=(3,)).places == (3,)


@pytest.mark.parametrize(("volume", "why"), [(made_from(*ANGLES), "this is no test"), (made_from(), "nobody says")])
def test_else_the_outermost_are_and_it_is_said(volume: Volume, why: str) -> None:
    chosen = choose_views([volume], series(), PLACES)
    assert [ANGLES[place] for place in chosen.places] == [-60, 60]
    assert why in chosen.why


def test_differences_are_predicted_minus_measured_after_the_fit_on_seen_views() -> None:
    measured = np.random.default_rng(0).random((ROWS, len(ANGLES), COLUMNS)).astype(np.float32)
    predicted = (measured - 1) / 3
    unseen = np.zeros(len(ANGLES), bool)
    unseen[2] = True
    predicted[:10, 2] += 2  # the upper half of the unseen view is predicted too bright, the lower one too dark
    predicted[10:, 2] -= 2
    pictures = ViewPictures(series(measured.swapaxes(0, 1)), ChosenViews((2, 5), "why"))
    pictures(made_from(*ANGLES), Views(measured, predicted, np.ones((len(ANGLES), COLUMNS), np.float32)), unseen)
    hidden, known = pictures.section(["v"]).views
    difference = pixels(hidden.predicted[0][2])
    assert (difference[:9, :, 0] > difference[:9, :, 2]).all()
    assert (difference[11:, :, 2] > difference[11:, :, 0]).all()
    assert np.abs(pixels(known.predicted[0][1])[..., 0] - pixels(known.measured)[..., 0]).max() <= 2
    assert [label for row in (hidden, known) for label, _, _ in row.predicted] == ["v (not seen)", "v (seen)"]
    assert "view 2 at -40 degrees" in hidden.title
