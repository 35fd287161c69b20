"""Finding the weights of a stack: on some rows, and on views that none of its estimates has seen."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict

from wedge.errors import InterruptedRunError, StoppedError, WedgeError
from wedge.fit.checkpoint import Progress
from wedge.fit.job import Job
from wedge.fit.loop import StopRequest
from wedge.fit.members import are_few, describe, find_weights, members_for, sample_bytes
from wedge.fit.memory import FIRST_USE_BYTES, PARAMETER_COPIES
from wedge.fit.radial import filter_bytes
from wedge.fit.sample import busiest_rows, rows_of
from wedge.fit.stack_learned import NUM_LEARNED, LearnedEstimates, learned_estimates
from wedge.fit.trials import LEFT_BYTES, views_to_judge_by
from wedge.out_of_memory import release_unused

SAMPLE_ROWS = 64
"""Rows that the weights are found on, at the most."""


def nothing_kept(reason: str | None) -> WedgeError:
    """Return the error of a stack that was stopped before its first fit."""
    message = f"stopped by {reason} before the first fit: nothing is kept"
    return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)


def choose_weights(
    job: Job,
    progress: Progress,
    stop: StopRequest,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
) -> LearnedEstimates | None:
    """Find the weights and put them into the progress; return what a network has learned, whose estimates' weights are the last.

    Raises
    ------
    StoppedError, InterruptedRunError
        If stopped: nothing is kept.
    """

    def show(done: int) -> None:
        # The first of two halves: then come the fits of all rows.
        on_progress(sum(steps[:done]), 2 * sum(steps), math.nan)
        job.observers.stage("finding the weights of the stack on some rows", done, len(members))

    def go_on() -> bool:
        return stop.reason is None

    started = time.monotonic()
    rows = busiest_rows(job.wide, SAMPLE_ROWS)
    learned = learned_estimates(job, views_to_judge_by(job.wide.geometry.tilt_angles_deg), rows, go_on, say)
    release_unused()
    num_rows = job.tilts.geometry.detector_shape[0]
    members = members_for(job.config, float(job.chosen["signal_to_noise"]), job.tilts.geometry, learned is not None)
    steps = [member.steps(num_rows) for member in members]
    job.observers.stage("finding the weights of the stack on some rows", 0, len(members))
    sample = rows_of(job.wide, rows)
    say(f"stack of {len(members)} fits: their weights are found on {len(rows)} rows")
    shape = job.wide.geometry.volume_shape
    more = 4 * PARAMETER_COPIES * math.prod(shape) * (1 - len(rows) / shape[1])
    held = sample_bytes(members, 0 if learned is None else NUM_LEARNED, (shape[0], len(rows), shape[2]))
    reserve = int(LEFT_BYTES + FIRST_USE_BYTES + filter_bytes(shape) + more + held)
    further = [] if learned is None else learned.judged
    ratio = float(job.chosen["signal_to_noise"])
    stack = find_weights(sample, job.plugins, members, job.units, job.device, job.limit, reserve, go_on, show, further, ratio)
    if stack is None:
        raise nothing_kept(stop.reason)
    release_unused()
    best = describe(members, stack.base)
    progress.chosen |= {"fits": len(members), "few_views": are_few(job.tilts.geometry), "learned": learned is not None}
    progress.chosen["held_out_error"] = stack.error
    progress.chosen |= {"best": best | {"held_out_error": stack.base_error}}
    progress.chosen |= {"weights": stack.weights.tolist(), "base": stack.base}
    if stack.emptying is not None:
        progress.chosen |= {"emptied": asdict(stack.emptying)}
    if stack.believed is not None and stack.rest is not None:
        progress.chosen |= {"believed": stack.believed.tolist(), "rest": stack.rest.tolist(), "rest_of": stack.rest_of}
    progress.seconds += time.monotonic() - started
    shown = ", ".join(f"{key} {value}" for key, value in best.items())
    say(f"error on views that none has seen {stack.error:.6g}, of the best single fit ({shown}) {stack.base_error:.6g}, noise included")
    return learned
