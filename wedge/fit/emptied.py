"""Where a stack is emptied: nothing is negative, and what is nothing in the best single fit is noise in the sum.

Or in what a network has learned; by which of the two and how thoroughly, views say that none of the estimates has seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

_EMPTY, _LEAST_EMPTY, _MOST_EMPTY = 0.2, 0.15, 0.4
"""Of the density of what is bright, at a signal to noise of 1, at least and at most: below, the best fit counts as empty by degrees."""
_ALL_NOISE = 0.01  # signal to noise below which there is no difference; views that are alike everywhere have none
_TIMES = (1.0, 1.5, 2.0, 3.0)
_SCALES = 0.8, 1.25


@dataclass(frozen=True)
class Emptying:
    """How a sum is emptied.

    Parameters
    ----------
    by
        The estimate of a stack that tells what is empty.
    below
        Density, in units of what is bright in it, below which that counts as empty.
    scale
        What is left is multiplied by it: some of what was taken away was density.
    """

    by: int
    below: float
    scale: float = 1.0


@dataclass(frozen=True)
class UnseenViews:
    """Views that none of the estimates has seen.

    Parameters
    ----------
    predicted
        Gives them ``(y, tilt, x)`` of a density ``(y, z, x)``.
    measured
        What was measured, ``(y, tilt, x)``.
    """

    predicted: Callable[[torch.Tensor], np.ndarray]
    measured: np.ndarray


def usually_below(signal_to_noise: float) -> float:
    """Return the density, in units of what is bright, below which the best fit counts as empty where nothing else is known."""
    return min(_MOST_EMPTY, max(_LEAST_EMPTY, _EMPTY * max(signal_to_noise, _ALL_NOISE) ** -0.25))


def bright_density(by: torch.Tensor) -> float:
    """Return the density of what is bright in a density ``(y, z, x)``: the mean weighted by its square."""
    squared = cubed = 0.0
    for row in by:
        squared += float(row.square().sum(dtype=torch.float64))
        cubed += float((row.abs() * row.square()).sum(dtype=torch.float64))
    return cubed / squared if squared > 0 else 1.0


def emptied(total: torch.Tensor, by: torch.Tensor, y_start: int, y_stop: int, bright: float, how: Emptying) -> torch.Tensor:
    """Return rows ``y_start`` to ``y_stop`` of a sum ``(y, z, x)`` of positive density, emptied by another density."""
    return total[y_start:y_stop].clamp_min(0) * (how.scale * share_filled(by, y_start, y_stop, how.below * bright))


def share_filled(by: torch.Tensor, y_start: int, y_stop: int, empty_below: float) -> torch.Tensor:
    """Return how much of rows ``y_start`` to ``y_stop`` is kept, 0 to 1, by the mean of a density ``(y, z, x)`` around each voxel."""
    low = max(0, y_start - 1)
    around = mean_around(by[low : y_stop + 1])[y_start - low :][: y_stop - y_start]
    return (around / empty_below).clamp(0, 1)


def find_emptying(total: torch.Tensor, sources: Mapping[int, torch.Tensor], unseen: UnseenViews, signal_to_noise: float) -> Emptying:
    """Return how a sum ``(y, z, x)`` is emptied so that it predicts best what none of its estimates has seen.

    Parameters
    ----------
    sources
        Densities that may tell what is empty, by their places among the estimates.
    """
    usual, least = usually_below(signal_to_noise), float("inf")
    found = Emptying(next(iter(sources)), usual)
    for place, by in sources.items():
        bright = bright_density(by)
        for below in (times * usual for times in _TIMES):
            views = unseen.predicted(emptied(total, by, 0, len(total), bright, Emptying(place, below)))
            power = float(np.square(views).sum())
            scale = float(np.clip((views * unseen.measured).sum() / power, *_SCALES)) if power > 0 else 1.0
            error = float(np.square(unseen.measured - scale * views).mean())
            if error < least:
                found, least = Emptying(place, below, scale), error
    return found


def mean_around(density: torch.Tensor) -> torch.Tensor:
    """Return the mean over each voxel and its neighbours, fewer at the faces, of ``(y, z, x)`` with any number of rows."""
    padded = [torch.nn.functional.pad(values[None, None], (1,) * 6) for values in (density, torch.ones_like(density))]
    sums, counts = (torch.nn.functional.avg_pool3d(each, 3, 1)[0, 0] for each in padded)
    return sums / counts
