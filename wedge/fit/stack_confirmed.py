"""How much of a finished stack views confirm, frequency by frequency.

To let nothing be negative, and to empty what is empty in the best fit, makes a sum better wherever views show enough. Beyond, such a cut
makes fine detail of its own, which need not be that of the specimen. Views that no estimate has seen tell: by how much the finished sum, as
some rows show it, is to be multiplied at each frequency to predict them. What they do not confirm is left out, and in its place stands what
measured frequencies tell, however faint: the sharpest single fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from wedge.fit.emptied import bright_density, emptied
from wedge.fit.radial import RadialFilter
from wedge.fit.stack import RingEquations, Stack

_FAINTEST = 0.02  # of the sharpest fit: its detail is to be seen where there is no other
_ALL = 0.5  # where no more than half is in doubt at any frequency, all stays


def finished_sample(densities: Sequence[torch.Tensor], stack: Stack, radial: RadialFilter, signal_to_noise: float) -> torch.Tensor:
    """Return the finished sum ``(y, z, x)`` of estimates of some rows."""
    best = densities[stack.base].float()
    total = torch.zeros_like(best)

    def rows_of(density: torch.Tensor) -> Callable[[int, int], torch.Tensor]:
        return lambda low, high: density[low:high].float()

    for density, weights in zip(densities, stack.weights, strict=True):
        radial.add(total, rows_of(density), weights)
    return emptied(total, best, 0, len(total), bright_density(best), signal_to_noise)


def confirmed(stack: Stack, finished: np.ndarray, sharp: np.ndarray, sharpest: int, measured: np.ndarray) -> Stack:
    """Return a stack with what views confirm of its finished sum; as it is where that is all of it.

    Parameters
    ----------
    finished, sharp
        Views ``(y, tilt, x)`` that judge, as the finished sum and the sharpest fit predict them.
    sharpest
        Which estimate that is.
    measured
        The same as they were measured.
    """
    share = np.clip(RingEquations([finished], measured).best().weights[0], 0, 1)
    if share.min() > _ALL:
        return stack
    gain = np.clip(RingEquations([sharp], measured).gains()[0], _FAINTEST, 1)
    return replace(stack, confirmed=share, sharp=(1 - share) * gain, sharpest=sharpest)
