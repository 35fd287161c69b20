"""Two halves of a tilt series as volumes that a network can learn from: filtered backprojections, each with noise of its own."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from copy import deepcopy
from dataclasses import replace

import torch

from wedge.data import TiltSeries
from wedge.errors import InputError
from wedge.fbp import default_edges, fbp_slices
from wedge.fit import team
from wedge.fit.job import Job
from wedge.formats.views import every_other, views_of
from wedge.provenance import resident_bytes
from wedge.restore.halves import Pair
from wedge.restore.memory import Footprint
from wedge.restore.network import half_precision_pays
from wedge.restore.run import Halves, pair_on
from wedge.restore.training import LEAST_CUBE, Learning
from wedge.slabs import read_sinograms, slab_ranges

_ROWS_AT_ONCE = 16
_LEAST_VIEWS = 4
ENOUGH_VIEWS = 16
"""Of both halves together: with fewer, what they have in common are the streaks of single views."""
ENOUGH_VOXELS = 2**16
"""With fewer there are too few particles to learn from."""
_WAYS = ("both halves", "every other view of their mean")


def why_not_learned(job: Job) -> str | None:
    """Return why a network cannot learn from halves of the views of a fit, None where it can."""
    shape, num_views = job.tilts.geometry.volume_shape, job.tilts.geometry.num_tilts
    if min(shape) < LEAST_CUBE:
        return f"a volume of {min(shape)} voxels along one side is too thin, {LEAST_CUBE} are needed"
    if job.halves is None and num_views < _LEAST_VIEWS:
        return f"{num_views} views are too few to be halved, {_LEAST_VIEWS} are needed"
    return None


def refuse_unlearnable(job: Job) -> None:
    """Refuse to learn where that cannot be.

    Raises
    ------
    InputError
        With the reason, see `why_not_learned`.
    """
    if reason := why_not_learned(job):
        raise InputError(f"{job.tilts.name}: {reason} for the restore method; give --method adaptive")


def enough_to_learn_from(job: Job) -> bool:
    """Return whether a network that learns from halves of the views is likely to be better than none."""
    geometry = job.tilts.geometry
    enough = math.prod(geometry.volume_shape) >= ENOUGH_VOXELS and (job.halves is not None or geometry.num_tilts >= ENOUGH_VIEWS)
    return enough and why_not_learned(job) is None


def left_to_a_network(job: Job) -> bool:
    """Return whether the data may choose a network that learns from halves of the views, and there is enough to learn from."""
    return "restore" in job.config.tune and enough_to_learn_from(job)


def halves_of_views(job: Job, outputs: ExitStack) -> tuple[Halves, tuple[float, ...]]:
    """Return both halves of what is fitted, and the tilt angles of all its views.

    They are those that the user gave, else every other view in the order of their angles. ``outputs`` closes their projectors.
    """
    angles = job.tilts.geometry.tilt_angles_deg
    if job.halves is not None:
        series = [job.halves.first, job.halves.second]
    else:
        series = [views_of(job.tilts, every_other(angles, first)) for first in (0, 1)]
    projectors = []
    for half in series:
        projectors.append(job.plugins.projector.build(half.geometry, job.device))
        outputs.callback(projectors[-1].close)
    edges = default_edges(job.tilts)

    def rows_of(half: TiltSeries, projector: object, rows: range) -> torch.Tensor:
        views = torch.from_numpy(read_sinograms(half, rows.start, rows.stop) - float(job.units.offset)).to(job.device)
        return fbp_slices(views, projector, half.geometry, edges=edges)  # type: ignore[arg-type]

    def read(y_start: int, y_stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [range(y_start + rows.start, y_start + rows.stop) for rows in slab_ranges(y_stop - y_start, _ROWS_AT_ONCE)]
        first, second = (
            torch.cat([rows_of(half, projector, rows) for rows in parts]) for half, projector in zip(series, projectors, strict=True)
        )
        return first, second

    num_z, num_y, num_x = job.tilts.geometry.volume_shape
    return Halves((num_y, num_z, num_x), read), angles


def ways_of_halving(job: Job) -> list[Job]:
    """Return fits whose halves a network learns from in turn: as they were given, and every other view of their mean and the rest."""
    enough = job.halves is not None and job.tilts.geometry.num_tilts >= ENOUGH_VIEWS
    return [job, *([replace(job, halves=None)] if enough else [])]


def what_is_halved(job: Job, ways: int) -> str:
    """Return in words what a network learns from, in so many ways."""
    return "every other view and the rest" if job.halves is None else " and ".join(_WAYS[:ways])


def pairs_of_views(job: Job, halves: Halves, rows: range, angles: Sequence[float]) -> list[Pair]:
    """Return what a network learns from: some rows of halves, and of the same series halved otherwise, if there is another way.

    Raises
    ------
    InputError
        If the first have nothing in common, or are the same.
    """
    pairs = [pair_on(halves, rows, angles)]
    for other in ways_of_halving(job)[1:]:
        with ExitStack() as opened, suppress(InputError):
            pairs.append(pair_on(halves_of_views(other, opened)[0], rows, angles))
    return pairs


def in_half_precision(job: Job) -> bool:
    """Return whether the network computes in bfloat16."""
    told = job.config.precision
    return told == "bfloat16" or (told == "auto" and half_precision_pays(job.device))


def footprint_of(job: Job, ways: int) -> Footprint:
    """Return what the memory of a fit's network depends on, with so many ways of halving."""
    return Footprint(job.config.restore.channels, job.device, in_half_precision(job), ways)


def voxels_to_learn_from(job: Job, halves: Halves) -> int:
    """Return how many voxels a network learns from at the most.

    Raises
    ------
    DeviceError
        If memory does not suffice for any.
    """
    footprint = footprint_of(job, len(ways_of_halving(job)))
    free = job.limit - (resident_bytes() if job.device.type == "cpu" else 0)
    found = team.least(footprint.voxels_within(halves.shape, free), job.device)
    if not found:
        raise footprint.refusal(halves.shape, job.limit, free, "give --method adaptive")
    return found


def same_for_all(learning: Learning) -> None:
    """Give the whole team what the one that leads has learned."""
    if team.size() == 1:
        return
    # They may be one and the same, where nobody has learned.
    learning.by_halves = deepcopy(learning.by_halves)
    with torch.no_grad():
        for parameter in [*learning.network.parameters(), *learning.by_halves.parameters()]:
            value = parameter.detach().clone().contiguous() * float(team.leads())
            team.add_up([value])
            parameter.copy_(value)
