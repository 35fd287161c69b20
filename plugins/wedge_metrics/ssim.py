"""Structural similarity."""

import math

import torch

from wedge.plugin_api import MetricContext, MetricResult
from wedge_metrics.windows import filter_axis, filter_slices, gaussian_window, mirror_note, mirror_to

WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03


class Ssim:
    """Structural similarity with a Gaussian window of 11 points, sigma 1.5, and population variances.

    The value is the mean over y-slices, each a (z, x) plane; ``volume`` is the similarity with a three-dimensional window, where there are
    11 rows. Only windows inside the image count. Sides under 11 are mirrored to 11.

    Notes
    -----
    Local moments are float64. The volume's come from those of the slices, filtered along y: ten rows are kept from slab to slab.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli (2004), https://doi.org/10.1109/TIP.2003.819861
    """

    scope = "volume"
    better = "higher"

    def __init__(self, options: object = None) -> None:
        """Take no options."""
        self._window = gaussian_window(WINDOW_SIZE, WINDOW_SIGMA)

    def start(self, context: MetricContext) -> None:
        """Forget all rows."""
        self._context = context
        self._per_slice: list[torch.Tensor] = []
        self._volume_rows: list[torch.Tensor] = []
        self._kept: torch.Tensor | None = None

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Compare each row, and every eleven rows."""
        moments = self._moments(mirror_to(slices.double(), WINDOW_SIZE), mirror_to(references.double(), WINDOW_SIZE))
        self._per_slice.append(self._similarity(moments).mean(dim=(1, 2)))
        joined = moments if self._kept is None else torch.cat([self._kept, moments], dim=1)
        if joined.shape[1] >= WINDOW_SIZE:
            self._volume_rows.append(self._similarity(filter_axis(joined, self._window, 1)).mean(dim=(1, 2)))
        self._kept = joined[:, -(WINDOW_SIZE - 1) :].clone()

    def finish(self) -> MetricResult:
        """Return the mean over slices, the volume's value and the series."""
        self._kept = None
        per_slice = [float(value) for value in torch.cat(self._per_slice).cpu()]
        values = {"": math.fsum(per_slice) / len(per_slice)}
        notes = [f"data range {self._context.data_range:.6g}; mean over y-slices, .volume with a 3-D window"]
        if self._volume_rows:
            rows = [float(value) for value in torch.cat(self._volume_rows).cpu()]
            values["volume"] = math.fsum(rows) / len(rows)
        else:
            notes.append(f"no .volume: fewer than {WINDOW_SIZE} rows")
        notes.append(mirror_note(self._context.shape, WINDOW_SIZE, "its window"))
        return MetricResult(values=values, per_slice=per_slice, note="; ".join(note for note in notes if note))

    def _moments(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return local means of a, b, a^2, b^2 and ab as ``(5, y, z, x)``."""
        return torch.stack([filter_slices(values, self._window) for values in (a, b, a * a, b * b, a * b)])

    def _similarity(self, moments: torch.Tensor) -> torch.Tensor:
        mean_a, mean_b, square_a, square_b, product = moments
        c1, c2 = (K1 * self._context.data_range) ** 2, (K2 * self._context.data_range) ** 2
        means = mean_a * mean_b
        mean_squares = mean_a**2 + mean_b**2
        covariance = product - means
        variances = square_a + square_b - mean_squares
        return (2 * means + c1) * (2 * covariance + c2) / ((mean_squares + c1) * (variances + c2))
