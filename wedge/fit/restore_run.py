"""A network that learns from halves of the views, and what the views show beyond it.

Particles of one kind lie in many orientations: what is missing of one was measured of another, and what two halves of the views have in
common is no noise. A network that learns both, see `wedge.restore`, gives most of the density. The adaptive field of what the views show
beyond it adds the rest, see `wedge.fit.adaptive`: all that was measured with certainty, whether the network believes in it or not.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from wedge.errors import DivergedError, InputError, InterruptedRunError, StoppedError, WedgeError
from wedge.fit import team
from wedge.fit.adaptive_series import reconstruct_adaptive
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, read_checkpoint, write_checkpoint
from wedge.fit.job import Job, Reconstruction
from wedge.fit.known import KnownDensity
from wedge.fit.loop import StopRequest
from wedge.fit.restore_halves import (
    halves_of_views,
    in_half_precision,
    pairs_of_views,
    refuse_unlearnable,
    same_for_all,
    voxels_to_learn_from,
    what_is_halved,
)
from wedge.fit.run_dir import LOG_NAME
from wedge.output import Writer
from wedge.restore.memory import BLOCK_ROWS
from wedge.restore.run import Halves, Restoration, rows_to_learn_from
from wedge.restore.training import Learning
from wedge.slabs import slab_ranges

_TELL_EVERY = 10  # steps
_RESTORED_NAME = "restored.npy"


def reconstruct_restored(
    job: Job,
    writer: Writer,
    saved: Progress | None,
    run_dir: Path,
    *,
    stop_now: bool,
    stop: StopRequest,
    checkpoint_seconds: float,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
) -> Reconstruction:
    """Write the restored density of a series.

    Raises
    ------
    InputError
        If halves of the views cannot teach a network, or have nothing in common.
    StoppedError, InterruptedRunError
        If stopped; what was learned is kept.
    DeviceError
        If memory does not suffice.
    DivergedError
        If the network diverged.
    """
    refuse_unlearnable(job)
    num_rows = job.tilts.geometry.volume_shape[1]
    progress = saved or Progress(0, job.units, settled=job.config.model_dump(mode="json"), chosen=dict(job.chosen))
    started, before = time.monotonic(), progress.seconds
    with ExitStack() as opened:
        halves, angles = halves_of_views(job, opened)
        rows = rows_to_learn_from(halves, voxels_to_learn_from(job, halves))
        try:
            pair, *others = pairs_of_views(job, halves, rows, angles)
        except InputError as error:
            if "method" not in job.chosen:
                raise
            # Nobody has asked for a network.
            say(f"{error}: no network learns from them, the adaptive field alone is taken")
            alone = replace(job, config=job.config.model_copy(update={"method": "adaptive"}))
            return reconstruct_adaptive(alone, writer, run_dir, stop=stop, say=say, on_progress=on_progress)
        learning = Learning(pair, angles, job.config.restore, job.config.seed, in_half_precision(job), others)
        steps, total = learning.steps, learning.steps + num_rows
        job.observers.start(job.run_info(run_dir, total, progress.step, job.config))
        say(_what_is_learned(job, 1 + len(others), rows, learning.steps_in_words))

        def show(step: int, loss: float) -> None:
            on_progress(step, total, loss)

        if saved is not None:
            learning.load(read_checkpoint(run_dir / CHECKPOINT_NAME, torch.device("cpu"))[1])
        if team.leads() and not stop_now:
            _learn(job, learning, progress, run_dir, stop, checkpoint_seconds, show)
        same_for_all(learning)
        restoration = Restoration.of(learning, pair, angles)
        _tell_background(job, restoration, say)
        # What it learned from would take room beside what comes next.
        del learning, pair, others
        if stop.reason is not None:
            raise _stopped(stop.reason, run_dir, progress, steps)
        read = opened.enter_context(_restored_rows(job, restoration, halves, run_dir, stop))
        projector = job.plugins.projector.build(job.tilts.geometry, job.device)
        opened.callback(projector.close)
        known = KnownDensity(read, projector, job.margin, job.device, restoration.background)

        def solved(done: int, rows: int, loss: float) -> None:
            on_progress(steps + done, total, loss)

        found = reconstruct_adaptive(_beyond(job, steps), writer, run_dir, stop=stop, say=say, on_progress=solved, known=known)
    told = {**found.plan, "learned_steps": progress.step}
    final = progress.history[-1] if progress.history else {}
    return replace(
        found, config=job.config.model_copy(update={"tune": ()}), plan=told, steps=progress.step, final=final,
        fit_seconds=before + time.monotonic() - started, stopped_early=progress.step < steps,
    )  # fmt: skip


def _what_is_learned(job: Job, ways: int, rows: range, pace: str) -> str:
    num_rows = job.tilts.geometry.volume_shape[1]
    part = "" if len(rows) == num_rows else f", rows {rows.start} to {rows.stop - 1} of {num_rows}"
    channels, of = job.config.restore.channels, what_is_halved(job, ways)
    return f"a network of {channels} channels learns from {of}{part}: {pace}, on {job.device}"


def _tell_background(job: Job, restoration: Restoration, say: Callable[[str], None]) -> None:
    if background := restoration.background:
        say(f"{background} (--positivity off keeps all)")
        job.chosen["background"] = background.level


def _beyond(job: Job, steps: int) -> Job:
    """Return the fit of what the network leaves."""
    adaptive = job.config.restore.beyond(job.config.adaptive)
    return replace(job, config=job.config.model_copy(update={"adaptive": adaptive}), steps_before=steps)


def _stopped(reason: str, run_dir: Path, progress: Progress, steps: int) -> WedgeError:
    message = (
        f"stopped by {reason} after {progress.step} of {steps} steps, checkpoint kept in {run_dir}: "
        "continue with --resume, or take what was learned so far with --resume --stop-now"
    )
    return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)


def _learn(
    job: Job,
    learning: Learning,
    progress: Progress,
    run_dir: Path,
    stop: StopRequest,
    checkpoint_seconds: float,
    show: Callable[[int, float], None],
) -> None:
    """Learn until it is done or stopped, and keep what was learned."""
    steps, before, began = learning.steps, progress.seconds, time.monotonic()
    kept = began

    def save() -> None:
        progress.step, progress.seconds = learning.done, before + time.monotonic() - began
        write_checkpoint(run_dir / CHECKPOINT_NAME, learning.state(), progress)
        (run_dir / LOG_NAME).write_text("".join(json.dumps(entry) + "\n" for entry in progress.history))

    job.observers.stage("learning from halves of the views", 0, 0)
    while learning.done < steps and stop.reason is None:
        loss = learning.step()
        if learning.done % _TELL_EVERY == 0 or learning.done == steps:
            value = float(loss)
            if not math.isfinite(value):
                raise DivergedError(f"the network diverged at step {learning.done}: lower restore.learning_rate, or give --method adaptive")
            show(learning.done, value)
            job.observers.step(learning.done, {"loss": value})
            progress.history.append({"step": learning.done, "loss": value})
        if time.monotonic() - kept >= checkpoint_seconds:
            save()
            kept = time.monotonic()
    save()


@contextmanager
def _restored_rows(
    job: Job, restoration: Restoration, halves: Halves, run_dir: Path, stop: StopRequest
) -> Iterator[Callable[[int, int], torch.Tensor]]:
    """Restore all rows into a file of the run's folder, and give a way to read them; the file goes with the block.

    A block of rows needs its neighbours' too, and a series may be larger than memory.
    """
    path, shape = run_dir / _RESTORED_NAME, halves.shape
    blocks = slab_ranges(shape[0], BLOCK_ROWS)
    try:
        if team.leads():
            np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()
        team.total(0.0, job.device)
        rows = np.lib.format.open_memmap(path, "r+")
        for block in blocks[team.rank() :: team.size()]:
            if stop.reason is not None:
                break
            job.observers.stage("restoring rows", block.start, shape[0])
            rows[block.start : block.stop] = restoration.rows(halves, block.start, block.stop).cpu().numpy()
        rows.flush()
        team.total(0.0, job.device)
        yield lambda start, stop: torch.from_numpy(np.array(rows[start:stop]))
    finally:
        if team.leads():
            path.unlink(missing_ok=True)
