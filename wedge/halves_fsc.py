"""Fourier shell correlation between two halves: how far two independent reconstructions of one specimen agree, and in which directions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wedge.data import Volume
from wedge.errors import InputError
from wedge.fourier import first_crossing, frequency_grid, friedel_weight, half_bit_threshold, missing_mask, shell_index
from wedge.intensity import common_shape
from wedge.rings import edge_taper
from wedge.slabs import chunk_rows, read_block, slab_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIXED_THRESHOLD = 0.143
HALF_ANGLE_DEG = 30.0
_BLOCK = 8
_NO_POWER = 1e-20
_LEAST_FREQUENCIES = 2


@dataclass(frozen=True)
class ShellCurve:
    """One region of Fourier space.

    Parameters
    ----------
    correlation
        ``(shell,)``; NaN where the region has no frequency in a shell.
    independent
        ``(shell,)``: independent frequencies, of a pair of Friedel mates one, less what the taper blends. What is not there correlates
        by chance, by the inverse root of twice as many.
    """

    correlation: "NDArray[np.float64]"
    independent: "NDArray[np.float64]"

    @property
    def half_bit(self) -> "NDArray[np.float64]":
        """The half-bit threshold of each shell."""
        return np.asarray(half_bit_threshold(torch.from_numpy(self.independent)).numpy())

    @property
    def mean(self) -> float:
        """Mean over shells, zero frequency left out; NaN where there is none."""
        finite = self.correlation[1:][np.isfinite(self.correlation[1:])]
        return float(finite.mean()) if finite.size else math.nan


@dataclass(frozen=True)
class HalvesFsc:
    """What two halves have in common.

    Parameters
    ----------
    frequency
        ``(shell,)``: centres in cycles per voxel.
    curves
        By region: ``whole``; ``z``, ``y`` and ``x``, frequencies within 30 degrees of these axes; and, where the tilt angles are known,
        ``cone``, what was measured, and ``wedge``, what was not.
    shape
        ``(z, y, x)`` voxels.
    voxel_size_angstrom
        Or None.
    """

    frequency: "NDArray[np.float64]"
    curves: dict[str, ShellCurve]
    shape: tuple[int, int, int]
    voxel_size_angstrom: float | None

    @property
    def unit(self) -> str:
        """What resolutions are in."""
        return "voxels" if self.voxel_size_angstrom is None else "angstrom"

    def resolution(self, region: str, threshold: str) -> float:
        """Return the inverse of the frequency where a region's correlation first falls below ``0.143`` or ``half-bit``, in `unit`.

        Two voxels where it never does; NaN where it is below from the start. The search begins at one period over the shortest side.
        """
        curve = self.curves[region]
        limit = curve.half_bit if threshold == "half-bit" else np.full_like(curve.correlation, FIXED_THRESHOLD)
        # Of fewer than two frequencies nothing can be said.
        known = np.where(curve.independent >= _LEAST_FREQUENCIES, curve.correlation, np.nan)
        frequency = first_crossing(self.frequency.tolist(), (known - limit).tolist(), 1 / min(self.shape))
        size = 1.0 if self.voxel_size_angstrom is None else self.voxel_size_angstrom
        return size / frequency if frequency else math.nan


def fsc_between(first: Volume, second: Volume, tilt_angles_deg: Sequence[float] | None = None) -> HalvesFsc:
    """Correlate two ``(z, y, x)`` volumes shell by shell, whole and by direction.

    Both are rid of their means and their edges are tapered, so that the box's border is nothing they have in common.

    Parameters
    ----------
    tilt_angles_deg
        Of the views of both together; by default those that the volumes say.

    Raises
    ------
    InputError
        If shapes differ, a value is not finite or a volume is constant.

    References
    ----------
    van Heel and Schatz (2005), https://doi.org/10.1016/j.jsb.2005.05.009

    Notes
    -----
    Peak memory: some 30 bytes a voxel.
    """
    shape = common_shape([first, second])
    taper = taper_of(shape)
    return correlate(
        [windowed_spectrum(read_density(volume), taper, volume.name) for volume in (first, second)], taper, first, second, tilt_angles_deg
    )


def correlate(
    spectra: Sequence[torch.Tensor],
    window: "NDArray[np.float32]",
    first: Volume,
    second: Volume,
    tilt_angles_deg: Sequence[float] | None = None,
) -> HalvesFsc:
    """Compare two spectra of `windowed_spectrum`; the volumes say the rest."""
    shape = (int(window.shape[0]), int(window.shape[1]), int(window.shape[2]))
    known = [angle for volume in (first, second) for angle in volume.tilt_angles_deg or ()]
    angles = tilt_angles_deg if tilt_angles_deg is not None else known or None
    # What a window blends is not independent: the equivalent number of frequencies falls by this.
    squared, fourth = (sum(float((plane.astype(np.float64) ** power).sum()) for plane in window) for power in (2, 4))
    share = squared**2 / (window.size * fourth) / 2
    index, number = shell_index(shape, real=True)
    sums = {name: np.zeros((4, number)) for name in _region_names(angles)}
    for start in range(0, shape[0], _BLOCK):
        block = slice(start, min(start + _BLOCK, shape[0]))
        regions = _regions(shape, angles, block)
        a, b = (spectrum[block].to(torch.complex128) for spectrum in spectra)
        terms = ((a * b.conj()).real, a.abs().square(), b.abs().square(), torch.ones(a.shape, dtype=torch.float64))
        weight = friedel_weight(shape[2])
        for name, inside in regions.items():
            counted = weight * inside
            for row, term in enumerate(terms):
                total = torch.bincount(index[block].reshape(-1), (term * counted).reshape(-1), number + 1)
                sums[name][row] += total[:number].numpy()
    floor = _NO_POWER * sums["whole"][1:3].sum(axis=1) / sums["whole"][3].sum()
    curves = {name: ShellCurve(_correlation(parts, floor), np.asarray(parts[3] * share)) for name, parts in sums.items()}
    size = first.voxel_size_angstrom if first.voxel_size_angstrom is not None else second.voxel_size_angstrom
    return HalvesFsc(np.arange(number) / max(shape), curves, shape, size)


def _correlation(sums: "NDArray[np.float64]", floor: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return correlations of ``(4, shell)`` cross power, both powers, count; NaN without a frequency, 0 where one has no power."""
    cross, power_a, power_b, count = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        found = cross / np.sqrt(power_a * power_b)
    found = np.where((power_a <= floor[0] * count) | (power_b <= floor[1] * count), 0.0, found)
    return np.asarray(np.where(count > 0, found, np.nan))


def _region_names(angles: Sequence[float] | None) -> list[str]:
    return ["whole", "z", "y", "x", *(["cone", "wedge"] if angles is not None else [])]


def _regions(shape: tuple[int, int, int], angles: Sequence[float] | None, block: slice) -> dict[str, torch.Tensor]:
    """Return masks of a block of kz; zero frequency lies in none."""
    kz, ky, kx = (axis.double() for axis in frequency_grid(shape, real=True))
    kz = kz[block]
    length = (kz.square() + ky.square() + kx.square()).sqrt()
    some = length > 0
    near = math.cos(math.radians(HALF_ANGLE_DEG)) * length - 1e-12
    masks = {"whole": some} | {name: (axis.abs() >= near) & some for name, axis in (("z", kz), ("y", ky), ("x", kx))}
    if angles is not None:
        missing = missing_mask((shape[0], shape[2]), angles, real=True)[block, None, :]
        masks |= {"cone": some & ~missing, "wedge": some & missing}
    return masks


def read_density(volume: Volume) -> "NDArray[np.float32]":
    """Return all of a volume, ``(z, y, x)``.

    Raises
    ------
    InputError
        If a value is not finite.
    """
    nz, ny, nx = (int(n) for n in volume.array.shape)
    density = np.empty((nz, ny, nx), dtype=np.float32)
    for rows in slab_ranges(ny, chunk_rows((nz, ny, nx))):
        density[:, rows.start : rows.stop] = read_block(volume.array, volume.name, rows.start, rows.stop)
    finite = np.isfinite(density).all(axis=(0, 2))
    if not finite.all():
        raise InputError(f"NaN or infinite values in {volume.name}, y-row {int(np.argmin(finite))}: make it anew or mend it")
    return density


def taper_of(shape: tuple[int, int, int]) -> "NDArray[np.float32]":
    """Return the window of `wedge.rings.edge_taper` for a volume ``(z, y, x)``."""
    along_z, plane = edge_taper(shape[:1]), edge_taper(shape[1:])
    window = np.empty(shape, dtype=np.float32)
    for z, height in enumerate(along_z):
        window[z] = height * plane
    return window


def windowed_spectrum(density: "NDArray[np.float32]", window: "NDArray[np.float32]", name: str) -> torch.Tensor:
    """Return the half spectrum of a density, rid of its mean in the window, times the window.

    Raises
    ------
    InputError
        If it is constant.
    """
    # Plane by plane: float64 of a whole volume is gigabytes.
    total = sum(float(plane.sum(dtype=np.float64)) for plane in window)
    mean = sum(float((plane * weight.astype(np.float64)).sum()) for plane, weight in zip(density, window, strict=True)) / total
    windowed, largest = np.empty_like(window), 0.0
    for z, (plane, weight) in enumerate(zip(density, window, strict=True)):
        rest = plane - mean
        largest = max(largest, float(np.abs(rest[weight > 0]).max(initial=0)))
        windowed[z] = rest * weight
    if not largest > 1e-6 * abs(mean):
        raise InputError(f"the volume is constant, {mean:g} everywhere: {name}; nothing can be compared with it")
    return torch.fft.rfftn(torch.from_numpy(windowed))
