"""What a step of a fit costs on this device: a few real steps on some rows, timed and weighed."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wedge.fit.batches import Slab
from wedge.fit.build import build_fit, build_projectors, close_projectors
from wedge.fit.capture import UNTIL_RECORDED, Captured
from wedge.fit.config import FitConfig
from wedge.fit.data_term import Loss, Rays, whole_part
from wedge.fit.job import Job
from wedge.fit.loop import Fit, predict, take_step
from wedge.fit.memory import MemoryPlan
from wedge.fit.sample import busiest_rows, rows_of
from wedge.out_of_memory import release_unused
from wedge.provenance import peak_memory_bytes, resident_bytes

_PATIENCE_SECONDS = 2.0  # of a single step; more rows than take this are not tried, but scaled up to
_REPEATS = 5


@dataclass(frozen=True)
class StepCost:
    """Costs of a fit of some rows.

    Parameters
    ----------
    rows
        Of the batch that was timed, which is one slab.
    gradient_seconds, update_seconds, predict_seconds
        Of these rows: the gradient of a step; the optimizer's update of all parameters, those of these rows; a prediction.
    peak_bytes, base_bytes
        Memory at the height of a step, and before: of the process on a CPU, of the tensors on a GPU.
    parameter_bytes
        Of the field of these rows.
    seconds_per_other_row
        What each row of a taller box adds to the gradient of a step that does not see it: gradients are as large as the grids they are of.
    """

    rows: int
    gradient_seconds: float
    update_seconds: float
    predict_seconds: float
    peak_bytes: int
    base_bytes: int
    parameter_bytes: int
    seconds_per_other_row: float = 0.0

    def step_seconds(self, batch_rows: int, num_rows: int) -> float:
        """Return the seconds of a step on ``batch_rows`` of a fit of ``num_rows``."""
        others = self.seconds_per_other_row * (num_rows - batch_rows)
        return (self.gradient_seconds * batch_rows + self.update_seconds * num_rows) / self.rows + others


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int = _REPEATS) -> float:
    """Return the median of the seconds that something takes, all of it done: the least would promise too much."""
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def held_bytes(device: torch.device) -> int:
    """Return the memory that is held now: of the process on a CPU, of the tensors on a GPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident_bytes()


def reset_peak(device: torch.device) -> None:
    """Forget the peak memory so far, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory_bytes()


def time_steps(job: Job, config: FitConfig, most_rows: int, batch_rows: int | None = None) -> StepCost:
    """Take a few steps with a configuration on the busiest rows.

    Parameters
    ----------
    most_rows
        As many rows are taken, or as many as a step of some seconds allows.
    batch_rows
        Rows of a step; default: all that are taken.
    """
    least = min(4, most_rows)
    if batch_rows is None and most_rows > least:
        quick = time_steps(job, config, least, least)
        seconds = (quick.gradient_seconds + quick.update_seconds) / quick.rows
        most_rows = max(least, min(most_rows, int(_PATIENCE_SECONDS / max(seconds, 1e-6))))
    sample = rows_of(job.wide, busiest_rows(job.wide, most_rows))
    rows = sample.geometry.detector_shape[0]
    batch = min(batch_rows or rows, rows)
    config = config.model_copy(update={"batch_rows": batch, "hold_out": 0.0, "oversampling_start": 0.0, "tune": ()})
    parts = build_projectors([whole_part(sample)], job.plugins, {1, config.oversampling}, job.device)
    try:
        fit = build_fit(sample, job.plugins, config, job.units, parts, job.device, job.limit, 0, plan=MemoryPlan(batch, True, 0, job.limit))
        reset_peak(job.device)
        base = peak_bytes(job.device)
        take_step(fit, 0)
        _until_recorded(fit)
        gradient_seconds = seconds_of(lambda: fit.gradient(1), job.device)
        update_seconds = seconds_of(fit.optimizer.step, job.device)
        predict_seconds = seconds_of(lambda: predict(fit, 1, 0, rows), job.device, 1)
        parameters = sum(p.numel() * p.element_size() for p in fit.field.parameters())
        share = batch / rows
        return StepCost(
            batch,
            gradient_seconds,
            update_seconds * share,
            predict_seconds * share,
            peak_bytes(job.device),
            base,
            parameters,
        )
    finally:
        close_projectors(parts)


def _until_recorded(fit: Fit) -> None:
    """Do a step as often as it takes until it is done as most of its like will be."""
    for _ in range(UNTIL_RECORDED if isinstance(fit.gradient, Captured) else 0):
        fit.gradient(1)


class _Anywhere:
    """A data term of a few rows, which stand for any of a taller box."""

    def __init__(self, term: Loss) -> None:
        self._term = term

    def rays(self, slab: Slab) -> Rays:
        return self._term.rays(Slab(0, slab.rows, 0, slab.rows))

    def loss(self, slices: torch.Tensor, rays: Rays, oversampling: int) -> torch.Tensor:
        return self._term.loss(slices, rays, oversampling)


def in_whole_box(job: Job, config: FitConfig, cost: StepCost) -> StepCost:
    """Return what `time_steps` found, with what steps on as many rows cost in a field of all rows; where it has parameters for each row.

    Notes
    -----
    Takes the memory of the whole field, as the fit will.
    """
    num_z, num_rows, num_x = job.wide.geometry.volume_shape
    if num_rows <= cost.rows:
        return cost
    sample = rows_of(job.wide, busiest_rows(job.wide, cost.rows))
    tall = replace(sample.geometry, volume_shape=(num_z, num_rows, num_x), detector_shape=job.wide.geometry.detector_shape)
    config = config.model_copy(update={"batch_rows": cost.rows, "hold_out": 0.0, "oversampling_start": 0.0, "tune": ()})
    parts = build_projectors([whole_part(sample)], job.plugins, {1, config.oversampling}, job.device)
    plan = MemoryPlan(cost.rows, True, 0, job.limit)
    try:
        fit = build_fit(replace(sample, geometry=tall), job.plugins, config, job.units, parts, job.device, job.limit, 0, plan=plan)
        if sum(p.numel() * p.element_size() for p in fit.field.parameters()) <= cost.parameter_bytes:
            return cost
        fit.fitted = [_Anywhere(term) for term in fit.fitted]
        first = seconds_of(lambda: take_step(fit, 0), job.device, 1)
        repeats = _REPEATS if first < _PATIENCE_SECONDS / 2 else 1
        _until_recorded(fit)
        gradient_seconds = seconds_of(lambda: fit.gradient(1), job.device, repeats)
        update_seconds = seconds_of(fit.optimizer.step, job.device, repeats)
        others = max(0.0, gradient_seconds - cost.gradient_seconds) / (num_rows - cost.rows)
        return replace(cost, update_seconds=update_seconds * cost.rows / num_rows, seconds_per_other_row=others)
    finally:
        close_projectors(parts)
        release_unused()
