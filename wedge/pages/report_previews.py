"""The volumes' pictures: coarse volumes in one scale of density, small enough for the file, and spectra."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wedge.data import Volume
from wedge.errors import InputError
from wedge.intensity import IntensityFit
from wedge.picture import spectrum_zx
from wedge.preview import Preview, preview_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES = (256, 224, 192, 160, 128, 112, 96, 80, 64, 48, 32, 24, 16)
"""Longest sides of previews that are tried, until the file is small enough."""
_SPECTRUM_SIDE = 256
_SPECTRUM_DECADES = 7.0
_COMPRESSED = 0.9  # of a noisy volume in 8 bits; a first guess, which saves reading large files again and again
_BASE64 = 4 / 3


@dataclass(frozen=True)
class Spectrum:
    """Log power in the plane of the beam: ``(kz, kx)`` uint8 codes from ``low`` to ``high`` decades, zero frequency in the middle."""

    codes: "NDArray[np.uint8]"
    low: float
    high: float
    tilt_range_deg: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return what the page reads; codes are deflated and in base64."""
        known = {"low": self.low, "high": self.high, "tiltRangeDeg": self.tilt_range_deg}
        return {"shape": list(self.codes.shape), "deflated": packed(self.codes.tobytes()), **known}


@dataclass(frozen=True)
class Pictures:
    """What is drawn of the volumes, in their order, and of a spread; and the longest side of what there was room for, and of what is.

    ``turned`` are the places of volumes whose high densities are shown as low ones.
    """

    previews: tuple[Preview, ...]
    spectra: tuple[Spectrum, ...]
    spread: Preview | None
    longest_side: int
    full_side: int
    turned: tuple[int, ...] = ()

    @property
    def packed(self) -> list[str]:
        """The previews, and that of the spread last, as the page takes them."""
        return [packed(each.to_bytes()) for each in (*self.previews, *([self.spread] if self.spread else []))]


def packed(content: bytes) -> str:
    """Return bytes deflated (zlib) and in base64."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def in_densities_of_first(preview: Preview, fit: IntensityFit) -> Preview:
    """Return a preview of ``fit.scale * density + fit.offset``; the same where nothing could be fitted."""
    if fit.scale == 0:
        return preview
    ends = [fit.scale * each + fit.offset for each in (preview.low, preview.high, *preview.window)]
    if fit.scale > 0:
        return replace(preview, low=ends[0], high=ends[1], window=(ends[2], ends[3]))
    # High densities become low ones: the codes are turned over, so that they still rise.
    return replace(preview, codes=255 - preview.codes, low=ends[1], high=ends[0], window=(ends[3], ends[2]))


def alike(preview: Preview, first: Preview) -> IntensityFit:
    """Return what gives a coarse volume the mean and the standard deviation of another; turned over where their contrasts are opposite.

    Least squares would do for volumes that agree; of those that don't it would leave nothing to look at.
    """
    a, b = (each.low + each.codes.astype(np.float64).ravel() * ((each.high - each.low) / 255) for each in (preview, first))
    mean_a, mean_b, deviation_a, deviation_b = float(a.mean()), float(b.mean()), float(a.std()), float(b.std())
    if not (deviation_a > 0 and deviation_b > 0):
        return IntensityFit("none")
    scale = deviation_b / deviation_a * (-1 if float(((a - mean_a) * (b - mean_b)).mean()) < 0 else 1)
    return IntensityFit("affine", scale, mean_b - scale * mean_a)


def spectrum_of(volume: Volume, scale: float, peak: float | None, tilt_angles_deg: Sequence[float] | None) -> tuple[Spectrum, float]:
    """Return the spectrum of a volume times ``scale``, relative to a peak of power or to its own, and that peak.

    Raises
    ------
    InputError
        If a value is not finite.
    """
    power = _coarser(spectrum_zx(volume)) * (scale or 1.0) ** 2
    if not np.isfinite(power).all():
        raise InputError(f"NaN or infinite values in {volume.name}: make it anew or mend it")
    top = peak or float(power.max()) or 1.0
    decades = np.clip(np.log10(np.maximum(power / top, 1e-300)), -_SPECTRUM_DECADES, 0.0)
    codes = np.rint((decades / _SPECTRUM_DECADES + 1) * 255).astype(np.uint8)
    tilts = None if not tilt_angles_deg else (float(min(tilt_angles_deg)), float(max(tilt_angles_deg)))
    return Spectrum(codes, -_SPECTRUM_DECADES, 0.0, tilts), top


def _coarser(power: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return means over blocks of frequencies, at most `_SPECTRUM_SIDE` along each axis, zero frequency at ``n // 2`` of each."""
    for axis, count in enumerate(power.shape):
        factor = -(-count // _SPECTRUM_SIDE)
        if factor == 1:
            continue
        kept = count // factor
        # So that zero frequency is in the middle of the block in the middle; spectra are periodic.
        power = np.roll(power, kept // 2 * factor + factor // 2 - count // 2, axis=axis)
        power = np.add.reduceat(power.take(range(kept * factor), axis=axis), range(0, kept * factor, factor), axis=axis) / factor
    return power


def shrink_to_fit(volumes: Sequence[Volume], spread: Volume | None, room_bytes: int) -> tuple[list[Preview], Preview | None, int]:
    """Return previews of all volumes that together take at most ``room_bytes`` in the page, and their longest side in codes.

    Raises
    ------
    InputError
        If a volume cannot be read.
    """
    shown = [*volumes, *([spread] if spread else [])]
    if len({len(volume.coarser) for volume in shown}) > 1:
        # Some have coarser copies and others not: all are binned alike, so that voxels lie on voxels.
        shown = [replace(volume, coarser=()) for volume in shown]
    guess = [side for side in SIDES if _guessed_bytes(shown, side) <= room_bytes] or [SIDES[-1]]
    for side in (each for each in SIDES if each <= guess[0]):
        previews = [preview_of(volume, side) for volume in shown]
        taken = sum(len(packed(each.to_bytes())) for each in previews)
        if taken <= room_bytes or side == SIDES[-1]:
            break
    return previews[: len(volumes)], previews[-1] if spread else None, max(max(each.codes.shape) for each in previews)


def _guessed_bytes(volumes: Sequence[Volume], side: int) -> float:
    total = 0
    for volume in volumes:
        factor = -(-max(volume.array.shape) // side)
        z, y, x = (max(1, count // factor) for count in volume.array.shape)
        total += z * y * x
    return _COMPRESSED * _BASE64 * total
