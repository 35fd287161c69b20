"""The reference that tells the hand, and the series with a found mistake corrected."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from wedge.align.candidates import Hand, hands
from wedge.align.check import Check, Fit
from wedge.align.levels import read_views
from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.data import TiltSeries, Volume
from wedge.errors import InputError
from wedge.slabs import read_slices


@dataclass(frozen=True)
class HandFit:
    """How a reading that the views cannot tell from others agrees with a reference.

    Parameters
    ----------
    hand
        The reading.
    correlation
        Pearson's, of the quick reconstruction and the reference at the shift where they agree best.
    """

    hand: Hand
    correlation: float


def compare_hands(check: Check, reference: Volume) -> list[HandFit]:
    """Return how well each reading agrees with a reference, the best first.

    Raises
    ------
    InputError
        If the reference is smaller than one voxel of the quick reconstruction, or constant.
    """
    block = read_slices(reference, 0, reference.array.shape[1])
    k = _reference_binning(check, reference)
    whole = [n // k for n in block.shape]
    if min(whole) < 2:
        raise InputError(f"reference is too small: {reference.name} has (z, y, x) {tuple(reference.array.shape)}")
    cut = block[: whole[0] * k, : whole[1] * k, : whole[2] * k]
    means = torch.from_numpy(cut.reshape(whole[0], k, whole[1], k, whole[2], k).mean(axis=(1, 3, 5)))
    if not bool(means.amax() > means.amin()):
        raise InputError(f"reference is constant: {reference.name}; nothing can be compared with it")
    found = [HandFit(hand, _best_correlation(check.density.cpu().flip(hand.volume_flips), means)) for hand in hands()]
    return sorted(found, key=lambda each: -each.correlation)


def _reference_binning(check: Check, reference: Volume) -> int:
    """Return how many voxels of the reference lie along a voxel of the quick reconstruction."""
    if check.pixel_size_angstrom is None or reference.voxel_size_angstrom is None:
        return check.binning
    ratio = check.binning * check.pixel_size_angstrom / reference.voxel_size_angstrom
    if ratio < 0.9 or abs(ratio / round(ratio) - 1) > 0.1:
        raise InputError(
            f"voxel size of {reference.name} is {reference.voxel_size_angstrom:g} angstrom: expected a part of"
            f" {check.binning * check.pixel_size_angstrom:g}, the voxels that are compared; bring it to the voxels of the series, or give"
            " --voxel-size"
        )
    return round(ratio)


def corrected(tilts: TiltSeries, fit: Fit, hand: Hand | None = None) -> TiltSeries:
    """Return the series, in main memory, as it has to be read: turned and mirrored views, axis offset and angles in its geometry.

    Parameters
    ----------
    tilts
        As given.
    fit
        What fits it. A shift of the axis goes into the geometry and resamples nothing; a turn of some degrees resamples once.
    hand
        Which of the readings that the views cannot tell apart, if a reference told.
    """
    views = fit.candidate.views(read_views(tilts, torch.device("cpu")))
    geometry = replace(fit.candidate.geometry(tilts.geometry), axis_offset_pixels=fit.axis_offset_pixels)
    if fit.axis_turn_deg:
        none = np.zeros(views.shape[1])
        views = warp_views(views, ViewTransforms(none, none, none - fit.axis_turn_deg))
    if hand is not None:
        views, geometry = hand.views(views), hand.geometry(geometry)
    array = np.stack([views[:, view].numpy() for view in range(views.shape[1])])
    # What rays of weight 0 hold is filled already; their weights would be those of other places.
    return replace(tilts, array=array, geometry=geometry, weights=None)


def _best_correlation(density: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the highest correlation over all shifts; the smaller of the two is led on by its mean."""
    shape = tuple(max(pair) for pair in zip(density.shape, reference.shape, strict=True))
    first, second = (_centred(part, shape) for part in (density, reference))
    surface = torch.fft.irfftn(torch.fft.rfftn(first).conj() * torch.fft.rfftn(second), s=shape)
    return float(surface.max() / (first.norm() * second.norm()).clamp_min(1e-30))


def _centred(part: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    room = torch.zeros(shape)
    place = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, part.shape, strict=True))
    room[place] = part - part.mean()
    return room
