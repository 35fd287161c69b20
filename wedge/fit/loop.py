"""The only training loop."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from weakref import proxy

import torch

from wedge.contracts import Regularizer
from wedge.errors import DivergedError
from wedge.fit import team
from wedge.fit.batches import Slab, cut_slabs, steps_per_pass
from wedge.fit.capture import gradient_of
from wedge.fit.checkpoint import Progress
from wedge.fit.config import FitConfig, RegularizerChoice
from wedge.fit.data_term import DataTerm, Loss
from wedge.fit.memory import MemoryPlan
from wedge.fit.model import Field
from wedge.fit.observers import ObserverGroup, field_previews
from wedge.fit.sampling import Sampling
from wedge.fit.schedule import learning_rate_factor
from wedge.lattice import FieldBox

_DIVERGED_FACTOR = 100.0
_NUM_RECORDS = 100


class StopRequest:
    """Set from outside, by a signal, to end a fit after the step that is under way."""

    def __init__(self) -> None:
        self.reason: str | None = None


@dataclass
class Fit:
    """All parts of a fit, ready to run."""

    config: FitConfig
    box: FieldBox
    field: Field
    optimizer: torch.optim.Optimizer
    fitted: Sequence[Loss]
    held_out: list[DataTerm]
    regularizers: list[tuple[RegularizerChoice, Regularizer]]
    plan: MemoryPlan
    device: torch.device
    observers: ObserverGroup = field(default_factory=lambda: ObserverGroup({}))

    def __post_init__(self) -> None:
        """Lay out the lattices that the field is evaluated on, and settle how gradients are made."""
        factors = sorted({1, self.config.oversampling})
        self._samplings = [Sampling(self.box, factor, self.device) for factor in factors]
        # Which does not hold the fit: a circle of both would keep its tensors until the interpreter looks for such.
        self.gradient = gradient_of(proxy(self))

    def sampling(self, step: int) -> Sampling:
        """Return where the field is evaluated at ``step``: a function of the step alone."""
        return self._samplings[-1 if step >= self.config.oversampling_start * self.num_steps else 0]

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole fit."""
        return max(1, math.ceil(self.config.passes * steps_per_pass(self.box.shape[1], self.rows_per_step)))

    @property
    def rows_per_step(self) -> int:
        """The y-rows of one optimizer step."""
        return self.config.rows_per_step(self.box.shape[1])

    @property
    def halo_rows(self) -> int:
        """Rows of halo that the regularizers need."""
        return max((regularizer.halo_rows for _, regularizer in self.regularizers), default=0)


def take_step(fit: Fit, step: int) -> dict[str, torch.Tensor]:
    """Make one optimizer step over one logical batch, slab by slab; return its scalars on the device."""
    scalars = fit.plan.in_slabs(lambda: fit.gradient(step))
    team.add_up_gradients(fit.field.parameters())
    team.add_up(scalars.values())
    factor = learning_rate_factor(fit.config, step, fit.num_steps)
    for group in fit.optimizer.param_groups:
        group["lr"] = fit.config.learning_rate * group["relative"] * factor
    fit.optimizer.step()
    return scalars


def held_out_error(fit: Fit, step: int) -> float:
    """Return the data term of the held-out views over all rows after ``step``, or NaN where there are none."""
    if not fit.held_out:
        return math.nan
    sampling = fit.sampling(step)

    def error(slab: Slab) -> torch.Tensor:
        density = fit.field(sampling.lattice(slab.y_start, slab.y_stop))
        return torch.stack([term(density, slab, sampling.factor) for term in fit.held_out]).sum()

    return mean_over_rows(fit, error)


@torch.no_grad()
def mean_over_rows(fit: Fit, value: Callable[[Slab], torch.Tensor]) -> float:
    """Return the mean over all rows of what is a mean over the rows of a slab."""
    num_rows = fit.box.shape[1]

    def total() -> float:
        # Summed on the device: it is waited for once, not at every slab.
        summed = torch.zeros((), dtype=torch.float64, device=fit.device)
        for slab in cut_slabs(team.share([(0, num_rows)]), fit.plan.slab_rows, 0, num_rows):
            summed += value(slab).double() * slab.rows / num_rows
        return float(summed)

    return team.total(fit.plan.in_slabs(total), fit.device)


def empty_loss(fit: Fit) -> float:
    """Return the fitted data term of empty space over all rows: the loss that a fit must beat."""
    num_z, _, num_x = fit.box.shape

    def loss(slab: Slab) -> torch.Tensor:
        nothing = torch.zeros(slab.rows, num_z, num_x, device=fit.device)
        return torch.stack([term.loss(nothing, term.rays(slab), 1) for term in fit.fitted]).sum()

    return mean_over_rows(fit, loss)


def _check(loss: float, progress: Progress) -> None:
    if not math.isfinite(loss) or loss > _DIVERGED_FACTOR * progress.reference_loss:
        raise DivergedError(
            f"the fit diverged at step {progress.step}: loss {loss:.3g}, of empty space {progress.reference_loss:.3g}; "
            "lower --learning-rate, or give --precision float32"
        )


def run_fit(
    fit: Fit,
    progress: Progress,
    *,
    save: Callable[[], None],
    stop: StopRequest,
    checkpoint_seconds: float,
    on_progress: Callable[[int, int, float], None],
    until: int | None = None,
    first: int = 0,
) -> bool:
    """Run a fit from where ``progress`` says to its end, or to step ``until``.

    ``save`` is called now and then, and when stopped; what has come to its end is the caller's to keep. ``on_progress`` gets steps done,
    steps in all and the loss, about once a second. Observers and the history are told steps from ``first`` on.

    Returns
    -------
    bool
        True at the end, False if ``stop`` was requested first.

    Raises
    ------
    DivergedError
        If the loss is not finite or runs away.
    """
    started, told, saved = time.monotonic() - progress.seconds, 0.0, time.monotonic()
    every = max(1, fit.num_steps // _NUM_RECORDS)
    if math.isnan(progress.reference_loss):
        progress.reference_loss = empty_loss(fit)
    previews = field_previews(fit.field, fit.box, fit.device, fit.config.fitted_margin)
    end = fit.num_steps if until is None else until
    while progress.step < end and stop.reason is None:
        scalars = take_step(fit, progress.step)
        record = progress.step % every == 0 or progress.step + 1 == fit.num_steps
        now = time.monotonic()
        # A loss is fetched from a GPU once a second at most, so that the steps can queue up; on a CPU every step is checked.
        if fit.device.type == "cpu" or record or now - told > 1:
            loss = float(scalars["loss"])
            _check(loss, progress)
            if now - told > 1 or record:
                on_progress(progress.step + 1, fit.num_steps, loss)
                told = now
        progress.step += 1
        progress.seconds = now - started
        held_out: dict[str, float] = {"held_out": held_out_error(fit, progress.step - 1)} if record and fit.held_out else {}
        if record:
            values = torch.stack(list(scalars.values())).tolist()
            progress.history.append({"step": float(first + progress.step)} | dict(zip(scalars, values, strict=True)) | held_out)
        if len(fit.observers):
            fit.observers.step(first + progress.step, {**scalars, **held_out})
            if record:
                fit.observers.preview(first + progress.step, previews)
            fit.observers.offer(first + progress.step, previews)
        if now - saved > checkpoint_seconds:
            save()
            saved = time.monotonic()
    if progress.step < end:
        save()
    return progress.step >= end


@torch.no_grad()
def predict(fit: Fit, step: int, y_start: int, y_stop: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return rows of the field's normalized density after ``step``, ``(y, z, x)`` float32, where they are asked for."""
    sampling = fit.sampling(step)

    def rows() -> torch.Tensor:
        slabs = [range(low, min(low + fit.plan.slab_rows, y_stop)) for low in range(y_start, y_stop, fit.plan.slab_rows)]
        return torch.cat([sampling.pooled(fit.field(sampling.lattice(slab.start, slab.stop))).to(device) for slab in slabs])

    return fit.plan.in_slabs(rows)
