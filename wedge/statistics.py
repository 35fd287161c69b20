"""Intensity statistics of arrays that are seen block by block."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class RunningStatistics:
    """Least, largest, mean and standard deviation of the finite values seen so far, and the number of the others.

    Notes
    -----
    Means and squared deviations of blocks are combined in float64, so a large offset does not cancel the digits of the deviation.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, Am. Stat. 37, 242 (1983), doi:10.1080/00031305.1983.10483115.
    """

    count: int = 0
    num_not_finite: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = math.nan
    _squared_deviations: float = 0.0

    @property
    def std(self) -> float:
        """Standard deviation; NaN where nothing was seen."""
        return math.sqrt(self._squared_deviations / self.count) if self.count else math.nan

    def update(self, block: np.ndarray) -> None:
        """Take more values, of any shape."""
        values = block[np.isfinite(block)] if block.dtype.kind == "f" else block.ravel()
        self.num_not_finite += block.size - values.size
        if not values.size:
            return
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        mean = float(values.mean(dtype=np.float64))
        differences = np.subtract(values, mean, dtype=np.float64)
        deviations = float(np.vdot(differences, differences))
        before = 0.0 if self.count == 0 else self.mean
        total = self.count + values.size
        step = mean - before
        self._squared_deviations += deviations + step**2 * self.count * values.size / total
        self.mean = before + step * values.size / total
        self.count = total
