"""Which rows each optimizer step sees, and how they are cut into slabs.

A pass cuts the rows, as if closed to a ring, at a random offset into batches of ``batch_rows`` rows and visits them in random order. So
every row is seen once a pass, no border between batches stays in place, and the number of steps does not depend on the draw.
"""

import math
from dataclasses import dataclass

import torch

from wedge.draws import generator_for


@dataclass(frozen=True)
class Slab:
    """Rows ``y_start`` to ``y_stop`` that count, inside rows ``halo_start`` to ``halo_stop`` that are evaluated."""

    y_start: int
    y_stop: int
    halo_start: int
    halo_stop: int

    @property
    def rows(self) -> int:
        """Number of rows that count."""
        return self.y_stop - self.y_start

    @property
    def interior(self) -> slice:
        """Where the rows that count lie among the evaluated ones."""
        return slice(self.y_start - self.halo_start, self.y_stop - self.halo_start)


def steps_per_pass(num_rows: int, batch_rows: int) -> int:
    """Return how many batches cover all rows once."""
    return math.ceil(num_rows / min(batch_rows, num_rows))


def batch_segments(seed: int, step: int, num_rows: int, batch_rows: int) -> list[tuple[int, int]]:
    """Return the rows of one step as one or two ranges ``(start, stop)``."""
    size = min(batch_rows, num_rows)
    per_pass = steps_per_pass(num_rows, size)
    generator = generator_for(seed, "batches", step // per_pass)
    offset = int(torch.randint(num_rows, (1,), generator=generator)) if size < num_rows else 0
    order = torch.randperm(per_pass, generator=generator)
    index = int(order[step % per_pass])
    start = index * size + offset
    stop = min((index + 1) * size, num_rows) + offset
    start, stop = start % num_rows, (stop - 1) % num_rows + 1
    return [(start, stop)] if start < stop else [(0, stop), (start, num_rows)]


def cut_slabs(segments: list[tuple[int, int]], slab_rows: int, halo_rows: int, num_rows: int) -> list[Slab]:
    """Cut ranges of rows into slabs of at most ``slab_rows``, with the halo that the volume's edges leave."""
    slabs = []
    for start, stop in segments:
        for low in range(start, stop, slab_rows):
            high = min(low + slab_rows, stop)
            slabs.append(Slab(low, high, max(low - halo_rows, 0), min(high + halo_rows, num_rows)))
    return slabs
