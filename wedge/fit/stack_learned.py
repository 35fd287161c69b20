"""What a network learns from halves of the views, as two more estimates of a stack: cautious, and not.

The weights of a stack are found on views that no estimate has seen: so the network learns without them, and is given all views afterwards.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from wedge.contracts import Projector
from wedge.errors import DeviceError, InputError
from wedge.fit import team
from wedge.fit.halves import Halves as TiltHalves
from wedge.fit.job import Job
from wedge.fit.members import Estimate
from wedge.fit.radial import RadialFilter
from wedge.fit.restore_halves import (
    halves_of_views,
    in_half_precision,
    left_to_a_network,
    pairs_of_views,
    same_for_all,
    voxels_to_learn_from,
    what_is_halved,
)
from wedge.formats.views import views_of
from wedge.restore.run import Restoration, rows_to_learn_from
from wedge.restore.training import Learning

NUM_LEARNED = 2
"""Estimates that one network gives."""


@dataclass(frozen=True)
class LearnedEstimates:
    """Estimates in the units of a fit.

    Parameters
    ----------
    restorations
        What was learned, as it is applied cautiously, and without caution, see `Restoration.of`.
    judged
        What these are to the weights, of the rows that they are found on; none where they are known.
    """

    restorations: tuple[Restoration, ...]
    judged: tuple[Estimate, ...]


def learned_estimates(
    job: Job,
    judges: Sequence[int],
    rows: range,
    go_on: Callable[[], bool],
    say: Callable[[str], None],
) -> LearnedEstimates | None:
    """Learn from all views but those that judge; None where that is not left to the data, or there is nothing to learn from.

    Parameters
    ----------
    judges
        Places of the views that judge; none where the weights are known.
    rows
        That these are predicted of.
    go_on
        Asked before every step; once it is False, what was learned so far is returned.
    """
    if not left_to_a_network(job):
        return None
    kept = _without(job, judges)
    with ExitStack() as opened:
        halves, angles = halves_of_views(kept, opened)
        try:
            pair, *others = pairs_of_views(kept, halves, rows_to_learn_from(halves, voxels_to_learn_from(job, halves)), angles)
        except (InputError, DeviceError) as error:
            say(f"{error}: the stack does without a network")
            return None
        # The sum has its own flat background, and a network that is taught one makes less of fine detail.
        settings = job.config.restore.model_copy(update={"other_side": 0.0})
        learning = Learning(pair, angles, settings, job.config.seed, in_half_precision(job), others)
        channels, of = job.config.restore.channels, what_is_halved(kept, 1 + len(others))
        say(f"a network of {channels} channels learns from {of}: {learning.steps_in_words}, on {job.device}")
        while team.leads() and learning.done < learning.steps and go_on():
            learning.step()
            job.observers.stage("learning from halves of the views", learning.done, learning.steps)
        same_for_all(learning)
        restorations = tuple(Restoration.of(learning, pair, angles, cautious=cautious) for cautious in (True, False))
        del learning, pair, others
        if not judges:
            return LearnedEstimates(restorations, ())
        densities = [each.rows(halves, rows.start, rows.stop) / job.units.scale for each in restorations]
    projector = job.plugins.projector.build(views_of(job.tilts, judges).geometry, job.device)
    try:
        return LearnedEstimates(restorations, tuple(_judged(job, density, projector) for density in densities))
    finally:
        projector.close()


def _judged(job: Job, density: torch.Tensor, projector: Projector) -> Estimate:
    return Estimate(projector.project(density).cpu().numpy(), _with_margins(density, job.margin).cpu().half())


def _without(job: Job, judges: Sequence[int]) -> Job:
    """Return the fit of the views that do not judge."""
    if not judges:
        return job
    kept = [view for view in range(job.tilts.geometry.num_tilts) if view not in set(judges)]
    halves = job.halves and TiltHalves(views_of(job.halves.first, kept), views_of(job.halves.second, kept))
    return replace(job, tilts=views_of(job.tilts, kept), halves=halves)


def add_learned(job: Job, restoration: Restoration, sums: Sequence[tuple[torch.Tensor, np.ndarray]]) -> None:
    """Add what was learned, of all views, to sums ``(y, z, x)`` with margins, filtered by the weights of each at the stack's knots."""
    with ExitStack() as opened:
        halves, _ = halves_of_views(job, opened)
        made = torch.empty(halves.shape, device=sums[0][0].device)
        for rows, density in restoration.blocks(halves):
            job.observers.stage("restoring rows", rows.start, halves.shape[0])
            made[rows.start : rows.stop] = density.to(made.device) / job.units.scale
    geometry = job.wide.geometry
    radial = RadialFilter(geometry.volume_shape, job.device, geometry.voxel_size_in_pixels)
    for into, weights in sums:
        radial.add(into, lambda low, high: _with_margins(made[low:high], job.margin), weights)


def _with_margins(density: torch.Tensor, margin: int) -> torch.Tensor:
    """Return density ``(y, z, x)`` that goes on: a filter reaches over the faces, where nothing beyond them would be an edge."""
    return functional.pad(density[None], (margin, margin, 0, 0), mode="replicate")[0]
