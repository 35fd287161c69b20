"""The adaptive field of a whole series, block by block of rows."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wedge.errors import InterruptedRunError, StoppedError, TerminatedError, WedgeError
from wedge.fit import team
from wedge.fit.adaptive_run import AdaptiveRun, operator_bytes
from wedge.fit.batches import cut_slabs
from wedge.fit.build import build_projectors, close_projectors
from wedge.fit.config import AdaptiveConfig
from wedge.fit.data_term import DataTerm
from wedge.fit.job import Job, Reconstruction
from wedge.fit.known import Known
from wedge.fit.loop import StopRequest
from wedge.fit.solved_rows import SolvedRows
from wedge.output import Writer
from wedge.slabs import chunk_rows, slab_ranges

_JUDGED_ROWS = 16  # at once by held-out views


def _blocks(
    run: AdaptiveRun, blocks: list[range], settings: AdaptiveConfig, projector: Any, go_on: Callable[[], bool], shown: SolvedRows
) -> Iterator[tuple[range, torch.Tensor]]:
    """Solve blocks, as many at a time as there are devices, and give them to the one that leads."""
    for first in range(0, len(blocks), team.size()):
        some = blocks[first : first + team.size()]
        mine = None
        if team.rank() < len(some):
            rows = some[team.rank()]
            mine = run.block(rows, settings, projector, go_on, partial(shown.looker, rounds=settings.rounds))
        if not go_on():
            return
        found = team.collect(mine, [(len(rows), *run.slice_shape) for rows in some], run.device)
        yield from zip(some[: len(found)], found, strict=True)


@contextmanager
def _held_out_terms(job: Job) -> Iterator[list[DataTerm]]:
    """Give the data terms of the views that the fit does not see."""
    parts = build_projectors([part for part in job.parts if part.held_out], job.plugins, {1}, job.device)
    try:
        yield [DataTerm(part, made[1], job.units, job.config.data_term, job.device, resident=False) for part, made in parts]
    finally:
        close_projectors(parts)


def reconstruct_adaptive(
    job: Job,
    writer: Writer,
    run_dir: Path,
    *,
    stop: StopRequest,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
    known: Known | None = None,
) -> Reconstruction:
    """Write the adaptive field of a series; see `wedge.fit.adaptive`.

    With ``known`` density, for which ``job`` is started and its noise is chosen already, the field departs from that.
    """
    started = time.monotonic()

    def go_on() -> bool:
        return stop.reason is None

    run = AdaptiveRun(job.wide, job.halves, job.plugins, job.config, job.units, job.device, known)
    say(f"signal to noise in {'the views' if known is None else 'what the network leaves'} about {run.spectrum.signal_to_noise:.3g}")
    settings, chosen = run.choose(go_on, lambda done, usual: job.observers.stage("trials that choose the strength", done, usual))
    measured = {"signal_to_noise": run.spectrum.signal_to_noise, "noise_std": run.spectrum.noise_variance**0.5}
    chosen = (measured if known is None else job.chosen | {"left_signal_to_noise": run.spectrum.signal_to_noise}) | chosen
    if "strength" in chosen:
        say(f"chosen on held-out views: strength {settings.strength:g} ({len(chosen['trials'])} trials)")
    projector, taken = operator_bytes(job.plugins, job.wide.geometry, job.device)
    try:
        num_rows = job.tilts.geometry.volume_shape[1]
        block_rows = run.block_rows(job.limit, taken, chunk_rows(job.tilts.geometry.volume_shape))
        # Free memory may differ from device to device, and blocks must not.
        block_rows = team.least(min(block_rows, math.ceil(num_rows / team.size())), job.device)
        say(f"adaptive field: blocks of {block_rows} y-rows, {settings.rounds} rounds of {settings.iterations} iterations, on {job.device}")
        job.observers.stage("finding the local scales", 0, 0)
        run.calibrate(settings, projector, go_on)
        if known is None:
            job.observers.start(job.run_info(run_dir, num_rows, 0, job.config.model_copy(update={"adaptive": settings})))
        error = _solve_blocks(job, run, writer, block_rows, settings, projector, go_on, on_progress)
    finally:
        projector.close()
    if stop.reason is not None:
        raise _stopped(stop.reason, run_dir if known is not None else None)
    config = job.config.model_copy(update={"adaptive": settings, "tune": ()})
    plan = {"block_rows": min(block_rows, run.rows_at_once)}
    told = error if job.held_out is not None else None
    steps = settings.rounds * settings.iterations
    return Reconstruction(config, job.units, plan, steps, time.monotonic() - started, {}, told, False, chosen)


def _stopped(reason: str, kept_in: Path | None) -> WedgeError:
    if kept_in is not None:
        message = f"stopped by {reason}; what the network has learned is kept in {kept_in}: continue with --resume"
        return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)
    message = f"stopped by {reason}; the adaptive field keeps no checkpoint: run it again with --overwrite"
    return InterruptedRunError(message) if reason == "SIGINT" else TerminatedError(message)


def _solve_blocks(
    job: Job,
    run: AdaptiveRun,
    writer: Writer,
    block_rows: int,
    settings: AdaptiveConfig,
    projector: Any,
    go_on: Callable[[], bool],
    on_progress: Callable[[int, int, float], None],
) -> float:
    """Write the field of all rows; return its error on held-out views."""
    shape, error = job.tilts.geometry.volume_shape, 0.0
    shown = SolvedRows(job, shape)
    with _held_out_terms(job) as terms:
        for rows, block in _blocks(run, slab_ranges(shape[1], block_rows), settings, projector, go_on, shown):
            writer.write_rows(rows.start, job.cropped(block).cpu())
            for slab in cut_slabs([(rows.start, rows.stop)], _JUDGED_ROWS, 0, shape[1]) if terms else []:
                density = block[slab.y_start - rows.start : slab.y_stop - rows.start].to(job.device) / job.units.scale
                error += sum(float(term(density, slab)) for term in terms) * slab.rows / shape[1]
            shown.solved(rows, block, {"held_out": error * shape[1] / rows.stop} if terms else {})
            on_progress(rows.stop, shape[1], float("nan"))
    return error
