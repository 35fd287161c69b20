"""A whole reconstruction: set up, fit or go on with a fit, predict, commit."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from wedge.contracts import RunInfo
from wedge.data import TiltSeries
from wedge.errors import InputError, InterruptedRunError, StoppedError, UsageError, WedgeError
from wedge.fit.adaptive_run import reconstruct_adaptive
from wedge.fit.build import Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, load_checkpoint, load_progress, save_checkpoint
from wedge.fit.config import FitConfig
from wedge.fit.data_term import split_parts
from wedge.fit.halves import pair_halves
from wedge.fit.job import Job, Reconstruction
from wedge.fit.loop import Fit, StopRequest, held_out_error, predict, run_fit
from wedge.fit.margin import fitted_margin
from wedge.fit.memory import memory_limit
from wedge.fit.normalization import Normalization, normalize, sample_rows
from wedge.fit.run_dir import LOG_NAME
from wedge.fit.sample import busiest_rows, rows_of
from wedge.fit.spectrum import measure
from wedge.fit.stack_run import reconstruct_stack
from wedge.fit.trials import views_to_judge_by
from wedge.fit.tuning import SAMPLE_ROWS, tune_network
from wedge.output import Writer
from wedge.provenance import resident_bytes
from wedge.slabs import chunk_rows, slab_ranges

__all__ = ["Plugins", "Reconstruction", "reconstruct"]

_NOISE_FREE, _NOISY = 1000.0, 20.0
"""Signal to noise from which on what is taken for noise is detail, and below which one fit is not enough."""


def _write_prediction(
    fit: Fit, step: int, writer: Writer, job: Job, stop: StopRequest, on_progress: Callable[[int, int, float], None]
) -> None:
    shape = job.tilts.geometry.volume_shape
    for rows in slab_ranges(shape[1], chunk_rows(shape)):
        if stop.reason is not None:
            return
        writer.write_rows(rows.start, job.cropped(predict(fit, step, rows.start, rows.stop)) * job.units.scale)
        on_progress(fit.num_steps, fit.num_steps, float("nan"))


def _stopped(reason: str, run_dir: Path, progress: Progress, num_steps: int) -> WedgeError:
    message = (
        f"stopped by {reason} after {progress.step} of {num_steps} steps, checkpoint kept in {run_dir}: "
        "continue with --resume, or take the present result with --resume --stop-now"
    )
    return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)


def _units(tilts: TiltSeries, plugins: Plugins, config: FitConfig, device: torch.device) -> tuple[Normalization, int]:
    """Find the units of a fit and the margin of its box."""
    projector = plugins.projector.build(tilts.geometry, device)
    try:
        units = normalize(tilts, projector, device, config.offset, config.positivity)
    finally:
        projector.close()
    return units, fitted_margin(config.margin, sample_rows(tilts) - units.offset, tilts.geometry)


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
    stop = stop or StopRequest()
    halves = pair_halves(tilts, half) if half is not None else None
    whole = halves.mean if halves is not None else tilts
    saved = load_progress(run_dir / CHECKPOINT_NAME) if resume else None
    if saved is not None:
        settled = FitConfig.model_validate(saved.settled) if saved.settled else config
        job = Job(whole, halves, plugins, settled, saved.normalization, int(settled.margin), device, 0, saved.chosen)
    else:
        units, margin = _units(whole, plugins, config, device)
        settled = config.model_copy(update={"margin": margin})
        job = Job(whole, halves, plugins, settled, units, margin, device, 0)
    job.limit = memory_limit(device, max_memory)
    units = job.units
    sign = "both signs" if not units.positive else "positive" if units.scale > 0 else "negative"
    say(f"intensity offset {units.offset:.6g} ({config.offset}), density of {sign}, scale {abs(units.scale):.4g}")
    if job.margin:
        say(f"the specimen goes on beyond the volume: the field is {job.margin} voxels wider on either side in x (--margin)")
    if saved is None:
        job.config = job.config.model_copy(update={"method": _kind(job, say)})
    if std_writer is not None and job.config.method != "stack":
        raise UsageError(
            f"--std is the spread between the fits of a stack, and {tilts.name} gets the {job.config.method} method: "
            "reconstruct several --seed and give wedge average --std, or choose --method stack"
        )
    if job.config.method == "adaptive":
        return reconstruct_adaptive(job, writer, stop=stop, say=say, on_progress=on_progress)
    if job.config.method == "stack":
        return reconstruct_stack(
            job, writer, saved, run_dir, std_writer=std_writer, stop_now=stop_now, stop=stop, say=say, on_progress=on_progress
        )
    if saved is None:
        _tune(job, stop, say)
    return _reconstruct_network(job, writer, saved, run_dir, stop_now, stop, checkpoint_seconds, say, on_progress)


def _kind(job: Job, say: Callable[[str], None]) -> str:
    """Measure the noise, unless the adaptive field does so itself, and return the kind of field: as told, or as the views ask for."""
    told = job.config.method
    if told == "adaptive" or (told == "auto" and not job.units.positive):
        return "adaptive"
    sample = _sample(job)
    spectrum = measure(sample_rows(sample) - job.units.offset, sample.geometry)
    ratio = spectrum.signal_to_noise
    job.noise_std = spectrum.noise_variance**0.5 if ratio < _NOISE_FREE else 0.0
    job.chosen = {"signal_to_noise": ratio, "noise_std": job.noise_std}
    say(f"signal to noise in the views about {ratio:.3g}")
    can_judge = bool(views_to_judge_by(split_parts(job.wide, job.config.hold_out)[0].geometry.tilt_angles_deg))
    if told == "stack" and not can_judge:
        raise InputError(f"{job.tilts.name}: a stack needs views to judge by, and too few are left; give --method network")
    if told != "auto":
        return told
    return "stack" if ratio < _NOISY and can_judge and "stack" in job.config.tune else "network"


def _sample(job: Job) -> TiltSeries:
    """Return some rows of the views that are fitted."""
    fitted = split_parts(job.wide, job.config.hold_out)[0].series
    return rows_of(fitted, busiest_rows(fitted, SAMPLE_ROWS))


def _tune(job: Job, stop: StopRequest, say: Callable[[str], None]) -> None:
    """Let the data choose what they are to choose."""
    job.config, chosen = tune_network(
        _sample(job),
        job.plugins,
        job.config,
        job.units,
        float(job.chosen["signal_to_noise"]),
        job.noise_std,
        job.device,
        job.limit,
        job.tilts.geometry.detector_shape[0],
        lambda: stop.reason is None,
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
    parts = build_projectors(split_parts(job.wide, config.hold_out), job.plugins, {1, config.oversampling}, device)
    try:
        noise_std = float(job.chosen.get("noise_std", 0.0))
        fit = build_fit(job.wide, job.plugins, config, units, parts, device, job.limit, max(0, resident_bytes() - before), noise_std)
        progress = Progress(0, units, settled=config.model_dump(mode="json"), chosen=job.chosen)
        if saved is not None:
            states = [regularizer for _, regularizer in fit.regularizers]
            progress = load_checkpoint(run_dir / CHECKPOINT_NAME, fit.field, fit.optimizer, states, device)
        say(str(fit.plan))
        say(f"{fit.num_steps} steps of {fit.rows_per_step} rows, from step {progress.step}, on {device}")
        _run(fit, progress, run_dir, stop_now, stop, checkpoint_seconds, on_progress)
        if not stop_now and progress.step < fit.num_steps:
            raise _stopped(stop.reason or "request", run_dir, progress, fit.num_steps)
        _write_prediction(fit, progress.step - 1, writer, job, stop, on_progress)
        if stop.reason is not None:
            raise _stopped(stop.reason, run_dir, progress, fit.num_steps)
        error = held_out_error(fit, progress.step - 1) if fit.held_out else None
        final = progress.history[-1] if progress.history else {}
        plan = {"slab_rows": fit.plan.slab_rows, "planned_memory_bytes": fit.plan.total_bytes}
        stopped_early = progress.step < fit.num_steps
        return Reconstruction(config, units, plan, progress.step, progress.seconds, final, error, stopped_early, job.chosen)
    finally:
        close_projectors(parts)


def _run(
    fit: Fit,
    progress: Progress,
    run_dir: Path,
    stop_now: bool,
    stop: StopRequest,
    checkpoint_seconds: float,
    on_progress: Callable[[int, int, float], None],
) -> None:
    if stop_now:
        return

    def save() -> None:
        save_checkpoint(run_dir / CHECKPOINT_NAME, fit.field, fit.optimizer, [r for _, r in fit.regularizers], progress)
        (run_dir / LOG_NAME).write_text("".join(json.dumps(entry) + "\n" for entry in progress.history))

    info = RunInfo(str(run_dir), fit.num_steps, progress.step, fit.fitted[0].part.geometry, fit.config.model_dump(mode="json"))
    fit.observers.start(info)
    try:
        done = run_fit(fit, progress, save=save, stop=stop, checkpoint_seconds=checkpoint_seconds, on_progress=on_progress)
    except BaseException as error:
        fit.observers.failed(error)
        raise
    if done:
        fit.observers.end({"steps": progress.step, "seconds": progress.seconds})
    else:
        fit.observers.failed(StoppedError(f"stopped by {stop.reason}"))
