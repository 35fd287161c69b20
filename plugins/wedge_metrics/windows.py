"""Gaussian windows over slices, and what is done with slices that are thinner than a window."""

import torch


def gaussian_window(size: int, sigma: float) -> list[float]:
    """Return ``size`` weights of a Gaussian centred in the middle; their sum is 1."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return [float(w) for w in weights / weights.sum()]


def filter_axis(values: torch.Tensor, window: list[float], axis: int) -> torch.Tensor:
    """Correlate one axis with a window, only where the window lies inside: the axis loses ``len(window) - 1`` points.

    A sum of shifted views, in the same order whatever the batch: results do not depend on how many slices come at once.
    """
    length = values.shape[axis] - len(window) + 1
    total = values.narrow(axis, 0, length) * window[0]
    for shift, weight in enumerate(window[1:], start=1):
        total.add_(values.narrow(axis, shift, length), alpha=weight)
    return total


def filter_slices(slices: torch.Tensor, window: list[float]) -> torch.Tensor:
    """Filter z and x of ``(y, z, x)`` with the separable window, only where it lies inside."""
    return filter_axis(filter_axis(slices, window, 1), window, 2)


def mirror_to(slices: torch.Tensor, least: int) -> torch.Tensor:
    """Return ``(y, z, x)`` with z and x mirrored about their edges (``b a | a b c | c b``) until each has ``least`` points.

    Sides that are long enough stay as they are; any side of one point or more will do.
    """
    for axis in (1, 2):
        count = slices.shape[axis]
        if count >= least:
            continue
        before = (least - count) // 2
        place = torch.remainder(torch.arange(least, device=slices.device) - before, 2 * count)
        slices = slices.index_select(axis, torch.minimum(place, 2 * count - 1 - place))
    return slices


def mirror_note(shape: tuple[int, int, int], least: int, what: str) -> str:
    """Say which sides of a ``(z, y, x)`` volume `mirror_to` has lengthened, or nothing."""
    thin = [f"{name}={count}" for name, count in (("z", shape[0]), ("x", shape[2])) if count < least]
    return f"{' and '.join(thin)} mirrored to the {least} voxels that {what} needs" if thin else ""
