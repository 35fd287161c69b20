"""Alignment as the first step of a fit: found once, before anything is measured on the views, and told."""

from collections.abc import Callable
from typing import Any

import torch

from wedge.align.levels import BuildProjector
from wedge.align.refine import align
from wedge.align.resample import moved_series
from wedge.data import TiltSeries
from wedge.fit.halves import pair_halves


def align_before_fit(
    tilts: TiltSeries, half: TiltSeries | None, build_projector: BuildProjector, device: torch.device, say: Callable[[str], None]
) -> tuple[TiltSeries, TiltSeries | None, dict[str, Any]]:
    """Return a series, and its second half, with every view where the others want it, and what was found.

    Parameters
    ----------
    tilts
        ``(tilt, y, x)``; what is moved is held in main memory.
    half
        A second, independent half of the same views: transforms are found on the mean, and both halves move alike.
    build_projector
        From a geometry and a device.
    device
        Where to compute.
    say
        Told how far views move.

    Raises
    ------
    InputError
        If a value is not finite, the views are constant, or the halves are not of the same views.
    """
    whole = tilts if half is None else pair_halves(tilts, half).mean
    found = align(whole, build_projector, device=device, say=say)
    say(("views aligned: " if found.applied else "views left as they are: ") + found.reason)
    moved = None if half is None else moved_series(half, found.transforms)
    return moved_series(tilts, found.transforms), moved, found.summary()
