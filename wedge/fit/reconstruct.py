"""A whole reconstruction: set up, fit or go on with a fit, predict, commit."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from wedge.contracts import Observer, Projector, Regularizer, RunInfo
from wedge.data import TiltSeries
from wedge.errors import StoppedError, WedgeError
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, load_checkpoint, load_progress, save_checkpoint
from wedge.fit.config import FitConfig
from wedge.fit.data_term import DataPart, DataTerm, split_parts
from wedge.fit.loop import Fit, StopRequest, held_out_error, predict, run_fit
from wedge.fit.memory import MemoryPlan, memory_limit, plan_memory
from wedge.fit.model import build_field, build_optimizer, half_precision_pays
from wedge.fit.normalization import Normalization, normalize
from wedge.fit.observers import ObserverGroup
from wedge.fit.run_dir import LOG_NAME
from wedge.fit.sampling import finer_geometry
from wedge.lattice import FieldBox
from wedge.output import Writer
from wedge.provenance import resident_bytes
from wedge.registry import Resolved
from wedge.slabs import chunk_rows, slab_ranges


@dataclass
class Plugins:
    """The chosen components of a fit; regularizers in the order of ``FitConfig.regularizers``."""

    network: Resolved
    projector: Resolved
    regularizers: list[Resolved] = field(default_factory=list)
    observers: dict[str, Observer] = field(default_factory=dict)


@dataclass(frozen=True)
class Reconstruction:
    """What a finished fit says of itself, beside the volume it wrote."""

    normalization: Normalization
    plan: MemoryPlan
    steps: int
    fit_seconds: float
    final: dict[str, float]
    held_out_error: float | None
    stopped_early: bool

    def summary(self) -> dict[str, Any]:
        """Return plain data for records and ``--json``."""
        return {
            "offset": self.normalization.offset,
            "scale": self.normalization.scale,
            "positive": self.normalization.positive,
            "slab_rows": self.plan.slab_rows,
            "planned_memory_bytes": self.plan.total_bytes,
            "steps": self.steps,
            "fit_seconds": self.fit_seconds,
            "final_loss": self.final,
            "held_out_error": self.held_out_error,
            "stopped_early": self.stopped_early,
        }


def _build_fit(
    tilts: TiltSeries,
    plugins: Plugins,
    config: FitConfig,
    normalization: Normalization,
    parts: list[tuple[DataPart, dict[int, Projector]]],
    device: torch.device,
    limit: int,
    built_bytes: int,
) -> Fit:
    geometry = tilts.geometry
    box = FieldBox(geometry.volume_shape)
    half = config.precision == "bfloat16" or (config.precision == "auto" and half_precision_pays(device))
    field_ = build_field(plugins.network, box, config.seed, normalization.positive, half, device)
    regularizers: list[Regularizer] = [resolved.build(geometry) for resolved in plugins.regularizers]
    halo = max((regularizer.halo_rows for regularizer in regularizers), default=0)
    # Before the plan, which starts from the memory that is taken: the first optimizer loads tens of megabytes of torch.
    optimizer = build_optimizer(field_, config.learning_rate, config.adam_betas)
    projectors = parts[0][1]
    finer = projectors[config.oversampling] if config.oversampling > 1 else None
    plan = plan_memory(field_.network, projectors[1], geometry, config, halo, device, limit, finer, built_bytes)
    terms = [DataTerm(part, by_factor[1], normalization, config.data_term, device, plan.resident, by_factor) for part, by_factor in parts]
    return Fit(
        config,
        box,
        field_,
        optimizer,
        [term for term in terms if not term.part.held_out],
        [term for term in terms if term.part.held_out],
        list(zip(config.regularizers, regularizers, strict=True)),
        plan,
        device,
        ObserverGroup(plugins.observers),
    )


def _write_prediction(
    fit: Fit, step: int, writer: Writer, scale: float, stop: StopRequest, on_progress: Callable[[int, int, float], None]
) -> None:
    num_rows = fit.box.shape[1]
    for rows in slab_ranges(num_rows, chunk_rows(fit.box.shape)):
        if stop.reason is not None:
            return
        writer.write_rows(rows.start, predict(fit, step, rows.start, rows.stop) * scale)
        on_progress(fit.num_steps, fit.num_steps, float("nan"))


def _stopped(reason: str, run_dir: Path, progress: Progress, num_steps: int) -> WedgeError:
    message = (
        f"stopped by {reason} after {progress.step} of {num_steps} steps, checkpoint kept in {run_dir}: "
        "continue with --resume, or take the present result with --resume --stop-now"
    )
    from wedge.errors import InterruptedRunError

    return InterruptedRunError(message) if reason == "SIGINT" else StoppedError(message)


def reconstruct(
    tilts: TiltSeries,
    writer: Writer,
    plugins: Plugins,
    config: FitConfig,
    *,
    device: torch.device,
    run_dir: Path,
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
        The series; its geometry's volume shape is the box that is fitted.
    run_dir
        Made by `prepare_run_dir`; takes the checkpoint and the log.
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
    StoppedError, InterruptedRunError
        If stopped; the checkpoint is kept.
    DivergedError
        If the fit diverged.
    DeviceError
        If memory does not suffice for one slice.
    """
    stop = stop or StopRequest()
    factors = sorted({1, config.oversampling})
    before = resident_bytes()
    parts: list[tuple[DataPart, dict[int, Projector]]] = [
        (part, {factor: plugins.projector.build(finer_geometry(part.geometry, factor), device) for factor in factors})
        for part in split_parts(tilts, config.hold_out)
    ]
    built_bytes = resident_bytes() - before
    checkpoint = run_dir / CHECKPOINT_NAME
    try:
        if resume:
            progress = load_progress(checkpoint)
        else:
            progress = Progress(0, normalize(parts[0][0].series, parts[0][1][1], device, config.offset, config.positivity))
        units = progress.normalization
        fit = _build_fit(tilts, plugins, config, units, parts, device, memory_limit(device, max_memory), built_bytes)
        if resume:
            states = [regularizer for _, regularizer in fit.regularizers]
            progress = load_checkpoint(checkpoint, fit.field, fit.optimizer, states, device)
        say(f"intensity offset {units.offset:.6g} ({config.offset}), density scale {units.scale:.4g}, positive: {units.positive}")
        say(str(fit.plan))
        say(f"{fit.num_steps} steps of {min(config.batch_rows, fit.box.shape[1])} rows, from step {progress.step}, on {device}")
        _run(fit, progress, run_dir, stop_now, stop, checkpoint_seconds, on_progress)
        if not stop_now and progress.step < fit.num_steps:
            raise _stopped(stop.reason or "request", run_dir, progress, fit.num_steps)
        _write_prediction(fit, progress.step - 1, writer, units.scale, stop, on_progress)
        if stop.reason is not None:
            raise _stopped(stop.reason, run_dir, progress, fit.num_steps)
        error = held_out_error(fit, progress.step - 1) if fit.held_out else None
        final = progress.history[-1] if progress.history else {}
        stopped_early = progress.step < fit.num_steps
        return Reconstruction(units, fit.plan, progress.step, progress.seconds, final, error, stopped_early)
    finally:
        for _, projectors in parts:
            for projector in projectors.values():
                projector.close()


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
