"""What a network that learns from halves of the views costs on this device: a few real steps, timed."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from wedge.fit.calibrate import held_bytes, seconds_of
from wedge.fit.job import Job
from wedge.fit.restore_halves import (
    footprint_of,
    halves_of_views,
    in_half_precision,
    pairs_of_views,
    refuse_unlearnable,
    voxels_to_learn_from,
)
from wedge.restore.memory import BLOCK_ROWS
from wedge.restore.network import applied
from wedge.restore.run import Restoration, rows_to_learn_from
from wedge.restore.training import Learning
from wedge.slabs import slab_ranges

_STEPS = 5


def restore_costs(job: Job) -> tuple[dict[str, float], int, dict[str, Any]]:
    """Return the seconds of each part, the bytes at the height of it, and what else is known of it.

    Raises
    ------
    InputError
        If halves of the views cannot teach a network, or have nothing in common.
    DeviceError
        If memory does not suffice.
    """
    refuse_unlearnable(job)
    config, base = job.config.restore, held_bytes(job.device)
    with ExitStack() as opened:
        halves, angles = halves_of_views(job, opened)
        rows = rows_to_learn_from(halves, voxels_to_learn_from(job, halves))
        pair, *others = pairs_of_views(job, halves, rows, angles)
        learning = Learning(pair, angles, config, job.config.seed, in_half_precision(job), others)
        learning.step()
        step = seconds_of(learning.step, job.device, _STEPS)
        application = seconds_of(partial(applied, learning.network, pair.filtered[0]), job.device, 1)
        restoration = Restoration.of(learning, pair, angles)
        some = range(min(halves.shape[0], BLOCK_ROWS))
        block = seconds_of(lambda: restoration.rows(halves, some.start, some.stop), job.device, 1)
    # All but the first and the last block are wider, by a halo on either side.
    blocks = slab_ranges(halves.shape[0], BLOCK_ROWS)
    # Once more at the end, for the mean of what is made.
    seconds = {"learning": step * learning.steps + application * (learning.applications + 1), "restoring": block * len(blocks)}
    needed = footprint_of(job, 1 + len(others)).needed_bytes(halves.shape, len(rows))
    return seconds, base + needed, {"steps": learning.steps}
