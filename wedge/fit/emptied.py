"""Where a stack is emptied: nothing is negative, and what is nothing in the best single fit is noise in the sum."""

import torch

_EMPTY, _LEAST_EMPTY, _MOST_EMPTY = 0.2, 0.15, 0.4
"""Of the density of what is bright, at a signal to noise of 1, at least and at most: below, the best fit counts as empty by degrees."""
_ALL_NOISE = 0.01  # signal to noise below which there is no difference; views that are alike everywhere have none


def bright_density(best: torch.Tensor) -> float:
    """Return the density of what is bright in the best single fit ``(y, z, x)``: the mean of density weighted by its square."""
    squared = cubed = 0.0
    for row in best:
        squared += float(row.square().sum(dtype=torch.float64))
        cubed += float((row.abs() * row.square()).sum(dtype=torch.float64))
    return cubed / squared if squared > 0 else 1.0


def emptied(total: torch.Tensor, best: torch.Tensor, y_start: int, y_stop: int, bright: float, signal_to_noise: float) -> torch.Tensor:
    """Return rows ``y_start`` to ``y_stop`` of a sum ``(y, z, x)`` of positive density, emptied."""
    return total[y_start:y_stop].clamp_min(0) * share_filled(best, y_start, y_stop, bright, signal_to_noise)


def share_filled(best: torch.Tensor, y_start: int, y_stop: int, bright: float, signal_to_noise: float) -> torch.Tensor:
    """Return how much of rows ``y_start`` to ``y_stop`` is kept, 0 to 1, by the mean of the best fit ``(y, z, x)`` around each voxel."""
    share = min(_MOST_EMPTY, max(_LEAST_EMPTY, _EMPTY * max(signal_to_noise, _ALL_NOISE) ** -0.25))
    low = max(0, y_start - 1)
    around = mean_around(best[low : y_stop + 1])[y_start - low :][: y_stop - y_start]
    return (around / (share * bright)).clamp(0, 1)


def mean_around(density: torch.Tensor) -> torch.Tensor:
    """Return the mean over each voxel and its neighbours, fewer at the faces, of ``(y, z, x)`` with any number of rows."""
    padded = [torch.nn.functional.pad(values[None, None], (1,) * 6) for values in (density, torch.ones_like(density))]
    sums, counts = (torch.nn.functional.avg_pool3d(each, 3, 1)[0, 0] for each in padded)
    return sums / counts
