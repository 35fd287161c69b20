"""How the sum of a stack is finished: by what it is emptied, and how much of it is believed then; found on some rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from wedge.fit.emptied import UnseenViews, bright_density, emptied, find_emptying
from wedge.fit.radial import RadialFilter
from wedge.fit.stack import Stack
from wedge.fit.stack_believed import believed_share, faint, with_share
from wedge.geometry import TiltGeometry


def with_finish(
    stack: Stack,
    densities: Sequence[torch.Tensor],
    num_learned: int,
    sharpest: int,
    unseen: UnseenViews,
    geometry: TiltGeometry,
    signal_to_noise: float,
    device: torch.device,
) -> Stack:
    """Return a stack of positive density that knows how its sum is finished.

    Parameters
    ----------
    densities
        The estimates ``(y, z, x)``, of which the last ``num_learned`` are what a network has learned: the first of them stands where the
        sum is not believed, the last may tell what is empty.
    sharpest
        Which of the others is smoothed the least.
    geometry
        Of all views of these rows.
    """
    total = sum_of(densities, stack, RadialFilter(geometry.volume_shape, device, geometry.voxel_size_in_pixels))
    places = [stack.base, *([len(densities) - 1] if num_learned else [])]
    sources = {place: densities[place].to(device).float() for place in places}
    how = find_emptying(total.to(device), sources, unseen, signal_to_noise)
    by = sources[how.by].cpu()
    finished = emptied(total, by, 0, len(total), bright_density(by), how)
    stack, sharp = replace(stack, emptying=how), densities[sharpest].float()
    share = believed_share(total, finished, densities[stack.base].float(), sharp, geometry)
    if num_learned:
        return with_share(stack, share, len(densities) - num_learned)
    return with_share(stack, share, sharpest, faint(finished, sharp))


def sum_of(densities: Sequence[torch.Tensor], stack: Stack, radial: RadialFilter) -> torch.Tensor:
    """Return the sum ``(y, z, x)`` of estimates of some rows."""
    total = torch.zeros_like(densities[0], dtype=torch.float32)

    def rows_of(density: torch.Tensor) -> Callable[[int, int], torch.Tensor]:
        return lambda low, high: density[low:high].float()

    for density, weights in zip(densities, stack.weights, strict=True):
        radial.add(total, rows_of(density), weights)
    return total
