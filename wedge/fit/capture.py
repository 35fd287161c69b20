"""Steps of a fit that are recorded once on a GPU, and then done again without being launched kernel by kernel.

Small steps take longer to launch than to compute, and they alone are recorded. Most steps of a fit have one of a few layouts: as many rows,
in slabs alike, within the volume or at either edge of it. The gradient of each is recorded, from tensors that stay in place, into which the
values of each further step are copied; steps of rarer layouts are done as ever. What has been recorded has to prove itself: the first step
that it does is done both ways.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from wedge.fit import team
from wedge.fit.batches import Slab
from wedge.fit.gradient import SlabInputs, accumulate, gradient, slab_inputs, slabs_of_step
from wedge.fit.kept import Kept
from wedge.fit.sampling import Sampling
from wedge.fit.schedule import regularizer_weight
from wedge.out_of_memory import release_unused

if TYPE_CHECKING:
    from wedge.fit.loop import Fit

Scalars = dict[str, torch.Tensor]
Record = Callable[[Callable[[], list[torch.Tensor]]], tuple[list[torch.Tensor], Callable[[], None]]]
_WARM_UP = 3  # steps of a layout before it is recorded: by then all that is made once is there
UNTIL_RECORDED = _WARM_UP + 2
"""Steps of a layout until others of it are done as they were recorded: one more is recorded, and one done both ways."""
_MOST_LAYOUTS = 4  # of a fit at a time: one or two rows of a few have three, and each holds the memory of a step
_AGREEMENT = 1e-3
_MOST_POINTS = 2**22  # of a step: larger ones take longer to compute than to launch, and recorded as much memory again


def gradient_of(fit: "Fit") -> Callable[[int], Scalars]:
    """Return what puts the gradient of a step in place: recorded where the configuration, the device and the parts of the fit allow it."""
    alike = all(getattr(regularizer, "of_slices_alone", False) for _, regularizer in fit.regularizers)
    num_z, _, num_x = fit.box.shape
    small = fit.rows_per_step * num_z * num_x * fit.config.oversampling**2 <= _MOST_POINTS
    if fit.config.capture == "off" or fit.device.type != "cuda" or team.size() > 1 or not (alike and small):
        return partial(gradient, fit)
    return Captured(fit, partial(record_graph, fit.device, fit.plan.limit_bytes))


def record_graph(device: torch.device, limit: int, work: Callable[[], list[torch.Tensor]]) -> tuple[list[torch.Tensor], Callable[[], None]]:
    """Record work on a GPU; return the tensors that it gives, and what does it again and puts new values into them.

    Raises
    ------
    RuntimeError
        If there is no room for what is recorded beside other steps, or work asks the device for something.
    """
    held = torch.cuda.memory_allocated(device)
    if held + 2 * (torch.cuda.max_memory_allocated(device) - held) > limit:
        raise RuntimeError("no room for it within the memory limit")
    graph = torch.cuda.CUDAGraph()
    with (
        torch.cuda.device(device),
        # A recording that fails leaves its stream the current one, which others would not wait for: it is set back here.
        torch.cuda.stream(torch.cuda.current_stream(device)),
        # Threads that read, write or watch may go on meanwhile.
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        found = work()
    return found, graph.replay


@dataclass
class _Recording:
    """A recorded step.

    Parameters
    ----------
    layout
        Of the steps that it can do.
    inputs
        The tensors that it reads, for others to put values into.
    names, parameters
        Of the scalars, and with a gradient, in the order of what was found.
    found
        The tensors that it writes: scalars, then gradients.
    kept
        What else it reads.
    replay
        Does it again.
    """

    layout: Any
    inputs: list[SlabInputs]
    names: list[str]
    parameters: list[torch.nn.Parameter]
    found: list[torch.Tensor]
    kept: list[torch.Tensor]
    replay: Callable[[], None]
    proven: bool = False


class Captured:
    """The gradient of steps, recorded for the layouts that come first in numbers.

    Parameters
    ----------
    fit
        Its field, data terms and regularizers are functions of their tensors alone.
    record
        As `record_graph` for a device.
    """

    def __init__(self, fit: "Fit", record: Record) -> None:
        self._fit, self._record = fit, record
        self._slab_rows, self._given_up = fit.plan.slab_rows, False
        self._seen: Counter[Any] = Counter()
        self._recordings: list[_Recording] = []

    def __call__(self, step: int) -> Scalars:
        """Put the gradient of a step in place and return its scalars."""
        if self._fit.plan.slab_rows != self._slab_rows and not self._given_up:
            self._give_up("memory ran out")
        if self._given_up:
            return gradient(self._fit, step)
        slabs = slabs_of_step(self._fit, step)
        layout = self._layout_of(step, slabs)
        self._recordings = [recording for recording in self._recordings if recording.layout[0] == layout[0]]
        for recording in self._recordings:
            if recording.layout == layout:
                return self._again(recording, step, slabs) if recording.proven else self._proof(recording, step, slabs)
        self._seen[layout] += 1
        if len(self._recordings) < _MOST_LAYOUTS and self._seen[layout] > _WARM_UP:
            self._begin(layout, step, slabs)
        return gradient(self._fit, step)

    def _layout_of(self, step: int, slabs: list[Slab]) -> tuple[Any, Any]:
        """Return what steps have in common that are done alike; what changes for good comes first."""
        fit = self._fit
        active = tuple(regularizer_weight(choice, step, fit.num_steps) != 0 for choice, _ in fit.regularizers)
        rows = tuple((slab.halo_stop - slab.halo_start, slab.interior.start, slab.interior.stop) for slab in slabs)
        return (fit.sampling(step).factor, active), rows

    def _begin(self, layout: Any, step: int, slabs: list[Slab]) -> None:
        """Record a step, or give up."""
        inputs = [slab_inputs(self._fit, step, slab).clone() for slab in slabs]
        work = _Work(self._fit, self._fit.sampling(step), inputs)
        try:
            # Once more as ever: what is made at first use, and may have been dropped since, is there.
            work()
            with Kept() as kept:
                found, replay = self._record(work)
            self._recordings.append(_Recording(layout, inputs, work.names, work.parameters, found, kept.tensors, replay))
        except Exception as error:
            self._give_up(" ".join(str(error).split()) or type(error).__name__)

    def _again(self, recording: _Recording, step: int, slabs: list[Slab]) -> Scalars:
        """Do a step as it was recorded."""
        for mine, slab in zip(recording.inputs, slabs, strict=True):
            mine.take(slab_inputs(self._fit, step, slab))
        self._fit.optimizer.zero_grad(set_to_none=True)
        recording.replay()
        count = len(recording.names)
        for parameter, found in zip(recording.parameters, recording.found[count:], strict=True):
            parameter.grad = found
        # Who is told of a step may ask for its scalars when others have come.
        return {name: value.clone() for name, value in zip(recording.names, recording.found[:count], strict=True)}

    def _proof(self, recording: _Recording, step: int, slabs: list[Slab]) -> Scalars:
        """Do a step both ways; go on as ever where they differ."""
        expected = self._sizes(gradient(self._fit, step))
        scalars = self._again(recording, step, slabs)
        found = self._sizes(scalars)
        if all(abs(a - b) <= _AGREEMENT * max(abs(a), abs(b)) + 1e-12 for a, b in zip(found, expected, strict=True)):
            recording.proven = True
            return scalars
        self._give_up("one came out differently")
        return gradient(self._fit, step)

    def _sizes(self, scalars: Scalars) -> list[float]:
        """Return the scalars and the norm of each parameter's gradient."""
        gradients = [parameter.grad for parameter in self._fit.field.parameters()]
        norms = [scalars["loss"].new_zeros(()) if each is None else each.norm() for each in gradients]
        return torch.stack([*scalars.values(), *norms]).tolist()

    def _give_up(self, reason: str) -> None:
        self._recordings, self._given_up = [], True
        release_unused()
        warnings.warn(f"steps are not recorded ({reason}): the fit goes on as without capture", stacklevel=2)


class _Work:
    """A step's gradient from tensors that stay in place."""

    def __init__(self, fit: "Fit", sampling: Sampling, inputs: list[SlabInputs]) -> None:
        self._fit, self._sampling, self._inputs = fit, sampling, inputs
        self.names: list[str] = []
        self.parameters: list[torch.nn.Parameter] = []

    def __call__(self) -> list[torch.Tensor]:
        """Return scalars, then gradients."""
        scalars = accumulate(self._fit, self._sampling, self._inputs)
        found = [(parameter, parameter.grad) for parameter in self._fit.field.parameters()]
        self.names = list(scalars)
        self.parameters = [parameter for parameter, given in found if given is not None]
        return [*scalars.values(), *(given for _, given in found if given is not None)]
