"""The gradient of a step, as a function of tensors: of the rows that it sees, what was measured there, and the weights of penalties.

Nothing else changes from one step to the next, but for how rows are laid out. So a step can be recorded once for a layout and done again
with other values in the same tensors, see `wedge.fit.capture`; as it is otherwise, the tensors are made anew for each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from wedge.contracts import Regularizer, RegularizerContext
from wedge.draws import seed_for
from wedge.fit import team
from wedge.fit.batches import Slab, batch_segments, cut_slabs
from wedge.fit.data_term import Rays
from wedge.fit.sampling import Sampling
from wedge.fit.schedule import regularizer_weight

if TYPE_CHECKING:
    from wedge.fit.loop import Fit


@dataclass(frozen=True)
class SlabInputs:
    """What a slab of a step is computed from.

    Parameters
    ----------
    interior
        The rows that count, among those that are evaluated.
    share
        Of the batch: rows weigh alike whatever the slabs.
    y
        Coordinates of the evaluated rows, ``(y,)`` float32.
    rays
        Of each fitted data term.
    penalties
        Regularizers with their weights, scalars on the device, and what they are told.
    """

    interior: slice
    share: float
    y: torch.Tensor
    rays: list[Rays]
    penalties: list[tuple[Regularizer, torch.Tensor, RegularizerContext]]

    def tensors(self) -> list[torch.Tensor]:
        """Return all that changes from step to step."""
        rays = [tensor for pair in self.rays for tensor in pair if tensor is not None]
        return [self.y, *rays, *(weight for _, weight, _ in self.penalties)]

    def clone(self) -> "SlabInputs":
        """Return the same in tensors of its own."""
        rays = [(measured.clone(), None if weights is None else weights.clone()) for measured, weights in self.rays]
        penalties = [(regularizer, weight.clone(), context) for regularizer, weight, context in self.penalties]
        return replace(self, y=self.y.clone(), rays=rays, penalties=penalties)

    def take(self, other: "SlabInputs") -> None:
        """Take the values of another slab of the same layout."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs, non_blocking=True)


def slabs_of_step(fit: "Fit", step: int) -> list[Slab]:
    """Return the slabs of a step, as high as memory allows."""
    num_rows = fit.box.shape[1]
    segments = team.share(batch_segments(fit.config.seed, step, num_rows, fit.rows_per_step))
    return cut_slabs(segments, fit.plan.slab_rows, fit.halo_rows, num_rows)


def slab_inputs(fit: "Fit", step: int, slab: Slab) -> SlabInputs:
    """Return what a slab of a step is computed from."""
    penalties = []
    for index, (choice, regularizer) in enumerate(fit.regularizers):
        weight = regularizer_weight(choice, step, fit.num_steps)
        if weight == 0:
            continue
        generator = torch.Generator(fit.device).manual_seed(seed_for(fit.config.seed, f"regularizer-{index}", step))
        context = RegularizerContext(slab.interior, 1.0, step, fit.num_steps, generator, fit.field)
        penalties.append((regularizer, torch.full((), weight, device=fit.device), context))
    rows = fit.sampling(step).rows(slab.halo_start, slab.halo_stop)
    return SlabInputs(slab.interior, slab.rows / fit.rows_per_step, rows, [term.rays(slab) for term in fit.fitted], penalties)


def accumulate(fit: "Fit", sampling: Sampling, slabs: Iterable[SlabInputs]) -> dict[str, torch.Tensor]:
    """Put the gradient of some slabs in place and return its scalars; slabs are asked for one by one."""
    data_loss, penalty = torch.zeros((), device=fit.device), torch.zeros((), device=fit.device)
    fit.optimizer.zero_grad(set_to_none=True)
    for slab in slabs:
        fine = fit.field(sampling.lattice_of(slab.y))
        density = sampling.pooled(fine)
        inside = fine[slab.interior]
        data = torch.stack([term.loss(inside, rays, sampling.factor) for term, rays in zip(fit.fitted, slab.rays, strict=True)]).sum()
        regularization = density.new_zeros(())
        for regularizer, weight, context in slab.penalties:
            regularization = regularization + weight * regularizer(density, context)
        data, regularization = data * slab.share, regularization * slab.share
        (data + regularization).backward()
        data_loss, penalty = data_loss + data.detach(), penalty + regularization.detach()
    return {"loss": data_loss + penalty, "data": data_loss, "regularization": penalty}


def gradient(fit: "Fit", step: int) -> dict[str, torch.Tensor]:
    """Put the gradient of a step in place and return its scalars; a function of the step and the field, so that it can be done again."""
    return accumulate(fit, fit.sampling(step), (slab_inputs(fit, step, slab) for slab in slabs_of_step(fit, step)))
