"""The fits of a stack: how they differ, and what each says of views that none of them has seen.

Their settings were chosen on tuning phantoms for being unlike one another, not for being good: the stack takes from each what it is right
about. A fit is looked at several times on its way, for an early state is smoother than a late one, and so another estimate at no cost.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from wedge.data import TiltSeries
from wedge.fit.batches import Slab, cut_slabs
from wedge.fit.build import Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.config import FitConfig
from wedge.fit.loop import Fit, take_step
from wedge.fit.margin import judging_weights
from wedge.fit.memory import MemoryPlan
from wedge.fit.normalization import Normalization
from wedge.fit.stack import RingEquations, Stack
from wedge.fit.trials import split_views, views_to_judge_by, with_setting

_PASSES = 0.5  # of the passes of a single fit
_LOOKS = (0.25, 0.5, 1.0)  # fractions of the steps at which a fit is taken as an estimate
_FAINT = 3.0  # signal to noise from which on noise hides little of the fine detail
_ROLLOFF = 0.15
_LARGE_STEPS, _SMALL_STEPS = 2.5, 0.75
_PLAIN_NOISY = ((0.0, 3.0), (0.8, 1.0), (1.2, 0.3), (1.5, 1.0), (1.5, 3.0), (2.2, 1.0))
_RAMP_NOISY = ((0.0, 3.0), (0.0, 10.0), (0.8, 3.0), (0.8, 10.0))
_PLAIN_FAINT = ((0.0, 0.3), (0.0, 1.0), (0.0, 3.0), (0.5, 0.3), (0.5, 1.0), (0.8, 1.0), (1.2, 1.0))
_RAMP_FAINT = ((0.0, 1.0), (0.0, 3.0), (0.0, 10.0), (0.5, 3.0), (0.8, 3.0))
"""Blur in voxels and weight of the regularizer at a signal to noise of 1 and below."""


@dataclass(frozen=True)
class Member:
    """One fit of a stack: its configuration, and the steps after which it is taken as an estimate."""

    config: FitConfig
    looks: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps of the fit: one a pass, on all rows."""
        return self.looks[-1]


def members_for(config: FitConfig, signal_to_noise: float, num_rows: int) -> list[Member]:
    """Return the fits of a stack of views with a signal to noise."""
    faint = signal_to_noise > _FAINT
    plain, ramp = (_PLAIN_FAINT, _RAMP_FAINT) if faint else (_PLAIN_NOISY, _RAMP_NOISY)
    table = [("plain", *entry, _LARGE_STEPS) for entry in plain] + [("ramp", *entry, _LARGE_STEPS) for entry in ramp]
    if not faint:
        # The same in smaller steps gets less far, and elsewhere.
        table.append(("ramp", 0.0, 10.0, _SMALL_STEPS))
    scale = min(1.0, signal_to_noise**-0.6)
    passes = max(4, round(_PASSES * config.passes))
    looks = tuple(sorted({max(1, round(look * passes)) for look in _LOOKS}))
    members = []
    for weighting, blur, weight, steps in table:
        setting = {"blur_voxels": blur, "regularizer": weight * scale, "weighting": weighting, "oversampling": 1}
        setting["rolloff"] = _ROLLOFF if weighting == "ramp" else None
        # One full step from nothing overshoots for good: two smaller ones come first.
        steady = {"warmup": min(0.5, 2.4 / passes), "decay": 0.3, "tune": ()}
        update = steady | {"passes": float(passes), "batch_rows": num_rows, "learning_rate": steps * config.learning_rate}
        members.append(Member(with_setting(config.model_copy(update=update), setting), looks))
    return members


def widest(members: list[Member]) -> Member:
    """Return the fit that takes the most memory: the one with the widest blur."""
    return max(members, key=lambda member: member.config.blur_voxels)


def describe(members: list[Member], estimate: int) -> dict[str, Any]:
    """Return the settings of one of all estimates, as plain data."""
    flat = [(member.config, look) for member in members for look in member.looks]
    config, look = flat[estimate]
    return setting_of(config) | {"passes": look}


def setting_of(config: FitConfig) -> dict[str, Any]:
    """Return how a fit differs from the others of its stack."""
    weights = {"regularizer": config.regularizers[0].weight} if config.regularizers else {}
    return {"blur_voxels": config.blur_voxels, "weighting": config.data_term.weighting, **weights}


def find_weights(
    sample: TiltSeries,
    plugins: Plugins,
    members: list[Member],
    normalization: Normalization,
    device: torch.device,
    limit: int,
    reserve: int,
    go_on: Callable[[], bool],
    on_member: Callable[[int], None] = lambda done: None,
) -> Stack | None:
    """Fit some rows without the views that judge, and return the weights that those ask for; None where ``go_on`` said no.

    Parameters
    ----------
    sample
        Some rows, see `wedge.fit.sample`, in the geometry of the fitted box.
    reserve
        Bytes that the fits of all rows will need beyond these: who has no room for them should hear so before, not after.
    on_member
        Told how many fits are done.
    """
    parts = build_projectors(split_views(sample, views_to_judge_by(sample.geometry.tilt_angles_deg)), plugins, {1}, device)
    rows = sample.geometry.detector_shape[0]
    predictions: list[np.ndarray] = []
    measured = np.zeros(0)

    def build(member: Member, plan: MemoryPlan | None = None) -> Fit:
        config = member.config.model_copy(update={"batch_rows": rows, "hold_out": 0.0})
        return build_fit(sample, plugins, config, normalization, parts, device, limit, -reserve, plan=plan)

    try:
        # Planned once: what a fit leaves in the process is there for the next one.
        plan = build(widest(members)).plan
        for done, member in enumerate(members):
            fit = build(member, plan)
            for residual in _held_out_residuals(fit, member.looks, go_on):
                if not len(measured):
                    measured = fit.held_out[0].measured(Slab(0, rows, 0, rows)).cpu().numpy()
                predictions.append(residual + measured)
            if not go_on():
                return None
            on_member(done + 1)
        # Rays that ran beside the volume judge less: `judging_weights`.
        looked = judging_weights(fit.held_out[0].part.geometry, members[0].config.fitted_margin)
        looked = np.sqrt(looked / looked.mean())
        return RingEquations([each * looked for each in predictions], measured * looked).best()
    finally:
        close_projectors(parts)


def _held_out_residuals(fit: Fit, looks: tuple[int, ...], go_on: Callable[[], bool]) -> Iterator[np.ndarray]:
    """Run a fit and return, at each look, predicted minus measured views ``(y, tilt, x)`` of those held out."""
    for step in range(looks[-1]):
        if not go_on():
            return
        take_step(fit, step)
        if step + 1 in looks:
            yield fit.plan.in_slabs(partial(_residuals, fit, step))


@torch.no_grad()
def _residuals(fit: Fit, step: int) -> np.ndarray:
    num_rows = fit.box.shape[1]
    found = []
    for slab in cut_slabs([(0, num_rows)], fit.plan.slab_rows, 0, num_rows):
        density = fit.field(fit.sampling(step).lattice(slab.y_start, slab.y_stop))
        found.append(fit.held_out[0].residual(density, slab).cpu().numpy())
    return np.concatenate(found)
