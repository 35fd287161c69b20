"""How long a fit will take and how much memory, told before it begins, from a few steps on this device."""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from wedge.errors import DeviceError, InputError
from wedge.fit.adaptive import HALO_ROWS, PAD
from wedge.fit.adaptive_run import AdaptiveRun, operator_bytes
from wedge.fit.batches import steps_per_pass
from wedge.fit.build import build_fit, build_projectors, close_projectors
from wedge.fit.calibrate import StepCost, held_bytes, in_whole_box, seconds_of, time_steps
from wedge.fit.coarse_start import relative_cost
from wedge.fit.config import FitConfig
from wedge.fit.job import Job
from wedge.fit.members import members_for, sample_bytes, widest
from wedge.fit.memory import PARAMETER_COPIES, MemoryPlan
from wedge.fit.radial import SLAB_ROWS, RadialFilter, filter_bytes
from wedge.fit.restore_costs import restore_costs
from wedge.fit.restore_halves import left_to_a_network
from wedge.fit.stack import knots
from wedge.fit.stack_learned import NUM_LEARNED
from wedge.fit.stack_sum import bytes_beside_fits, sums_of
from wedge.fit.stack_weights import SAMPLE_ROWS as STACK_ROWS
from wedge.fit.trials import views_to_judge_by
from wedge.fit.tuning import expected_config, expected_trials
from wedge.out_of_memory import release_unused
from wedge.provenance import peak_memory_bytes, resident_bytes
from wedge.slabs import chunk_rows, slab_ranges

_FEW, _MORE = 1, 4  # conjugate gradients of the adaptive field that are timed
_STRENGTHS_TRIED = 3
_EQUATION_COPIES = 6


@dataclass(frozen=True)
class Forecast:
    """What a fit is expected to take.

    Parameters
    ----------
    method
        Kind of field.
    seconds
        By part of the work.
    memory_bytes, limit_bytes
        Peak, and what is allowed: of the process on a CPU, of the tensors on a GPU.
    rows_at_once
        y-rows of a slab, or of a block of the adaptive field.
    """

    method: str
    seconds: dict[str, float]
    memory_bytes: int
    limit_bytes: int
    rows_at_once: int
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())


def forecast(job: Job, setup_seconds: float = 0.0, spread: bool = False) -> Forecast:
    """Predict a fit that `wedge.fit.begin` has begun, from a few of its steps.

    Parameters
    ----------
    setup_seconds
        What was spent so far, and will be again.
    spread
        Whether a stack is to tell the spread between its fits.

    Raises
    ------
    DeviceError
        If the fit does not fit into the memory that is allowed.
    """
    started = peak_memory_bytes() if job.device.type == "cpu" else 0
    if job.config.method == "stack":
        found = _of_stack(job, spread)
    elif job.config.method == "restore":
        found = _of_restore(job)
    else:
        found = _of_adaptive(job, _STRENGTHS_TRIED) if job.config.method == "adaptive" else _of_network(job)
    seconds = {"set-up": setup_seconds} | found.seconds
    return Forecast(found.method, seconds, max(found.memory_bytes, started), job.limit, found.rows_at_once, found.details)


def _planned(job: Job, config: FitConfig, reserve: int = 0) -> tuple[MemoryPlan, int]:
    """Return the plan of the whole fit, built as it will be, and the bytes of its parameters."""
    before = resident_bytes()
    parts = build_projectors(job.parts, job.plugins, {1, config.oversampling}, job.device)
    try:
        built = max(0, resident_bytes() - before) - reserve
        fit = build_fit(job.wide, job.plugins, config, job.units, parts, job.device, job.limit, built)
        return fit.plan, sum(p.numel() * p.element_size() for p in fit.field.parameters())
    finally:
        close_projectors(parts)


def _memory(job: Job, plan: MemoryPlan, parameter_bytes: int, cost: StepCost) -> int:
    """Scale the memory of the timed steps to the rows of a slab and of the volume."""
    working = (cost.peak_bytes - cost.base_bytes) * plan.slab_rows / cost.rows
    more = PARAMETER_COPIES * max(0, parameter_bytes - cost.parameter_bytes)
    geometry = job.wide.geometry
    copies = 0 if not plan.resident else 1 if job.wide.weights is None else 2
    series = 4 * geometry.num_tilts * math.prod(geometry.detector_shape) * copies
    return int(cost.base_bytes + working + more + series)


def _blurs(config: FitConfig) -> tuple[float, ...]:
    """Return the blurs that a fit may be made with: what the data choose is not known yet."""
    return (0.0, 0.8) if "blur_voxels" in config.tune else (config.blur_voxels,)


def _of_network(job: Job) -> Forecast:
    num_rows = job.wide.geometry.volume_shape[1]
    judged = bool(_judges(job))
    config = expected_config(job.config, float(job.chosen["signal_to_noise"]), num_rows) if judged else job.config
    plan, parameter_bytes = _planned(job, config)
    release_unused()
    batch = config.rows_per_step(num_rows)
    most = min(plan.slab_rows, batch)
    blurred = [config.model_copy(update={"blur_voxels": blur}) for blur in _blurs(config)]
    costs = [time_steps(job, each, most) for each in blurred]
    memory = max(_memory(job, plan, parameter_bytes, cost) for cost in costs)
    costs = [in_whole_box(job, each, cost) for each, cost in zip(blurred, costs, strict=True)]
    step = _middle([cost.step_seconds(batch, num_rows) for cost in costs])
    steps = math.ceil(config.passes * steps_per_pass(num_rows, batch))
    coarse = config.oversampling_start if config.oversampling > 1 else 0.0
    seconds = {"settings": _trials_seconds(job), "fit": steps * step * (1 - coarse)}
    if coarse:
        config = config.model_copy(update={"oversampling": 1})
        plain = in_whole_box(job, config, time_steps(job, config, most))
        seconds["fit"] += steps * coarse * plain.step_seconds(batch, num_rows)
    seconds["fit"] *= 1 + relative_cost(config, job.wide.geometry.volume_shape, batch)
    seconds["writing"] = _middle([cost.predict_seconds / cost.rows for cost in costs]) * num_rows
    return Forecast("network", seconds, memory, job.limit, plan.slab_rows, {"steps": steps, "rows_per_step": batch})


def _judges(job: Job) -> list[int]:
    """Return the views that trials are judged by."""
    return views_to_judge_by(job.wide.geometry.tilt_angles_deg)


def _middle(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(values))


def _trials_seconds(job: Job) -> float:
    """Return what the search for settings will take: so many trials of each kind are usual."""
    total, geometry = 0.0, job.wide.geometry
    num_rows = geometry.volume_shape[1]
    for config, rows, count in expected_trials(job.config, float(job.chosen["signal_to_noise"]), num_rows) if _judges(job) else []:
        batch = config.rows_per_step(rows)
        costs = [time_steps(job, config.model_copy(update={"blur_voxels": blur}), rows, batch) for blur in _blurs(job.config)]
        steps = config.passes * steps_per_pass(rows, batch)
        trial = _middle([steps * cost.step_seconds(batch, rows) + cost.predict_seconds * rows / batch for cost in costs])
        # All of them begin with the same.
        shared = relative_cost(config, (geometry.volume_shape[0], rows, geometry.volume_shape[2]), batch) if total == 0 else 0.0
        total += (count + shared) * trial
    return total


def _of_stack(job: Job, spread: bool) -> Forecast:
    geometry = job.wide.geometry
    num_z, num_rows, num_x = geometry.volume_shape
    learning, needed = _of_learned_estimates(job)
    release_unused()
    members = members_for(job.config, float(job.chosen["signal_to_noise"]), geometry, bool(learning))
    # The equations of the weights are in main memory, and the sums too, unless they are beside the fits on a GPU.
    on_cpu = job.device.type == "cpu"
    sums = len(sums_of(spread)) * 4 * math.prod(geometry.volume_shape) if on_cpu else bytes_beside_fits(job, spread)
    reserve = filter_bytes(geometry.volume_shape) + sums
    plan, parameter_bytes = _planned(job, widest(members).config, reserve)
    release_unused()
    sample_rows = min(STACK_ROWS, num_rows)
    seconds = {"weights": 0.0, "fit": 0.0}
    costs = {}
    for member in members:
        kind = (member.config.blur_voxels, member.config.data_term.weighting)
        some = member.on_rows(sample_rows)
        if kind not in costs:
            costs[kind] = time_steps(job, member.config, min(plan.slab_rows, some.config.rows_per_step(sample_rows)))
            if member.config.rows_per_step(num_rows) < num_rows:
                costs[kind] = in_whole_box(job, member.config, costs[kind])
        cost = costs[kind]
        seconds["weights"] += some.steps(sample_rows) * cost.step_seconds(some.config.rows_per_step(sample_rows), sample_rows)
        seconds["weights"] += len(member.looks) * cost.predict_seconds / cost.rows * sample_rows
        seconds["fit"] += member.steps(num_rows) * cost.step_seconds(member.config.rows_per_step(num_rows), num_rows)
        seconds["fit"] += len(member.looks) * cost.predict_seconds / cost.rows * num_rows
    slab = min(SLAB_ROWS, num_rows)
    radial, into = RadialFilter((num_z, slab, num_x), job.device), torch.zeros(slab, num_z, num_x)
    once = seconds_of(lambda: radial.add(into, lambda low, high: into[low:high], np.ones(len(knots()))), job.device, 2)
    looks = sum(len(member.looks) for member in members)
    seconds["fit"] += once * looks * len(slab_ranges(num_rows, SLAB_ROWS))
    heaviest = max(costs.values(), key=lambda cost: (cost.peak_bytes - cost.base_bytes) / cost.rows)
    # Beside the fits stand the sums; after them come the equations of the weights, or the filter of a slab.
    equations = _EQUATION_COPIES * 4 * (looks + NUM_LEARNED) * sample_rows * len(_judges(job)) * geometry.detector_shape[1] if on_cpu else 0
    equations += sample_bytes(members, NUM_LEARNED, (num_z, sample_rows, num_x)) if on_cpu else 0
    memory = _memory(job, plan, parameter_bytes, heaviest) + sums + max(equations, filter_bytes(geometry.volume_shape))
    return Forecast("stack", learning | seconds, max(memory, needed + sums), job.limit, plan.slab_rows, {"fits": len(members)})


def _of_learned_estimates(job: Job) -> tuple[dict[str, float], int]:
    """Return the seconds and the bytes of the estimates of a stack that a network learns; nothing where there is none."""
    if not left_to_a_network(job):
        return {}, 0
    try:
        seconds, memory, _ = restore_costs(job)
    except (InputError, DeviceError):
        return {}, 0
    # Of the rows that the weights are found on, too.
    num_rows = job.tilts.geometry.volume_shape[1]
    times = NUM_LEARNED * (1 + min(STACK_ROWS, num_rows) / num_rows)
    return seconds | {"restoring": times * seconds["restoring"]}, memory


def _of_adaptive(job: Job, strengths_tried: int) -> Forecast:
    run = AdaptiveRun(job.wide, job.halves, job.plugins, job.config, job.units, job.device)
    num_rows = job.wide.geometry.volume_shape[1]
    config = job.config.adaptive
    projector, taken = operator_bytes(job.plugins, job.wide.geometry, job.device)
    try:
        block_rows = run.block_rows(job.limit, taken, chunk_rows(job.tilts.geometry.volume_shape))
        rows, base, timed = run.sample_rows, held_bytes(job.device), []
        for iterations in (_FEW, _FEW, _MORE):
            short = config.model_copy(update={"rounds": 1, "iterations": iterations})
            timed.append(seconds_of(partial(run.calibrate, short, projector, lambda: True), job.device, 1))
    finally:
        projector.close()
    each = max(0.0, timed[2] - timed[1]) / (_MORE - _FEW)
    solved = config.rounds * (timed[1] + each * (config.iterations - _FEW)) / rows  # seconds of a row
    blocks = slab_ranges(num_rows, block_rows)
    halo = 2 * HALO_ROWS * (len(blocks) - 1)
    trials = strengths_tried if "strength" in job.config.tune else 0
    seconds = {"settings": solved * rows * (trials + 1), "fit": solved * (num_rows + halo)}
    memory = base + run.row_bytes * (min(block_rows + 2 * HALO_ROWS, num_rows) + PAD)
    return Forecast("adaptive", seconds, memory, job.limit, block_rows, {"rounds": config.rounds, "iterations": config.iterations})


def _of_restore(job: Job) -> Forecast:
    seconds, memory, details = restore_costs(job)
    adaptive = job.config.restore.beyond(job.config.adaptive)
    beyond = _of_adaptive(replace(job, config=job.config.model_copy(update={"adaptive": adaptive})), strengths_tried=0)
    memory = max(memory, beyond.memory_bytes)
    return Forecast("restore", seconds | beyond.seconds, memory, job.limit, beyond.rows_at_once, details | beyond.details)
