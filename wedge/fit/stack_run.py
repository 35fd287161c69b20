"""The stack of a whole series: fits of many settings, summed frequency by frequency; see `wedge.fit.stack`.

The weights are found on some rows, with views left out; then every fit sees all rows and views, and what it finds is filtered by its
weights and added. Of what is left, nothing is negative where density is positive, and nothing stands where the best single fit is empty all
around: what is emptied voxel by voxel loses its fine detail.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from wedge.errors import InputError, InterruptedRunError, StoppedError, UsageError, WedgeError
from wedge.fit import team
from wedge.fit.batches import cut_slabs
from wedge.fit.build import PartProjectors, build_fit, build_projectors, close_projectors
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, read_checkpoint, write_checkpoint
from wedge.fit.data_term import DataTerm
from wedge.fit.emptied import share_filled
from wedge.fit.job import Job, Reconstruction
from wedge.fit.loop import Fit, StopRequest, predict, run_fit
from wedge.fit.members import Member, factors, members_for, setting_of, widest
from wedge.fit.memory import MemoryPlan
from wedge.fit.model import record_of
from wedge.fit.observers import preview_spacing
from wedge.fit.radial import RadialFilter, filter_bytes
from wedge.fit.run_dir import LOG_NAME
from wedge.fit.stack_learned import add_learned, learned_estimate
from wedge.fit.stack_weights import choose_weights, nothing_kept
from wedge.out_of_memory import release_unused
from wedge.output import Writer
from wedge.slabs import chunk_rows, slab_ranges


class StackRun:
    """The sum of a stack as far as it has come; it can be saved between fits."""

    def __init__(self, job: Job, progress: Progress, spread: bool = False) -> None:
        self.job, self.progress = job, progress
        self.told: dict[str, str] = {}
        num_z, num_y, num_x = job.wide.geometry.volume_shape
        names = ["total", "best", *(["mean", "squares"] if spread else [])]
        self._tensors = {name: torch.zeros(num_y, num_z, num_x) for name in names}
        if team.leads():
            # Filled at once, so that the plans of the fits find this memory taken.
            for tensor in self._tensors.values():
                tensor.fill_(0.0)
        self.total, self.best, self.has_spread = self._tensors["total"], self._tensors["best"], spread

    def save(self, path: Path) -> None:
        """Write what is done, see `write_checkpoint`."""
        if team.leads():
            write_checkpoint(path, self._tensors, self.progress)

    def load(self, path: Path) -> None:
        """Read what was done.

        Raises
        ------
        InputError
            If the file is damaged or of another kind of fit, or knows no spread where one is wanted.
        """
        tensors = read_checkpoint(path, torch.device("cpu"))[1]
        if self.has_spread and "total" in tensors and "squares" not in tensors:
            raise InputError(f"checkpoint {path} was begun without --std: leave it out, or start again with --overwrite")
        try:
            for name, tensor in self._tensors.items():
                tensor.copy_(tensors[name])
        except (KeyError, RuntimeError) as error:
            raise InputError(f"checkpoint {path} is of another fit ({error}): start again with --overwrite") from error

    def finished(self, y_start: int, y_stop: int, bright: float) -> torch.Tensor:
        """Return rows ``(y, z, x)`` of the normalized density."""
        rows = self.total[y_start:y_stop]
        if not self.job.units.positive:
            return rows
        return rows.clamp_min(0) * share_filled(self.best, y_start, y_stop, bright, float(self.job.chosen["signal_to_noise"]))

    def coarse(self, bright: float) -> torch.Tensor:
        """Return every few voxels ``(y, z, x)`` of the normalized density, without margins: for who wants to look."""
        every = math.ceil(preview_spacing(self.job.tilts.geometry.volume_shape))
        rows = [self.job.cropped(self.finished(y, y + 1, bright))[:, ::every, ::every] for y in range(0, len(self.total), every)]
        return torch.cat(rows)

    def add_to_spread(self, fit: int, y_start: int, density: torch.Tensor) -> None:
        """Take rows of one more fit, the ``fit``-th from 0, into account."""
        rows = slice(y_start, y_start + len(density))
        mean, squares = self._tensors["mean"][rows], self._tensors["squares"][rows]
        difference = density - mean
        mean += difference / (fit + 1)
        squares += difference * (density - mean)

    def spread(self, y_start: int, y_stop: int) -> torch.Tensor:
        """Return rows ``(y, z, x)`` of the sample standard deviation over the fits, each as it ends, of the normalized density."""
        return (self._tensors["squares"][y_start:y_stop] / max(1, self.progress.step - 1)).sqrt()

    def bright(self) -> float:
        """Return the density of what is bright in the best single fit: the mean of density weighted by its square."""
        squared = cubed = 0.0
        for row in self.best:
            squared += float(row.square().sum(dtype=torch.float64))
            cubed += float((row.abs() * row.square()).sum(dtype=torch.float64))
        return cubed / squared if squared > 0 else 1.0


def reconstruct_stack(
    job: Job,
    writer: Writer,
    saved: Progress | None,
    run_dir: Path,
    *,
    std_writer: Writer | None = None,
    stop_now: bool,
    stop: StopRequest,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
) -> Reconstruction:
    """Write the stack of a series and, where wanted, the spread between its fits.

    Raises
    ------
    UsageError
        If ``stop_now``: the sum of some of the fits is no result.
    InputError
        If what is gone on with is a sum of other fits, as another version made it.
    StoppedError, InterruptedRunError
        If stopped; what is kept are whole fits.
    """
    if stop_now:
        raise UsageError("a stack has no result before its last fit: continue with --resume, or start again with --method network")
    num_rows = job.tilts.geometry.detector_shape[0]
    path = run_dir / CHECKPOINT_NAME
    progress = saved or Progress(0, job.units, settled=job.config.model_dump(mode="json"), chosen=dict(job.chosen))
    run = StackRun(job, progress, std_writer is not None)
    if saved is not None:
        if team.leads():
            run.load(path)
    else:
        _begin(run, stop, say, on_progress)
        run.save(path)
    members = members_for(job.config, float(job.chosen["signal_to_noise"]), num_rows)
    if len(members) != progress.chosen["fits"]:
        raise InputError(f"{path} is of another version, whose stacks are of other fits: start again with --overwrite")
    parts = build_projectors(job.parts, job.plugins, factors(members), job.device)
    steps = [member.steps(num_rows) for member in members]
    all_steps = sum(steps)
    job.observers.start(job.run_info(run_dir, all_steps, sum(steps[: progress.step]), job.config))
    try:
        # Planned once: what a fit leaves in the process is there for the next one.
        plan = _build(job, widest(members), parts).plan
        say(str(plan))
        for index in range(progress.step, len(members)):
            if _add_member(run, members, index, parts, plan, stop, on_progress):
                progress.step = index + 1
                run.save(path)
                if team.leads():
                    (run_dir / LOG_NAME).write_text("".join(json.dumps(entry) + "\n" for entry in progress.history))
            if stop.reason is not None:
                raise _stopped(stop.reason, run_dir, progress.step, len(members))
        bright = run.bright()
        job.observers.stage("writing the sum of the stack", 0, 0)
        job.observers.offer(all_steps, {"volume": lambda: run.coarse(bright)})
        for rows in slab_ranges(num_rows, chunk_rows(job.tilts.geometry.volume_shape)):
            writer.write_rows(rows.start, job.cropped(run.finished(rows.start, rows.stop, bright)) * job.units.scale)
            if std_writer is not None:
                std_writer.write_rows(rows.start, job.cropped(run.spread(rows.start, rows.stop)) * abs(job.units.scale))
        error = plan.in_slabs(lambda: _held_out_error(run, parts, bright, plan.slab_rows))
    finally:
        close_projectors(parts)
    final = progress.history[-1] if progress.history else {}
    planned = {"slab_rows": plan.slab_rows, "planned_memory_bytes": plan.total_bytes, **run.told}
    return Reconstruction(job.config, job.units, planned, all_steps, progress.seconds, final, error, False, progress.chosen)


def _stopped(reason: str, run_dir: Path, done: int, total: int) -> WedgeError:
    message = f"stopped by {reason} after {done} of {total} fits of the stack, which are kept in {run_dir}: continue with --resume"
    return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)


def _begin(
    run: StackRun,
    stop: StopRequest,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
) -> None:
    """Find the weights where they are not known, and begin the sum with what a network has learned, if it has."""
    chosen, learned = run.progress.chosen, None
    if chosen.get("learned"):
        learned = learned_estimate(run.job, (), range(0), lambda: stop.reason is None, say)
        if stop.reason is not None:
            raise nothing_kept(stop.reason)
    if "weights" not in chosen or (chosen.get("learned") and learned is None):
        learned = choose_weights(run.job, run.progress, stop, say, on_progress)
    # Also where a stop has come since: what is saved next is taken to hold it.
    if learned is not None and team.leads():
        add_learned(run.job, learned, run.total, np.array(chosen["weights"])[-1])
        release_unused()


def _build(job: Job, member: Member, parts: list[PartProjectors], plan: MemoryPlan | None = None) -> Fit:
    reserve, noise_std = filter_bytes(job.wide.geometry.volume_shape), float(job.chosen["noise_std"])
    return build_fit(job.wide, job.plugins, member.config, job.units, parts, job.device, job.limit, -reserve, noise_std, plan)


def _keep_nothing() -> None:
    """Save nothing: a fit of a stack is done or not."""


def _add_member(
    run: StackRun,
    members: list[Member],
    index: int,
    parts: list[PartProjectors],
    plan: MemoryPlan,
    stop: StopRequest,
    on_progress: Callable[[int, int, float], None],
) -> bool:
    """Fit one member to all rows and add what it finds at each look; return whether it came to its end: else nothing of it is kept."""
    job, member, started = run.job, members[index], time.monotonic()
    geometry = job.wide.geometry
    steps = [other.steps(len(run.best)) for other in members]
    first_step, all_steps = sum(steps[:index]), sum(steps)
    first_estimate = sum(len(other.looks) for other in members[:index])
    weights, base = np.array(run.progress.chosen["weights"]), int(run.progress.chosen["base"])
    fit = _build(job, member, parts, plan)
    fit.observers = job.observers
    shown = ", ".join(f"{key} {value}" for key, value in setting_of(member.config).items())
    job.observers.say(f"fit {index + 1} of {len(members)} of the stack: {shown}")
    job.observers.stage("fits of the stack", index, len(members))
    radial = RadialFilter(geometry.volume_shape, job.device, geometry.voxel_size_in_pixels)
    progress = Progress(0, job.units)

    def show(done: int, total: int, loss: float) -> None:
        on_progress(all_steps + first_step + done, 2 * all_steps, loss)

    for place, look in enumerate(member.steps_at_looks(len(run.best))):
        reached = run_fit(
            fit, progress, save=_keep_nothing, stop=stop, checkpoint_seconds=math.inf, on_progress=show, until=look, first=first_step
        )
        if not reached:
            return False
        estimate = first_estimate + place
        if not team.leads():
            continue

        def read(low: int, high: int, at: int = look) -> torch.Tensor:
            # Where it is filtered next.
            return predict(fit, at - 1, low, high, job.device)

        radial.add(run.total, read, weights[estimate])
        last = run.has_spread and look == steps[index]
        for rows in slab_ranges(len(run.best), fit.plan.slab_rows) if estimate == base or last else []:
            density = read(rows.start, rows.stop).cpu()
            if estimate == base:
                run.best[rows.start : rows.stop] = density
            if last:
                run.add_to_spread(index, rows.start, density)
    run.told = record_of(fit.field)
    run.progress.history += progress.history
    run.progress.seconds += time.monotonic() - started
    return True


def _held_out_error(run: StackRun, parts: list[PartProjectors], bright: float, slab_rows: int) -> float | None:
    """Return the data term of the views that the user held out, or None; at most ``slab_rows`` are projected at once."""
    job, total = run.job, 0.0
    held = [(part, projectors) for part, projectors in parts if part.held_out]
    num_rows = len(run.total)
    for part, projectors in held:
        term = DataTerm(part, projectors[1], job.units, job.config.data_term, job.device, resident=False)
        for slab in cut_slabs([(0, num_rows)], slab_rows, 0, num_rows):
            density = run.finished(slab.y_start, slab.y_stop, bright).to(job.device)
            total += float(term(density, slab)) * slab.rows / num_rows
    return total if held else None
