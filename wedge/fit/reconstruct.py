"""A whole reconstruction: set up, fit or go on with a fit, predict, commit."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from wedge.data import TiltSeries
from wedge.errors import InputError, InterruptedRunError, StoppedError, UsageError, WedgeError
from wedge.fit import team
from wedge.fit.adaptive_series import reconstruct_adaptive
from wedge.fit.begin import begin, sample_of
from wedge.fit.build import Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, load_checkpoint, load_progress, save_checkpoint
from wedge.fit.coarse_start import coarse_density
from wedge.fit.config import FitConfig
from wedge.fit.job import Job, Reconstruction
from wedge.fit.loop import Fit, StopRequest, held_out_error, predict, run_fit
from wedge.fit.model import record_of
from wedge.fit.observers import ObserverGroup
from wedge.fit.restore_run import reconstruct_restored
from wedge.fit.run_dir import LOG_NAME
from wedge.fit.stack_run import reconstruct_stack
from wedge.fit.tuning import tune_network
from wedge.output import Writer
from wedge.overlap import CHUNKS_WRITTEN, WriteBehind
from wedge.provenance import resident_bytes
from wedge.slabs import chunk_rows, slab_ranges

__all__ = ["Plugins", "Reconstruction", "reconstruct"]


def _write_prediction(
    fit: Fit, step: int, writer: Writer, job: Job, stop: StopRequest, on_progress: Callable[[int, int, float], None]
) -> None:
    shape = job.tilts.geometry.volume_shape
    chunk = chunk_rows(shape)
    # Several chunks are compressed at once; no more rows than a step takes, for which there was room.
    at_once = max(1, min(CHUNKS_WRITTEN, fit.plan.slab_rows // chunk)) * chunk
    job.observers.stage("writing the volume", 0, 0)
    with WriteBehind(writer) as behind:
        for rows in slab_ranges(shape[1], at_once) if team.leads() else []:
            if stop.reason is not None:
                return
            behind.write_rows(rows.start, job.cropped(predict(fit, step, rows.start, rows.stop)) * job.units.scale)
            on_progress(fit.num_steps, fit.num_steps, float("nan"))


def _stopped(reason: str, run_dir: Path, progress: Progress, num_steps: int) -> WedgeError:
    message = (
        f"stopped by {reason} after {progress.step} of {num_steps} steps, checkpoint kept in {run_dir}: "
        "continue with --resume, or take the present result with --resume --stop-now"
    )
    return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)


def reconstruct(
    tilts: TiltSeries,
    writer: Writer,
    plugins: Plugins,
    config: FitConfig,
    *,
    device: torch.device,
    run_dir: Path,
    half: TiltSeries | None = None,
    std_writer: Writer | None = None,
    max_memory: int | None = None,
    resume: bool = False,
    stop_now: bool = False,
    settled: Progress | None = None,
    stop: StopRequest | None = None,
    checkpoint_seconds: float = 60.0,
    say: Callable[[str], None] = lambda message: None,
    on_progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> Reconstruction:
    """Fit a field to a tilt series and write its density ``(z, y, x)`` row by row; the caller commits the writer.

    Parameters
    ----------
    tilts
        The series; its geometry's volume shape is the box that is reconstructed.
    run_dir
        Made by `prepare_run_dir`; takes the checkpoint and the log.
    half
        A second, independent half of the same views; then ``tilts`` is the first, and their mean is fitted.
    std_writer
        Takes the spread between the fits of a stack, ``(y, z, x)``: the sample standard deviation, in the units of the density.
    max_memory
        Bytes; None for four fifths of what is free.
    resume
        Go on from the checkpoint in ``run_dir``.
    stop_now
        With ``resume``: predict from the checkpoint as it is.
    settled
        Units and choices of another fit, which are taken as they are: nothing is left to the data.
    stop
        Ends the fit after the step under way.

    Raises
    ------
    InputError
        If ``half`` is not of the same views.
    UsageError
        If a spread is wanted of what is no stack.
    StoppedError, InterruptedRunError
        If stopped; the checkpoint is kept.
    DivergedError
        If the fit diverged.
    DeviceError
        If memory does not suffice for one slice.
    """
    stop, observers = stop or StopRequest(), ObserverGroup(plugins.observers)

    def tell(message: str) -> None:
        say(message)
        observers.say(message)

    def show(done: int, total: int, loss: float) -> None:
        on_progress(done, total, loss)
        observers.progress(done, total)

    observers.prepare(str(run_dir))
    try:
        saved = load_progress(run_dir / CHECKPOINT_NAME) if resume else None
        observers.stage("measuring noise and units", 0, 0)
        job = begin(tilts, half, plugins, config, device, max_memory, saved or settled, tell)
        job.observers = observers
        found = _reconstruct(job, writer, std_writer, saved, settled, run_dir, stop_now, stop, checkpoint_seconds, tell, show)
    except BaseException as error:
        observers.failed(error)
        raise
    observers.end({"steps": found.steps, "seconds": found.fit_seconds})
    return found


def _reconstruct(
    job: Job,
    writer: Writer,
    std_writer: Writer | None,
    saved: Progress | None,
    settled: Progress | None,
    run_dir: Path,
    stop_now: bool,
    stop: StopRequest,
    checkpoint_seconds: float,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
) -> Reconstruction:
    """Choose what is left to the data and make the fit, by the method that ``job`` has settled on."""
    if std_writer is not None and job.config.method != "stack":
        raise UsageError(
            f"--std is the spread between the fits of a stack, and {job.tilts.name} gets the {job.config.method} method: "
            "reconstruct several --seed and give wedge average --std, or choose --method stack"
        )
    if job.config.method == "adaptive":
        return reconstruct_adaptive(job, writer, run_dir, stop=stop, say=say, on_progress=on_progress)
    if job.config.method == "stack":
        return reconstruct_stack(
            job, writer, saved, run_dir, std_writer=std_writer, stop_now=stop_now, stop=stop, checkpoint_seconds=checkpoint_seconds,
            say=say, on_progress=on_progress,
        )  # fmt: skip
    if job.config.method == "restore":
        return reconstruct_restored(
            job, writer, saved, run_dir, stop_now=stop_now, stop=stop, checkpoint_seconds=checkpoint_seconds, say=say,
            on_progress=on_progress,
        )  # fmt: skip
    if saved is None and settled is None:
        _tune(job, stop, say)
        if stop.reason is not None and team.size() > 1:
            # The others are still at their trials: what comes next would wait for them.
            message = f"stopped by {stop.reason} before the first step: nothing is kept"
            raise InterruptedRunError(message) if stop.reason == "SIGINT" else StoppedError(message)
    return _reconstruct_network(job, writer, saved, run_dir, stop_now, stop, checkpoint_seconds, say, on_progress)


def _tune(job: Job, stop: StopRequest, say: Callable[[str], None]) -> None:
    """Let the data choose what they are to choose."""
    job.config, chosen = tune_network(
        sample_of(job),
        job.plugins,
        job.config,
        job.units,
        float(job.chosen["signal_to_noise"]),
        job.noise_std,
        job.device,
        job.limit,
        job.tilts.geometry.detector_shape[0],
        lambda: stop.reason is None,
        lambda done, usual: job.observers.stage("trial fits that choose the settings", done, usual),
    )
    job.chosen |= chosen
    if shown := {key: value for key, value in chosen.items() if key != "trials"}:
        text = ", ".join(f"{key} {value}" for key, value in shown.items())
        say(f"chosen on held-out views: {text} ({len(chosen['trials'])} trials)")


def _reconstruct_network(
    job: Job,
    writer: Writer,
    saved: Progress | None,
    run_dir: Path,
    stop_now: bool,
    stop: StopRequest,
    checkpoint_seconds: float,
    say: Callable[[str], None],
    on_progress: Callable[[int, int, float], None],
) -> Reconstruction:
    config, units, device = job.config, job.units, job.device
    before = resident_bytes()
    parts = build_projectors(job.parts, job.plugins, {1, config.oversampling}, device)
    try:
        noise_std = float(job.chosen.get("noise_std", 0.0))
        fit = build_fit(job.wide, job.plugins, config, units, parts, device, job.limit, max(0, resident_bytes() - before), noise_std)
        fit.observers = job.observers
        progress = Progress(0, units, settled=config.model_dump(mode="json"), chosen=job.chosen)
        if saved is not None:
            states = [regularizer for _, regularizer in fit.regularizers]
            progress = load_checkpoint(run_dir / CHECKPOINT_NAME, fit.field, fit.optimizer, states, device)
        else:
            _begin_coarse(fit, job, stop)
        say(str(fit.plan))
        say(f"{fit.num_steps} steps of {fit.rows_per_step} rows, from step {progress.step}, on {device}")
        if not stop_now:
            _run(fit, job, progress, run_dir, stop, checkpoint_seconds, on_progress)
        if not stop_now and progress.step < fit.num_steps:
            raise _stopped(stop.reason or "request", run_dir, progress, fit.num_steps)
        try:
            _write_prediction(fit, progress.step - 1, writer, job, stop, on_progress)
        except BaseException:
            # Only now: a checkpoint is three times as large as the volume, and takes longer to write. The first error is told.
            with suppress(InputError):
                _save(fit, progress, run_dir)
            raise
        if stop.reason is not None:
            _save(fit, progress, run_dir)
            raise _stopped(stop.reason, run_dir, progress, fit.num_steps)
        error = held_out_error(fit, progress.step - 1) if fit.held_out else None
        final = progress.history[-1] if progress.history else {}
        plan = {"slab_rows": fit.plan.slab_rows, "planned_memory_bytes": fit.plan.total_bytes, **record_of(fit.field)}
        stopped_early = progress.step < fit.num_steps
        return Reconstruction(config, units, plan, progress.step, progress.seconds, final, error, stopped_early, job.chosen)
    finally:
        close_projectors(parts)


def _begin_coarse(fit: Fit, job: Job, stop: StopRequest) -> None:
    """Let a fit begin with what coarser volumes show."""

    def show(done: int, total: int) -> None:
        job.observers.stage("coarser volumes to begin with", done, total)

    density = coarse_density(fit, job.plugins, job.units, job.limit, lambda: stop.reason is None, show)
    if density is not None:
        fit.field.begin_with(density)


def _run(
    fit: Fit,
    job: Job,
    progress: Progress,
    run_dir: Path,
    stop: StopRequest,
    checkpoint_seconds: float,
    on_progress: Callable[[int, int, float], None],
) -> None:
    def save() -> None:
        _save(fit, progress, run_dir)

    fit.observers.start(job.run_info(run_dir, fit.num_steps, progress.step, fit.config))
    fit.observers.stage("fitting", 0, 0)
    run_fit(fit, progress, save=save, stop=stop, checkpoint_seconds=checkpoint_seconds, on_progress=on_progress)
    if team.leads():
        _write_log(progress, run_dir)


def _save(fit: Fit, progress: Progress, run_dir: Path) -> None:
    """Keep what was fitted so far."""
    if team.leads():
        save_checkpoint(run_dir / CHECKPOINT_NAME, fit.field, fit.optimizer, [regularizer for _, regularizer in fit.regularizers], progress)
        _write_log(progress, run_dir)


def _write_log(progress: Progress, run_dir: Path) -> None:
    (run_dir / LOG_NAME).write_text("".join(json.dumps(entry) + "\n" for entry in progress.history))
