"""Two independent halves of one tilt series: the same views, taken or counted twice with noise of their own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wedge.data import ArrayLike3D, TiltSeries
from wedge.errors import InputError


class Combined:
    """One ``(tilt, y, x)`` float32 array of two of a shape, read and combined when it is asked for."""

    def __init__(self, first: ArrayLike3D, second: ArrayLike3D, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._first, self._second, self._combine = first, second, combine

    @property
    def source(self) -> ArrayLike3D:
        """The first of both: its views stand where these do."""
        return self._first

    @property
    def shape(self) -> tuple[int, ...]:
        """Counts along the three axes."""
        return self._first.shape

    @property
    def dtype(self) -> Any:
        """Type of one value."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part of both."""
        first, second = (np.asarray(part[key], dtype=np.float32) for part in (self._first, self._second))
        return np.asarray(self._combine(first, second))


def _mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first + second) / 2


@dataclass(frozen=True)
class Halves:
    """Both halves and their mean, which is what is fitted."""

    first: TiltSeries
    second: TiltSeries

    @property
    def mean(self) -> TiltSeries:
        """The mean of both, in the first one's geometry."""
        return replace(self.first, array=Combined(self.first.array, self.second.array, _mean))

    def noise_variance(self, read: Callable[[TiltSeries], np.ndarray], weights: np.ndarray) -> float:
        """Return the variance of the noise in the mean, of any colour, in what ``read`` takes of a series, where its weights are not 0."""
        squared = np.square((read(self.first) - read(self.second)) / 2)
        return float(squared[np.broadcast_to(weights > 0, squared.shape)].mean())


def pair_halves(first: TiltSeries, second: TiltSeries) -> Halves:
    """Return two halves of one series.

    Raises
    ------
    InputError
        If shapes or angles differ: they are not of the same views.
    """
    if first.array.shape != second.array.shape:
        raise InputError(
            f"halves differ in shape (tilt, y, x): {first.name} has {tuple(first.array.shape)}, {second.name} has "
            f"{tuple(second.array.shape)}; --half takes the same views a second time"
        )
    apart = np.abs(np.subtract(first.geometry.tilt_angles_deg, second.geometry.tilt_angles_deg)).max()
    if apart > 0.01:
        raise InputError(
            f"halves differ in tilt angles by up to {apart:.2f} degrees: {first.name}, {second.name}; "
            "--half takes the same views a second time"
        )
    if first.weights is not None and second.weights is not None:
        weights: ArrayLike3D | None = Combined(first.weights, second.weights, np.minimum)
    else:
        weights = first.weights if second.weights is None else second.weights
    # A ray counts in both or in neither: their difference is to be noise alone.
    return Halves(replace(first, weights=weights), replace(second, weights=weights))
