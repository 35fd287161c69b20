"""Sums over Fourier rings of views, after a taper of their edges."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wedge.fourier import frequency_grid, friedel_weight, shell_index
from wedge.masked import fill_along_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAPERED = 0.1
_RAMP_FLOOR = 0.005


@dataclass(frozen=True)
class RingSums:
    """Powers of each view in rings, ``(tilt, ring)``, and over all frequencies, ``(tilt,)``.

    Parameters
    ----------
    frequency, count
        ``(ring,)``: centres in cycles per pixel, and how many frequencies a ring holds, both of a pair of Friedel mates.
    cross, predicted, measured
        ``(tilt, ring)``, of views less their means. Divided by the taper's loss, so that white noise has its variance at every frequency.
        What stands at rays of weight 0 is led over from beside them first, in both alike: holes with edges would correlate by themselves.
    difference_plain, measured_plain, difference_ramp, measured_ramp
        ``(tilt,)``: over all frequencies, of measured minus predicted and of measured less the offset; ramp: each times its frequency
        across the tilt axis in cycles per pixel, and a floor.
    count_plain, count_ramp
        What white noise of variance 1 has of them.
    """

    frequency: "NDArray[np.float64]"
    count: "NDArray[np.float64]"
    cross: "NDArray[np.float64]"
    predicted: "NDArray[np.float64]"
    measured: "NDArray[np.float64]"
    difference_plain: "NDArray[np.float64]"
    measured_plain: "NDArray[np.float64]"
    difference_ramp: "NDArray[np.float64]"
    measured_ramp: "NDArray[np.float64]"
    count_plain: float
    count_ramp: float


def edge_taper(shape: tuple[int, ...]) -> "NDArray[np.float64]":
    """Return a window that is 1 within and falls to 0 over the outer tenth of each side, by half a cosine; 1 all along short sides."""
    window = np.ones(())
    for length in shape:
        width = round(_TAPERED * length)
        axis = np.ones(length)
        edge = 0.5 - 0.5 * np.cos(np.pi * np.arange(width) / max(width, 1))
        axis[:width], axis[length - width :] = edge, edge[::-1]
        window = window[..., None] * axis
    return window


def ring_sums(
    predicted: "NDArray[np.floating]",
    measured: "NDArray[np.floating]",
    offset: float,
    taper: "NDArray[np.float64]",
    ray_weights: "NDArray[np.floating] | None" = None,
) -> RingSums:
    """Compare views ``(y, tilt, x)`` that are in the same units.

    Parameters
    ----------
    predicted, measured
        The views.
    offset
        The intensity of an empty ray.
    taper
        ``(y, x)``.
    ray_weights
        Of residuals, ``(y, tilt, x)``; None where all are 1. What either has at a ray of weight 0 counts nowhere.
    """
    if ray_weights is not None:
        hidden = ray_weights == 0
        predicted, measured, soft = (fill_along_rows(views.copy(), hidden) for views in (predicted, measured, ray_weights))
    num_y, num_tilts, num_x = measured.shape
    index, number = shell_index((num_y, num_x), real=True)
    weights = np.broadcast_to(friedel_weight(num_x).numpy(), index.shape)
    ramp = np.abs(frequency_grid((num_y, num_x), real=True)[1].numpy().astype(np.float64)) + _RAMP_FLOOR
    which = index.numpy().ravel()

    def spectrum(view: "NDArray[np.float64]", window: "NDArray[np.float64]") -> "NDArray[np.complex128]":
        return np.asarray(torch.fft.rfft2(torch.from_numpy(view * window)).numpy())

    rings: list[list[NDArray[np.float64]]] = []
    totals: list[list[float]] = []
    for tilt in range(num_tilts):
        a, b = (views[:, tilt].astype(np.float64) for views in (predicted, measured))
        window = taper if ray_weights is None else taper * soft[:, tilt]
        loss = max(float(np.square(window).sum()), 1e-300)
        difference, signal = (weights * np.abs(spectrum(view, window)) ** 2 / loss for view in (b - a, b - offset))
        ours, theirs = (spectrum(view - float((view * window).sum() / max(window.sum(), 1e-300)), window) for view in (a, b))
        products = [part * weights / loss for part in ((ours * theirs.conj()).real, np.abs(ours) ** 2, np.abs(theirs) ** 2)]
        rings.append([np.bincount(which, part.ravel(), number + 1)[:number].astype(np.float64) for part in products])
        totals.append([float(part.sum()) for part in (difference, signal, difference * ramp, signal * ramp)])
        if ray_weights is not None:
            seen = taper * ray_weights[:, tilt]
            # By Parseval: of the rays that count alone, exactly.
            scale = num_y * num_x / max(float(np.square(seen).sum()), 1e-300)
            totals[-1][:2] = [scale * float(np.square(seen * view).sum()) for view in (b - a, b - offset)]
    cross, power_a, power_b = (np.array([each[kind] for each in rings]) for kind in range(3))
    count = np.bincount(which, weights.ravel(), number + 1)[:number].astype(np.float64)
    frequency = np.arange(number) / max(num_y, num_x)
    whole = np.asarray(totals).T
    plain, signal, ramped, ramped_signal = whole
    all_frequencies, all_ramped = float(weights.sum()), float((weights * ramp).sum())
    return RingSums(frequency, count, cross, power_a, power_b, plain, signal, ramped, ramped_signal, all_frequencies, all_ramped)
