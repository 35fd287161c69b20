"""Up to which frequency the finished sum of a stack is to be believed, and what stands beyond.

To let nothing be negative, and to empty what is empty in the best fit, makes a sum better wherever it shows enough. Beyond, such a cut
makes fine detail of its own, the harmonics of what is too smooth, and that need not be the specimen's: it was seen to be the contrary.
Views held out cannot tell, for there is next to nothing of that detail in them. But the estimates can. A finished sum is believed where it
has something in common with the sum that it was, and either that sum with its best single fit or the finished one with the sharpest. What
else there is of it is left out. In its place stands what a network has learned, where there is one, for that is as weak as it is unsure;
else what measured frequencies tell, however faint: the sharpest single fit.
"""

from dataclasses import replace

import numpy as np
import torch

from wedge.fit.stack import KNOT_SPACING, Stack, knots
from wedge.fourier import frequency_grid, is_missing
from wedge.geometry import TiltGeometry

_WITH_ITSELF = (0.3, 0.6)
"""Correlation of the finished sum with what it was, below which a frequency is not believed at all, and from which on it is."""
_WITH_BEST = (0.25, 0.4)  # of the sum with its best single fit
_WITH_SHARPEST = (0.05, 0.15)  # of the finished sum with the sharpest single fit, most of which is noise
_ALL = 0.98
_FAINT = 0.01  # of the standard deviation of the finished sum


def believed_share(
    total: torch.Tensor, finished: torch.Tensor, best: torch.Tensor, sharp: torch.Tensor, geometry: TiltGeometry
) -> np.ndarray:
    """Return how much of a finished sum is believed, 0 to 1 at the knots of `wedge.fit.stack`.

    Parameters
    ----------
    total, finished
        The sum before and after.
    best, sharp
        The best and the sharpest single fit; all are ``(y, z, x)``.
    geometry
        Of the views: frequencies that they measured count.
    """
    along_y, along_z, along_x = frequency_grid(tuple(total.shape), real=True)
    voxel = geometry.voxel_size_in_pixels
    frequency = (along_y.square() + (along_z / voxel).square() + (along_x / voxel).square()).sqrt()
    measured = ~is_missing(along_z, along_x, geometry.tilt_angles_deg).expand(frequency.shape).flatten()
    place = torch.round(frequency / KNOT_SPACING).long().flatten()[measured]
    # Rows end where others would go on: without a window that would be detail of all four.
    window = torch.hann_window(len(total) + 2, periodic=False)[1:-1, None, None]
    spectra = [torch.fft.rfftn((each - each.mean()) * window).flatten()[measured] for each in (total, finished, best, sharp)]

    def summed(values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(knots()), dtype=torch.float64).index_add_(0, (place + 1).clamp_max(len(knots()) - 1), values.double())

    def correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        power = summed(one.abs().square()) * summed(other.abs().square())
        return summed((one * other.conj()).real) / power.clamp_min(1e-60).sqrt()

    agreed = np.maximum(
        _risen(correlation(spectra[0], spectra[2]), *_WITH_BEST), _risen(correlation(spectra[1], spectra[3]), *_WITH_SHARPEST)
    )
    share = agreed * _risen(correlation(spectra[0], spectra[1]), *_WITH_ITSELF)
    # Beyond half a cycle are corners alone; a frequency of which the specimen has nothing is no reason to end.
    known = knots() <= 0.5
    share[~known] = share[known][-1]
    share[0] = share[1]
    found: np.ndarray = np.maximum.accumulate(share[::-1])[::-1]
    return found


def _risen(values: torch.Tensor, low: float, high: float) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, and between what is between."""
    risen: np.ndarray = ((values - low) / (high - low)).clamp(0, 1).numpy()
    return risen


def with_share(stack: Stack, share: np.ndarray, rest_of: int, strength: float = 1.0) -> Stack:
    """Return a stack of which a share is believed, and the weights of an estimate for the rest; as it is where that is all of it.

    Parameters
    ----------
    rest_of
        Which estimate that is.
    strength
        Of it, where nothing is believed.
    """
    if share.min() > _ALL:
        return stack
    return replace(stack, believed=share, rest=(1 - share) * strength, rest_of=rest_of)


def faint(finished: torch.Tensor, sharp: torch.Tensor) -> float:
    """Return the strength at which the sharpest fit is to be found where there is nothing else, its noise not to be seen."""
    return min(1.0, _FAINT * float(finished.std() / sharp.std().clamp_min(1e-30)))
