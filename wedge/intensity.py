"""Matching the intensities of two arrays before they are compared, and refusing what cannot be compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wedge.data import Volume
from wedge.errors import InputError

if TYPE_CHECKING:
    import torch

FitKind = Literal["affine", "none"]


@dataclass(frozen=True)
class IntensityFit:
    """``scale * value + offset`` was compared with the reference.

    Parameters
    ----------
    kind
        "affine": scale and offset minimize the squared difference over the whole; "none": 1 and 0.
    scale, offset
        What was applied.
    """

    kind: FitKind
    scale: float = 1.0
    offset: float = 0.0

    def apply(self, values: "torch.Tensor") -> "torch.Tensor":
        """Return ``scale * values + offset`` as float32, computed in float64."""
        return values if self.kind == "none" else (values.double() * self.scale + self.offset).float()


def common_shape(volumes: Sequence[Volume]) -> tuple[int, int, int]:
    """Return the ``(z, y, x)`` shape that all volumes have.

    Raises
    ------
    InputError
        If two differ; the message names both.
    """
    first = volumes[0]
    for other in volumes[1:]:
        if tuple(other.array.shape) != tuple(first.array.shape):
            raise InputError(
                f"shapes (z, y, x) differ: {first.name} has {tuple(first.array.shape)}, {other.name} has {tuple(other.array.shape)}; "
                "crop or bin one to match the other"
            )
    nz, ny, nx = first.array.shape
    return int(nz), int(ny), int(nx)


def refuse_not_finite(block: np.ndarray, name: str, rows: range) -> None:
    """Refuse NaN and infinity in ``(y, z, x)`` rows.

    Raises
    ------
    InputError
        If there is any; the message says where.
    """
    if not np.isfinite(block).all():
        row = rows.start + int(np.argmin(np.isfinite(block).all(axis=(1, 2))))
        raise InputError(f"NaN or infinite values in {name}, y-row {row}: make it anew or mend it")


def fit_intensities(kind: FitKind, count: float, moments: Sequence[float]) -> IntensityFit:
    """Return the scale and offset that bring ``a`` closest to ``b``, from their ``(a, b, aa, ab)`` sums over ``count`` values."""
    if kind == "none":
        return IntensityFit("none")
    mean_a, mean_b, mean_aa, mean_ab = (total / count for total in moments)
    variance = mean_aa - mean_a**2
    scale = (mean_ab - mean_a * mean_b) / variance if variance > 1e-14 * mean_aa else 0.0
    return IntensityFit("affine", scale, mean_b - scale * mean_a)


def correlation_of(count: float, moments: Sequence[float]) -> float:
    """Return Pearson's correlation from ``(a, b, aa, ab, bb)`` sums over ``count`` values; 0 where ``a`` is constant."""
    mean_a, mean_b, mean_aa, mean_ab, mean_bb = (total / count for total in moments)
    variance_a, variance_b = mean_aa - mean_a**2, mean_bb - mean_b**2
    if not (variance_a > 1e-14 * mean_aa and variance_b > 0):
        return 0.0
    return max(-1.0, min(1.0, (mean_ab - mean_a * mean_b) / math.sqrt(variance_a * variance_b)))


def fit_notes(fit: IntensityFit) -> list[str]:
    """Return what a reader must know of a fit that went wrong."""
    if fit.scale == 0:
        return ["the volume is constant, nothing could be fitted"]
    return ["the fitted scale is negative: contrast is inverted against the reference"] if fit.scale < 0 else []
