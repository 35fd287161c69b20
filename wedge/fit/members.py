"""The fits of a stack: how they differ, and what each says of views that none of them has seen.

Their settings were chosen on tuning phantoms for being unlike one another, not for being good: the stack takes from each what it is right
about. Where noise is faint a few do what many would: of seventeen kinds those were kept whose sum is right about views that none has seen.
Where views are few for the thickness, fits that converge fill the gaps between them with what views do not tell: others take their place.
Beside what a network has learned fewer are enough: those were left out without which sums were about as near to the truth.
A fit is looked at several times on its way, for an early state is smoother than a late one, and so another estimate at no cost.

In noise the fits take few and large steps on all rows. Where noise is faint they are to converge, as a single fit is: many small steps,
each on some rows, and a lattice finer than the voxels.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from wedge.data import TiltSeries
from wedge.fit.batches import Slab, cut_slabs, steps_per_pass
from wedge.fit.build import Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.config import FitConfig
from wedge.fit.emptied import UnseenViews
from wedge.fit.loop import Fit, predict, take_step
from wedge.fit.margin import judging_weights
from wedge.fit.memory import MemoryPlan
from wedge.fit.normalization import Normalization
from wedge.fit.stack import RingEquations, Stack
from wedge.fit.stack_finish import with_finish
from wedge.fit.trials import split_views, views_to_judge_by, with_setting
from wedge.geometry import TiltGeometry

_PASSES = 0.5  # of the passes of a single fit
_LOOKS = (0.25, 0.5, 1.0)  # fractions of the passes at which a fit is taken as an estimate
_FAINT = 3.0  # signal to noise from which on noise hides little of the fine detail
_CLEAR = 8.0  # from which on fits that converge tell most, with some of the others beside them
_LEANS_BELOW = 0.7  # signal to noise; above `_CLEAR` a sum leans too. Between, weights are right as views ask for them
_LARGE_STEPS, _SMALL_STEPS = 2.5, 0.75  # of the learning rate


class Estimate(NamedTuple):
    """Views ``(y, tilt, x)`` that judge, as some rows predict them; the density ``(y, z, x)`` of these, half precision in main memory."""

    prediction: np.ndarray
    density: torch.Tensor


class _Setting(NamedTuple):
    """How a fit differs: the weight of its regularizer is that at a signal to noise of 1 and below."""

    weighting: str
    blur_voxels: float
    weight: float
    rolloff: float | None = None
    steps: float = _LARGE_STEPS
    passes: float = _PASSES
    converges: bool = False


def _plain(*entries: tuple[float, float]) -> tuple[_Setting, ...]:
    return tuple(_Setting("plain", blur, weight) for blur, weight in entries)


def _ramp(*entries: tuple[float, float]) -> tuple[_Setting, ...]:
    return tuple(_Setting("ramp", blur, weight, 0.15) for blur, weight in entries)


_SMALL = _Setting("ramp", 0.0, 10.0, 0.15, _SMALL_STEPS)
_SMALL_AND_LONG = _Setting("ramp", 0.0, 10.0, 0.08, _SMALL_STEPS, 2 * _PASSES)
"""The same in smaller steps gets less far, and elsewhere; longer, and with less of the fine detail, it fills the wedge."""
_CONVERGING: tuple[_Setting, ...] = (
    _Setting("ramp", 0.0, 0.12, 0.15, 1.0, converges=True),
    _Setting("ramp", 0.0, 0.35, None, 1.0, converges=True),
    _Setting("ramp", 0.8, 0.12, 0.15, 1.0, converges=True),
    _Setting("ramp", 0.8, 0.35, None, 1.0, converges=True),
)
_NOISY_FITS: tuple[_Setting, ...] = (
    *_plain((0.0, 3.0), (0.8, 1.0), (1.2, 0.3), (1.5, 1.0), (1.5, 3.0), (2.2, 1.0)),
    *_ramp((0.0, 3.0), (0.0, 10.0), (0.8, 3.0), (0.8, 10.0)),
    *(_SMALL, _SMALL_AND_LONG),
)
_FAINT_FITS: tuple[_Setting, ...] = (_CONVERGING[2], *_plain((0.0, 1.0), (0.8, 1.0)), *_ramp((0.0, 1.0)))
_CLEAR_FITS: tuple[_Setting, ...] = (*_CONVERGING[:2], _CONVERGING[3], *_ramp((0.0, 1.0)), _SMALL)
_BESIDE_A_NETWORK = {
    _NOISY_FITS: (*_plain((0.0, 3.0), (1.2, 0.3), (1.5, 3.0), (2.2, 1.0)), _SMALL, _SMALL_AND_LONG),
    _CLEAR_FITS: (_CONVERGING[0], *_ramp((0.0, 1.0)), _SMALL),
}
_FEW_VIEWS = 6.0  # pixels that neighbouring views part by at the faces of the specimen, from which on fits that converge miss the most
_FEW_VIEWS_FITS: tuple[_Setting, ...] = (_SMALL, _SMALL_AND_LONG, *_ramp((0.0, 3.0), (0.0, 10.0)), *_plain((1.5, 1.0), (1.5, 3.0)))


@dataclass(frozen=True)
class Member:
    """One fit of a stack: its configuration, and the passes after which it is taken as an estimate."""

    config: FitConfig
    looks: tuple[int, ...]

    def steps_at_looks(self, num_rows: int) -> tuple[int, ...]:
        """Return the steps after which a fit of ``num_rows`` is taken as an estimate."""
        per_pass = steps_per_pass(num_rows, self.config.rows_per_step(num_rows))
        return tuple(per_pass * look for look in self.looks)

    def steps(self, num_rows: int) -> int:
        """Return the steps of a fit of ``num_rows``."""
        return self.steps_at_looks(num_rows)[-1]

    def on_rows(self, num_rows: int) -> "Member":
        """Return the same fit of some of the rows: steps on all rows stay steps on all of them."""
        if self.config.batch_rows == "auto":
            return self
        return Member(self.config.model_copy(update={"batch_rows": num_rows}), self.looks)


def are_few(geometry: TiltGeometry) -> bool:
    """Return whether views are few for the thickness, so that fits which converge fill the gaps between them with what no view tells."""
    return _parting_pixels(geometry) > _FEW_VIEWS


def members_for(
    config: FitConfig, signal_to_noise: float, geometry: TiltGeometry, learned: bool = False, few_views: bool | None = None
) -> list[Member]:
    """Return the fits of a stack of views with a signal to noise, to stand alone or beside what a network has learned.

    Parameters
    ----------
    few_views
        Whether they are taken to be few, see `are_few`: halves of a series are fitted as the whole is. None: as their geometry says.
    """
    tables = {_CLEAR: _CLEAR_FITS, _FAINT: _FAINT_FITS}
    table = next((fits for least, fits in tables.items() if signal_to_noise > least), _NOISY_FITS)
    if signal_to_noise > _FAINT and (are_few(geometry) if few_views is None else few_views):
        table = _FEW_VIEWS_FITS
    if learned:
        table = _BESIDE_A_NETWORK.get(table, table)
    num_rows = geometry.detector_shape[0]
    scale = max(1.0, signal_to_noise) ** -0.6
    members = []
    for entry in table:
        passes = max(4, round(entry.passes * config.passes))
        looks = tuple(sorted({max(1, round(look * passes)) for look in _LOOKS}))
        setting = {"blur_voxels": entry.blur_voxels, "weighting": entry.weighting, "rolloff": entry.rolloff}
        setting["regularizer"] = entry.weight * scale
        update = {"tune": (), "passes": float(passes), "batch_rows": "auto", "learning_rate": entry.steps * config.learning_rate}
        if not entry.converges:
            # One full step from nothing overshoots for good: two smaller ones come first.
            update |= {"batch_rows": num_rows, "warmup": min(0.5, 2.4 / passes), "decay": 0.3}
            setting["oversampling"] = 1
        members.append(Member(with_setting(config.model_copy(update=update), setting), looks))
    return members


def _parting_pixels(geometry: TiltGeometry) -> float:
    """Return how far what lies at one face of the specimen moves against the other from one view to the next."""
    angles = geometry.tilt_angles_deg
    increment_deg = (max(angles) - min(angles)) / max(1, len(angles) - 1)
    return geometry.volume_shape[0] * geometry.voxel_size_in_pixels * math.radians(increment_deg)


def sample_bytes(members: list[Member], further: int, shape: tuple[int, int, int]) -> int:
    """Return what the densities of all estimates of some rows take of main memory, of a ``(z, y, x)`` volume of these."""
    return 2 * (sum(len(member.looks) for member in members) + further) * math.prod(shape)


def widest(members: list[Member]) -> Member:
    """Return the fit that takes the most memory: of those on the finest lattice the one with the widest blur."""
    return max(members, key=lambda member: (member.config.oversampling, member.config.blur_voxels))


def factors(members: list[Member]) -> set[int]:
    """Return the points per voxel that the fits need projectors for."""
    return {1, *(member.config.oversampling for member in members)}


def describe(members: list[Member], estimate: int) -> dict[str, Any]:
    """Return the settings of one of all estimates, as plain data."""
    flat = [(member.config, look) for member in members for look in member.looks]
    config, look = flat[estimate]
    return setting_of(config) | {"passes": look}


def setting_of(config: FitConfig) -> dict[str, Any]:
    """Return how a fit differs from the others of its stack."""
    weights = {"regularizer": config.regularizers[0].weight} if config.regularizers else {}
    rolled_off = {"rolloff": config.data_term.rolloff} if config.data_term.weighting == "ramp" else {}
    return {"blur_voxels": config.blur_voxels, "weighting": config.data_term.weighting, **rolled_off, **weights}


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
    further: Sequence[Estimate] = (),
    signal_to_noise: float | None = None,
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
    further
        Other estimates, whose weights come last; none of them is the single best. The sum leans towards the first of them in fine detail,
        towards the last one else.
    signal_to_noise
        Of the views: how what is positive is finished is found too, see `with_finish`. None: it is not.
    """
    judges = views_to_judge_by(sample.geometry.tilt_angles_deg)
    parts = build_projectors(split_views(sample, judges), plugins, factors(members), device)
    rows = sample.geometry.detector_shape[0]
    found: list[Estimate] = []
    measured = np.zeros(0)

    def build(member: Member, plan: MemoryPlan | None = None) -> Fit:
        config = member.on_rows(rows).config.model_copy(update={"hold_out": 0.0})
        return build_fit(sample, plugins, config, normalization, parts, device, limit, -reserve, plan=plan)

    try:
        # Planned once: what a fit leaves in the process is there for the next one.
        plan = build(widest(members)).plan
        for done, member in enumerate(members):
            fit = build(member, plan)
            measured = fit.held_out[0].measured(Slab(0, rows, 0, rows)).cpu().numpy()
            for residual, density in _looks(fit, member.on_rows(rows).steps_at_looks(rows), go_on):
                found.append(Estimate(residual + measured, density))
            if not go_on():
                return None
            on_member(done + 1)
        # Rays that ran beside the volume judge less: `judging_weights`.
        looked = judging_weights(fit.held_out[0].part.geometry, members[0].config.fitted_margin)
        looked = np.sqrt(looked / looked.mean())
        estimates = [*found, *further]
        equations = RingEquations([each.prediction * looked for each in estimates], measured * looked)
        stack = equations.best(len(found))
        if further and (signal_to_noise is None or not _LEANS_BELOW < signal_to_noise < _CLEAR):
            stack = equations.leaning(stack, len(estimates) - 1, len(found))
        if signal_to_noise is None or not normalization.positive:
            return stack

        def predicted(density: torch.Tensor) -> np.ndarray:
            residuals = fit.plan.in_slabs(lambda: _residuals(fit, lambda slab: density[slab.y_start : slab.y_stop]))
            return (residuals + measured) * looked

        densities, geometry = [each.density for each in estimates], sample.geometry
        unseen = UnseenViews(predicted, measured * looked)
        return with_finish(stack, densities, len(further), _sharpest(members), unseen, geometry, signal_to_noise, device)
    finally:
        close_projectors(parts)


def _sharpest(members: list[Member]) -> int:
    """Return which estimate is smoothed the least: the last look at a fit of ramp-weighted residuals without a blur."""
    ends = np.cumsum([len(member.looks) for member in members]) - 1

    def smoothness(place: int) -> tuple[bool, float, float]:
        config = members[place].config
        weight = config.regularizers[0].weight if config.regularizers else 0.0
        return config.data_term.weighting != "ramp", config.blur_voxels, weight

    return int(ends[min(range(len(members)), key=smoothness)])


def _looks(fit: Fit, looks: tuple[int, ...], go_on: Callable[[], bool]) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Run a fit; at each look give predicted minus measured views ``(y, tilt, x)`` of those held out, and the density."""
    for step in range(looks[-1]):
        if not go_on():
            return
        take_step(fit, step)
        if step + 1 in looks:
            yield fit.plan.in_slabs(partial(_residuals_at, fit, step)), predict(fit, step, 0, fit.box.shape[1]).half()


def _residuals_at(fit: Fit, step: int) -> np.ndarray:
    """Return the residuals of what a fit has come to."""
    sampling = fit.sampling(step)
    return _residuals(fit, lambda slab: fit.field(sampling.lattice(slab.y_start, slab.y_stop)), sampling.factor)


@torch.no_grad()
def _residuals(fit: Fit, density_of: Callable[[Slab], torch.Tensor], oversampling: int = 1) -> np.ndarray:
    """Return predicted minus measured views ``(y, tilt, x)`` of those held out; a slab's density ``(y, z, x)`` may be oversampled."""
    num_rows = fit.box.shape[1]
    slabs = cut_slabs([(0, num_rows)], fit.plan.slab_rows, 0, num_rows)
    return np.concatenate([fit.held_out[0].residual(density_of(slab), slab, oversampling).cpu().numpy() for slab in slabs])
