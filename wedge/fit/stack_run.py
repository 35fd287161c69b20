"""The stack of a whole series: fits of many settings, summed frequency by frequency; see `wedge.fit.stack`.

The weights are found on some rows, with views left out; then every fit sees all rows and views, and what it finds is filtered by its
weights and added. Of what is left, nothing is negative where density is positive, and nothing stands where one of the estimates is empty
all around, see `wedge.fit.emptied`: what is emptied voxel by voxel loses its fine detail.
"""

import json
import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import torch

from wedge.errors import InputError, InterruptedRunError, StoppedError, UsageError, WedgeError
from wedge.fit import team
from wedge.fit.batches import cut_slabs
from wedge.fit.build import PartProjectors, build_fit, build_projectors, close_projectors
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress
from wedge.fit.data_term import DataTerm
from wedge.fit.emptied import Emptying, bright_density
from wedge.fit.job import Job, Reconstruction
from wedge.fit.loop import Fit, StopRequest, predict, run_fit
from wedge.fit.members import Member, factors, members_for, setting_of, widest
from wedge.fit.memory import MemoryPlan
from wedge.fit.model import record_of
from wedge.fit.radial import SLAB_ROWS, RadialFilter, filter_bytes
from wedge.fit.run_dir import LOG_NAME
from wedge.fit.stack_learned import NUM_LEARNED, add_learned, learned_estimates
from wedge.fit.stack_sum import StackRun
from wedge.fit.stack_weights import choose_weights, nothing_kept
from wedge.out_of_memory import release_unused
from wedge.output import Writer
from wedge.overlap import CHUNKS_WRITTEN, WriteBehind
from wedge.slabs import chunk_rows, slab_ranges


def reconstruct_stack(
    job: Job,
    writer: Writer,
    saved: Progress | None,
    run_dir: Path,
    *,
    std_writer: Writer | None = None,
    stop_now: bool,
    stop: StopRequest,
    checkpoint_seconds: float,
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
        if "weights" in progress.chosen:
            _members(run, "what is to be repeated", "make the whole again")
        _begin(run, stop, say, on_progress)
        run.save(path)
    members = _members(run, str(path), "start again with --overwrite")
    parts = build_projectors(job.parts, job.plugins, factors(members), job.device)
    steps = [member.steps(num_rows) for member in members]
    all_steps = sum(steps)
    job.observers.start(job.run_info(run_dir, all_steps, sum(steps[: progress.step]), job.config))
    try:
        # Planned once: what a fit leaves in the process is there for the next one.
        plan = _build(run, widest(members), parts).plan
        say(str(plan))
        _add_members(run, members, parts, plan, run_dir, stop, checkpoint_seconds, on_progress)
        bright = bright_density(run.by)
        job.observers.stage("writing the sum of the stack", 0, 0)
        job.observers.offer(all_steps, {"volume": lambda: run.coarse(bright)})
        try:
            _write(run, bright, writer, std_writer)
        except BaseException:
            # The first error is told.
            with suppress(InputError):
                _keep(run, run_dir)
            raise
        error = plan.in_slabs(lambda: _held_out_error(run, parts, bright, plan.slab_rows))
    finally:
        close_projectors(parts)
    final = progress.history[-1] if progress.history else {}
    planned = {"slab_rows": plan.slab_rows, "planned_memory_bytes": plan.total_bytes, **run.told}
    return Reconstruction(job.config, job.units, planned, all_steps, progress.seconds, final, error, False, progress.chosen)


def _members(run: StackRun, source: str, remedy: str) -> list[Member]:
    """Return the fits that the weights are of, which come from a source.

    Raises
    ------
    InputError
        If another version has made those, of other fits.
    """
    chosen, job = run.progress.chosen, run.job
    learned = bool(chosen.get("learned"))
    members = members_for(job.config, float(job.chosen["signal_to_noise"]), job.tilts.geometry, learned, chosen.get("few_views"))
    fits_others = sum(len(member.looks) for member in members) + NUM_LEARNED * learned != len(chosen["weights"])
    if fits_others or not set(chosen.get("emptied", ())) <= set(Emptying.__dataclass_fields__):
        raise InputError(f"{source} is of another version, whose stacks are of other fits, or emptied otherwise: {remedy}")
    return members


def _keep(run: StackRun, run_dir: Path) -> None:
    """Keep the fits that are done."""
    run.save(run_dir / CHECKPOINT_NAME)
    if team.leads():
        (run_dir / LOG_NAME).write_text("".join(json.dumps(entry) + "\n" for entry in run.progress.history))


def _write(run: StackRun, bright: float, writer: Writer, std_writer: Writer | None) -> None:
    """Write the sum and, where wanted, the spread between the fits."""
    job, shape = run.job, run.job.tilts.geometry.volume_shape
    # From a GPU several chunks at once, which are compressed side by side while it makes the next.
    at_once = max(SLAB_ROWS, chunk_rows(shape) * (CHUNKS_WRITTEN if run.device_bytes else 1))
    with ExitStack() as opened:
        volume, spread = (None if each is None else opened.enter_context(WriteBehind(each)) for each in (writer, std_writer))
        assert volume is not None
        for rows in slab_ranges(shape[1], at_once):
            volume.write_rows(rows.start, (job.cropped(run.finished(rows.start, rows.stop, bright)) * job.units.scale).cpu())
            if spread is not None:
                spread.write_rows(rows.start, (job.cropped(run.spread(rows.start, rows.stop)) * abs(job.units.scale)).cpu())


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
        learned = learned_estimates(run.job, (), range(0), lambda: stop.reason is None, say)
        if stop.reason is not None:
            raise nothing_kept(stop.reason)
    if "weights" not in chosen or (chosen.get("learned") and learned is None):
        learned = choose_weights(run.job, run.progress, stop, say, on_progress)
    # Also where a stop has come since: what is saved next is taken to hold it.
    if learned is not None and team.leads():
        weights = np.array(chosen["weights"])
        for estimate, restoration in enumerate(learned.restorations, len(weights) - NUM_LEARNED):
            more = [(run.rest, np.array(chosen["rest"]))] if chosen.get("rest_of") == estimate else []
            more += [(run.by, np.ones_like(weights[estimate]))] if run.empties(estimate) else []
            add_learned(run.job, restoration, [(run.total, weights[estimate]), *more])
        release_unused()


def _build(run: StackRun, member: Member, parts: list[PartProjectors], plan: MemoryPlan | None = None) -> Fit:
    job = run.job
    reserve, noise_std = filter_bytes(job.wide.geometry.volume_shape), float(job.chosen["noise_std"])
    limit = job.limit - run.device_bytes
    return build_fit(job.wide, job.plugins, member.config, job.units, parts, job.device, limit, -reserve, noise_std, plan)


def _keep_nothing() -> None:
    """Save nothing: a fit of a stack is done or not."""


def _add_members(
    run: StackRun,
    members: list[Member],
    parts: list[PartProjectors],
    plan: MemoryPlan,
    run_dir: Path,
    stop: StopRequest,
    checkpoint_seconds: float,
    on_progress: Callable[[int, int, float], None],
) -> None:
    """Make the fits that are not done yet, and keep them."""
    kept = time.monotonic()
    for index in range(run.progress.step, len(members)):
        # Sums in main memory are kept after every fit. Those on a GPU belong to large volumes, whose checkpoints take as long as a fit.
        before = run.total.clone() if run.device_bytes else None
        done = _add_member(run, members, index, parts, plan, stop, on_progress)
        if done:
            run.progress.step = index + 1
        elif before is not None:
            run.total.copy_(before)
        due = before is None or time.monotonic() - kept > checkpoint_seconds
        if (done and due) or (stop.reason is not None and before is not None):
            _keep(run, run_dir)
            kept = time.monotonic()
        if stop.reason is not None:
            raise _stopped(stop.reason, run_dir, run.progress.step, len(members))


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
    steps = [other.steps(len(run.by)) for other in members]
    first_step, all_steps = sum(steps[:index]), sum(steps)
    first_estimate = sum(len(other.looks) for other in members[:index])
    weights = np.array(run.progress.chosen["weights"])
    fit = _build(run, member, parts, plan)
    fit.observers = job.observers
    shown = ", ".join(f"{key} {value}" for key, value in setting_of(member.config).items())
    job.observers.say(f"fit {index + 1} of {len(members)} of the stack: {shown}")
    job.observers.stage("fits of the stack", index, len(members))
    radial = RadialFilter(geometry.volume_shape, job.device, geometry.voxel_size_in_pixels)
    progress = Progress(0, job.units)

    def show(done: int, total: int, loss: float) -> None:
        on_progress(all_steps + first_step + done, 2 * all_steps, loss)

    for place, look in enumerate(member.steps_at_looks(len(run.by))):
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
        if estimate == run.progress.chosen.get("rest_of"):
            radial.add(run.rest, read, np.array(run.progress.chosen["rest"]))
        last = run.has_spread and look == steps[index]
        for rows in slab_ranges(len(run.by), fit.plan.slab_rows) if run.empties(estimate) or last else []:
            density = read(rows.start, rows.stop).to(run.by.device)
            if run.empties(estimate):
                run.by[rows.start : rows.stop] = density
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
