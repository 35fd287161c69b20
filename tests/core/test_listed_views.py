import numpy as np
import pytest

from wedge.alignment import Alignment
from wedge.listed_views import Listed, Views, places_in_stack

ANGLES = tuple(float(angle) for angle in range(-60, 61, 10))
MOVIES = tuple(rf"D:\frames\TS_{place:03}.eer" for place in range(len(ANGLES)))
ORDER = tuple(int(rank) for rank in np.argsort(np.argsort(np.abs(ANGLES), kind="stable"), kind="stable"))
VIEWS = Views(len(ANGLES), "TS.st", MOVIES, ORDER, (ANGLES,))
KEPT = (6, 5, 7, 4, 3, 9, 10, 1, 12)
REFINED = tuple(ANGLES[place] + 0.4 * (-1) ** place for place in KEPT)
SAYS = {
    "sections": Listed(sections=tuple(place + 1 for place in KEPT), stack_name="job1/TS.mrc"),
    "movies": Listed(movies=tuple(f"frames/TS_{place:03}.mrc" for place in KEPT)),
    "times": Listed(times=tuple(ORDER[place] + 1 for place in KEPT)),
    "nominal": Listed(nominal_angles_deg=tuple(ANGLES[place] + 0.02 for place in KEPT)),
}


@pytest.mark.parametrize("way", SAYS)
def test_each_thing_that_is_said_finds_the_views_alone(way):
    places, how = places_in_stack(SAYS[way], REFINED, VIEWS)
    assert places == KEPT
    assert how


def test_refined_angles_count_where_they_fit_in_one_way():
    # Both ends are listed: a shift of all, a pre-tilt, does not hide which they are.
    both_ends = (0, 1, 2, 4, 5, 8, 12)
    for pre_tilt in (0.0, 10.0, -23.0):
        places, _ = places_in_stack(Listed(), [ANGLES[place] + pre_tilt for place in both_ends], VIEWS)
        assert places == both_ends
    # All but the ends fit in three ways, without angles of the stage; with these they are known.
    assert places_in_stack(Listed(), ANGLES[1:-1], VIEWS) is None
    assert places_in_stack(Listed(nominal_angles_deg=ANGLES[1:-1]), ANGLES[1:-1], VIEWS)[0] == tuple(range(1, 12))


def test_what_the_angles_contradict_does_not_count():
    # The sections are those of a stack of the same name in another order.
    places, how = places_in_stack(Listed(sections=(3, 1, 2), stack_name="TS.mrc", nominal_angles_deg=(-60, 0, 60)), (-60, 0, 60), VIEWS)
    assert (places, how) == ((0, 6, 12), "the angles of the stage")
    assert places_in_stack(Listed(sections=(3, 1, 2), stack_name="TS.mrc"), (-60, 0, 31), VIEWS) is None


def test_sections_of_another_stack_or_beyond_this_one_do_not_count():
    nobody = Views(len(ANGLES), "TS.st")
    assert places_in_stack(Listed(sections=(2, 3), stack_name="TS.mrc"), (0, 3), nobody)[0] == (1, 2)
    assert places_in_stack(Listed(sections=(2, 3), stack_name="other.mrc"), (0, 3), nobody) is None
    assert places_in_stack(Listed(sections=(2, 14), stack_name="TS.mrc"), (0, 3), nobody) is None
    assert places_in_stack(Listed(sections=(2, 2), stack_name="TS.mrc"), (0, 3), nobody) is None


def test_angles_that_occur_twice_are_no_proof():
    twice = Views(4, "TS.st", angles_deg=((-10.0, 0.0, 0.0, 10.0),))
    assert places_in_stack(Listed(nominal_angles_deg=(-10, 0, 10)), (-10, 0, 10), twice) is None
    assert places_in_stack(Listed(nominal_angles_deg=(-10, 10)), (-10, 10), twice)[0] == (0, 3)


@pytest.mark.parametrize("way", ["sections", "nominal"])
def test_a_view_that_was_taken_twice_makes_no_refined_angle_a_contradiction(way):
    angles = (*ANGLES[:7], 0.3, *ANGLES[7:])
    twice = Views(len(angles), "TS.st", angles_deg=(angles,))
    said = {
        "sections": Listed(sections=tuple(place + 1 for place in KEPT), stack_name="TS.mrc"),
        "nominal": Listed(nominal_angles_deg=tuple(angles[place] for place in KEPT)),
    }
    refined = [angles[place] + 0.4 * (-1) ** place for place in KEPT]
    assert places_in_stack(said[way], refined, twice)[0] == KEPT
    assert places_in_stack(said[way], [angle + 8 * (place == 1) for place, angle in zip(KEPT, refined, strict=True)], twice) is None


def test_alignment_of_some_views_becomes_one_of_the_stack():
    few = Alignment(
        np.tile(np.eye(2), (3, 1, 1)),
        np.array([[1.0, 0], [2, 0], [3, 0]]),
        tilt_angles_deg=(0.0, -3.0, 3.0),
        excluded_views=(2,),
        acquisition_order=(0, 1, 2),
        dose_e_per_square_angstrom=(0.0, 2.0, 4.0),
        listed=Listed(),
    )
    whole = few.in_stack((2, 1, 4), 5)
    assert whole.excluded_views == (0, 3, 4)
    assert whole.used_views == (1, 2)
    used = whole.with_views(whole.used_views)
    assert used.shifts_pixels[:, 0].tolist() == [2.0, 1.0]
    assert (used.tilt_angles_deg, used.acquisition_order, used.dose_e_per_square_angstrom) == ((-3.0, 0.0), (1, 0), (2.0, 0.0))
    assert whole.listed is None
