import numpy as np
import pytest

from wedge.errors import InputError
from wedge.sources import Statement, match_views, settle_pixel_size

ANGLES = tuple(range(-60, 61, 3))


def settle(*statements):
    notes = []
    return settle_pixel_size([Statement(*each) for each in statements], notes.append), notes


def match(own, other, used=None):
    return match_views(own, other, range(len(own)) if used is None else used, stack="a.rawtlt", alignment="a.aln")


def test_first_that_knows_decides_and_the_others_are_named():
    settled, notes = settle(("--voxel-size", None), ("a.star", None), ("a.mdoc", 5.4), ("the header", 1.0, True))
    assert (settled.value, settled.source, settled.only_header) == (5.4, "a.mdoc", False)
    assert notes == ["pixel size 5.4 angstrom, from a.mdoc; the header says 1, which is not used"]


def test_agreement_within_a_percent_needs_no_words():
    assert settle(("--voxel-size", 5.4), ("a.star", 5.42), ("the header", 5.39, True))[1] == []
    assert len(settle(("--voxel-size", 5.4), ("a.star", 5.5), ("the header", 5.4, True))[1]) == 1


def test_header_alone_is_believed_and_marked():
    settled, notes = settle(("--voxel-size", None), ("the header", 1.0, True))
    assert (settled.value, settled.only_header, notes) == (1.0, True, [])


@pytest.mark.parametrize("nothing", [None, 0.0])
def test_silent_header_is_named_where_another_source_is_taken(nothing):
    assert settle(("--voxel-size", None), ("a.mdoc", 5.4), ("the header", nothing, True))[1] == [
        "pixel size 5.4 angstrom, from a.mdoc; the header says nothing, which is not used"
    ]
    assert settle(("--voxel-size", None), ("the header", nothing, True))[0].value is None


def test_refined_angles_keep_their_order_with_a_pretilt():
    noise = np.random.default_rng(0).uniform(-1, 1, len(ANGLES))
    assert match(ANGLES, [angle + 11 + n for angle, n in zip(ANGLES, noise, strict=True)]) == tuple(range(len(ANGLES)))


def test_sorted_alignment_of_a_dose_symmetric_stack_is_matched_by_angle():
    acquired = sorted(ANGLES, key=lambda angle: (abs(angle), angle))
    places = match(acquired, [angle + 0.4 for angle in ANGLES])
    assert [ANGLES[place] for place in places] == acquired


def test_angles_of_another_stack_are_refused_with_the_difference():
    with pytest.raises(InputError, match=r"a.aln are not those of a.rawtlt, in any order: they differ by up to .* degrees; give"):
        match(ANGLES, [1.3 * angle for angle in ANGLES])


def test_views_that_the_alignment_leaves_out_may_have_any_angle():
    guessed = list(ANGLES)
    guessed[0] = guessed[1]
    assert match(ANGLES, guessed, range(1, len(ANGLES))) == tuple(range(len(ANGLES)))


def test_repeated_angles_in_another_order_are_refused():
    own = (0, 3, -3, 6, -6, 0)
    with pytest.raises(InputError, match="some have the same angle"):
        match(own, sorted(own))


def test_angles_of_the_other_sign_are_not_taken_for_another_order():
    acquired = sorted(ANGLES, key=lambda angle: (abs(angle), angle))
    with pytest.raises(InputError, match="have the other sign"):
        match(acquired, [-angle for angle in acquired])
    # Angles that only rise look alike from either end: they are matched by angle.
    assert match(ANGLES, [-angle for angle in ANGLES]) == tuple(reversed(range(len(ANGLES))))
