"""Laws of the batches: every row once a pass, no border that stays, nothing that depends on the draw."""

from itertools import pairwise

import pytest

from wedge.fit.batches import batch_segments, cut_slabs, steps_per_pass

SIZES = [(20, 8), (20, 5), (20, 20), (20, 64), (1, 1), (1, 16), (7, 6), (5, 1)]


def rows_of(segments: list[tuple[int, int]]) -> list[int]:
    return [row for start, stop in segments for row in range(start, stop)]


def a_pass(seed: int, number: int, num_rows: int, batch_rows: int) -> list[list[tuple[int, int]]]:
    steps = steps_per_pass(num_rows, batch_rows)
    return [batch_segments(seed, number * steps + step, num_rows, batch_rows) for step in range(steps)]


@pytest.mark.parametrize(("num_rows", "batch_rows"), SIZES)
@pytest.mark.parametrize("number", range(5))
def test_a_pass_sees_every_row_once(num_rows, batch_rows, number):
    seen = [row for segments in a_pass(3, number, num_rows, batch_rows) for row in rows_of(segments)]
    assert sorted(seen) == list(range(num_rows))


@pytest.mark.parametrize(("num_rows", "batch_rows"), SIZES)
def test_batches_are_full_but_for_one_and_at_most_two_ranges(num_rows, batch_rows):
    size = min(batch_rows, num_rows)
    for seed in range(10):
        sizes = []
        for segments in a_pass(seed, 0, num_rows, batch_rows):
            assert 1 <= len(segments) <= 2
            assert all(0 <= start < stop <= num_rows for start, stop in segments)
            sizes.append(len(rows_of(segments)))
        assert sorted(sizes, reverse=True)[:-1] == [size] * (len(sizes) - 1)
        assert 0 < min(sizes) <= size


def test_batches_are_neighbouring_rows_on_the_ring():
    for number in range(20):
        for segments in a_pass(0, number, 20, 8):
            # A batch over the volume's end goes on at its beginning.
            ring = sorted(rows_of(segments))
            gaps = [b - a for a, b in pairwise([*ring, ring[0] + 20]) if b - a != 1]
            assert len(gaps) == 1


def test_no_border_between_batches_stays_over_the_passes():
    borders: list[set[int]] = []
    for number in range(40):
        edges = {edge for segments in a_pass(0, number, 24, 8) for segment in segments for edge in segment}
        borders.append(edges - {0, 24})
    assert not set.intersection(*borders)
    assert set.union(*borders) == set(range(1, 24))


def test_every_row_meets_every_place_in_its_batch():
    places = {row: set() for row in range(12)}
    for number in range(200):
        for segments in a_pass(1, number, 12, 4):
            start = segments[-1][0]
            for row in rows_of(segments):
                places[row].add((row - start) % 12)
    assert all(found == {0, 1, 2, 3} for found in places.values())


def test_the_order_changes_from_pass_to_pass_and_with_the_seed():
    first = [a_pass(0, 0, 64, 4), a_pass(0, 1, 64, 4), a_pass(1, 0, 64, 4)]
    assert first[0] != first[1]
    assert first[0] != first[2]
    assert first[0] == a_pass(0, 0, 64, 4)
    # Not one after the other along the ring either.
    starts = [segments[-1][0] if len(segments) == 2 else segments[0][0] for segments in first[0]]
    assert any((b - a) % 64 != 4 for a, b in pairwise(starts))


@pytest.mark.parametrize(("num_rows", "batch_rows", "steps"), [(20, 8, 3), (20, 5, 4), (20, 64, 1), (1, 16, 1), (21, 5, 5)])
def test_the_number_of_steps_is_the_rows_over_the_batch(num_rows, batch_rows, steps):
    assert steps_per_pass(num_rows, batch_rows) == steps
    # Whatever offset is drawn, the last step of a pass still has rows.
    assert all(rows_of(segments) for seed in range(30) for segments in a_pass(seed, 0, num_rows, batch_rows))


@pytest.mark.parametrize("slab_rows", [1, 3, 8, 100])
@pytest.mark.parametrize("halo_rows", [0, 1, 2, 50])
def test_slabs_cover_the_segments_in_order_with_the_halo_that_the_volume_has(slab_rows, halo_rows):
    segments = [(0, 5), (17, 20)]
    slabs = cut_slabs(segments, slab_rows, halo_rows, 20)
    assert [row for slab in slabs for row in range(slab.y_start, slab.y_stop)] == rows_of(segments)
    for slab in slabs:
        assert 1 <= slab.rows <= slab_rows
        assert slab.halo_start == max(0, slab.y_start - halo_rows)
        assert slab.halo_stop == min(20, slab.y_stop + halo_rows)
        evaluated = range(slab.halo_start, slab.halo_stop)
        assert list(evaluated[slab.interior]) == list(range(slab.y_start, slab.y_stop))


def test_slabs_of_a_single_row_volume_have_no_halo():
    (slab,) = cut_slabs(batch_segments(0, 5, 1, 16), 4, 2, 1)
    assert (slab.y_start, slab.y_stop, slab.halo_start, slab.halo_stop) == (0, 1, 0, 1)
