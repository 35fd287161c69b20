"""Whether the views bear out that density has one sign, on a background that was only estimated.

Noise hides where rays met nothing. Of density with both signs, as cryo-EM shows it, the darkest places then pass for the background, and a
fit of positive density above them is a bad one, of all that lies below. But density above a background that is right cannot be told from
fewer rays as well without it: some rows are fitted as positive to three views of four, which predict the fourth, above the estimated
background and above lower ones. Where density is positive a background that is much too low predicts far worse, for it allows far more;
where it has both signs it hardly does, or it predicts better.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.fit.background import noise_level
from wedge.fit.margin import needed_margin, widened
from wedge.geometry import TiltGeometry
from wedge.slabs import read_sinograms

_PLACES = 12
_WIDTH = 96  # pixels, after binning
_LEAST_BINNING = 2
_HELD_OUT_EVERY, _FIRST_HELD_OUT = 4, 2
_FEWEST_VIEWS = 8
_ITERATIONS = 40
_ERRORS = (0.0, 0.25, 0.5)  # of the estimated background, relative to how far the mean is above it
_LOWER = 1.0  # in the same unit
_WORSE = 1.55

BuildProjector = Callable[[TiltGeometry, torch.device], Projector]


@dataclass(frozen=True)
class _Rows:
    """Binned rows of a series.

    Parameters
    ----------
    views
        ``(y, tilt, x)``.
    noise_variance
        Of their white noise.
    """

    views: torch.Tensor
    geometry: TiltGeometry
    noise_variance: float


def is_borne_out(tilts: TiltSeries, offset: float, sign: float, build: BuildProjector, device: torch.device) -> bool:
    """Return whether the views bear out that all density is above, or for a negative ``sign`` below, the background ``offset``.

    Of fewer views than can be predicted it is taken for true.
    """
    return tilts.geometry.num_tilts < _FEWEST_VIEWS or worse_without(tilts, offset, sign, build, device) > _WORSE


def worse_without(tilts: TiltSeries, offset: float, sign: float, build: BuildProjector, device: torch.device) -> float:
    """Return how many times worse views are predicted above a background that is much too low; see the module."""
    rows = _binned(tilts, offset, sign, device)
    projector = build(rows.geometry, device)
    try:
        height = float(rows.views.mean())
        held = range(_FIRST_HELD_OUT, rows.geometry.num_tilts - _FIRST_HELD_OUT, _HELD_OUT_EVERY)
        errors = {error: _error(rows, -error * height, projector, held) for error in _ERRORS}
        likely = min(errors, key=errors.__getitem__)
        return _error(rows, -(likely + _LOWER) * height, projector, held) / errors[likely]
    finally:
        projector.close()


def _binned(tilts: TiltSeries, offset: float, sign: float, device: torch.device) -> _Rows:
    """Return means over blocks of pixels of some evenly spread rows."""
    num_rows, width = tilts.geometry.detector_shape
    factor = min(max(_LEAST_BINNING, -(-width // _WIDTH)), num_rows)
    starts = np.unique(np.linspace(0, num_rows - factor, min(num_rows // factor, _PLACES)).round().astype(int))
    read = [read_sinograms(tilts, int(start), int(start) + factor).astype(np.float64) for start in starts]
    rows = np.stack([math.copysign(1.0, sign) * (block.mean(axis=0) - offset) for block in read])
    kept = width // factor * factor
    rows = rows[..., :kept].reshape(*rows.shape[:2], -1, factor).mean(axis=3)
    binned = tilts.geometry.binned(factor)
    geometry = widened(binned, needed_margin(binned))
    depth, _, across = geometry.volume_shape
    geometry = replace(geometry, detector_shape=rows.shape[::2], volume_shape=(depth, len(rows), across))
    noise = noise_level(np.concatenate(read)) ** 2 / factor**2
    return _Rows(torch.from_numpy(rows.astype(np.float32)).to(device), geometry, noise)


def _error(rows: _Rows, background: float, projector: Projector, held: Sequence[int]) -> float:
    """Return the least mean squared error of held-out views, noise left out, of positive density above a background."""
    views = rows.views - background
    fitted = torch.ones_like(views)
    fitted[:, list(held)] = 0
    shape = (len(views), rows.geometry.volume_shape[0], rows.geometry.volume_shape[2])
    lengths = projector.project(torch.ones(shape, device=views.device)).clamp_min(1e-3)
    seen = projector.backproject(fitted)
    steps, weights = 1 / seen.clamp_min(1e-2 * float(seen.max())), fitted / lengths
    density = ahead = torch.zeros(shape, device=views.device)
    momentum, least = 1.0, float("inf")
    for _ in range(_ITERATIONS):
        found = (ahead + steps * projector.backproject(weights * (views - projector.project(ahead)))).clamp_min(0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, density, momentum = found + (momentum - 1) / following * (found - density), found, following
        left = (views - projector.project(density))[:, list(held)]
        least = min(least, float(left.square().mean()))
    # An error within the noise is none that could be told.
    return max(least - rows.noise_variance, 1e-3 * rows.noise_variance, 1e-12)
