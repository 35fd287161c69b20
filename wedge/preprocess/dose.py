"""Weighting by dose: what the beam has destroyed is left out, fine detail first.

References
----------
Grant and Grigorieff, eLife 4 (2015) e06980, doi:10.7554/eLife.06980, for the critical exposure
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wedge.errors import InputError, UsageError
from wedge.geometry import TiltGeometry


def critical_exposure(frequency_per_angstrom: np.ndarray) -> np.ndarray:
    """Return the exposure in electrons per square angstrom that reduces the power at a frequency by e, at 300 kV; infinite at 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(0.245 * np.asarray(frequency_per_angstrom, np.float64) ** -1.665 + 2.81)


def attenuation(frequency_per_angstrom: np.ndarray, dose: float) -> np.ndarray:
    """Return what is left of amplitudes after a dose in electrons per square angstrom."""
    return np.asarray(np.exp(-dose / (2 * critical_exposure(frequency_per_angstrom))))


def weight_by_dose(views: np.ndarray, doses: Sequence[float], pixel_size_angstrom: float) -> None:
    """Attenuate ``(tilt, y, x)`` views in place, each by the dose that the specimen had taken before it; means stay as they are."""
    _, rows, width = views.shape
    # Views don't go on periodically: their mirror image does.
    ky, kx = (np.fft.fftfreq(2 * rows, pixel_size_angstrom), np.fft.rfftfreq(2 * width, pixel_size_angstrom))
    frequency = np.hypot(ky[:, None], kx)
    for view, dose in zip(views, doses, strict=True):
        padded = np.pad(np.asarray(view, np.float64), ((0, rows), (0, width)), mode="symmetric")
        spectrum = np.fft.rfft2(padded) * attenuation(frequency, dose)
        view[:] = np.fft.irfft2(spectrum, s=padded.shape)[:rows, :width]


def read_doses(path: Path, geometry: TiltGeometry) -> tuple[float, ...]:
    """Read a list of doses, one number a line for each view: what the specimen had taken before it, electrons per square angstrom.

    Raises
    ------
    InputError
        If it cannot be read, a line is no number, one is negative, or their number is not that of the views.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        doses = tuple(float(line) for line in lines if line and not line.startswith("#"))
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read doses from {path}: {error}; expected one number a line") from error
    if len(doses) != geometry.num_tilts:
        raise InputError(f"{len(doses)} doses in {path}, but {geometry.num_tilts} views: expected one line for each view that is read")
    if not all(0 <= dose < float("inf") for dose in doses):
        raise InputError(f"doses in {path} are not all 0 or more: expected electrons per square angstrom")
    return doses


def doses_of(geometry: TiltGeometry, path: Path | None) -> tuple[float, ...]:
    """Return the doses of a file, else what the series knows.

    Raises
    ------
    UsageError
        If neither knows doses, or the pixel size is not known.
    """
    if geometry.pixel_size_angstrom is None:
        raise UsageError("--dose-weight needs the pixel size, and nobody knows it: give --voxel-size")
    known = getattr(geometry, "dose_e_per_square_angstrom", None)
    if path is not None:
        return read_doses(path, geometry)
    if known is None:
        raise UsageError(
            "--dose-weight needs the dose before each view: give --dose FILE, one number a line, electrons per square angstrom"
        )
    return tuple(known)
