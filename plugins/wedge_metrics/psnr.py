"""Peak signal-to-noise ratio."""

import math

import torch

from wedge.plugin_api import MetricContext, MetricResult

CEILING_DB = 140.0
"""What identical slices score: beyond it differences are smaller than float32 resolves, and means would be infinite."""


class Psnr:
    r"""Peak signal-to-noise ratio ``10 log10(range^2 / mean squared error)`` in dB.

    The value is the mean over y-slices, each a (z, x) plane; ``volume`` is that of all voxels at once. At most `CEILING_DB`.
    Errors are summed in float64, row by row, so that the height of slabs does not matter.
    """

    scope = "volume"
    better = "higher"
    unit = "dB"

    def __init__(self, options: object = None) -> None:
        """Take no options."""

    def start(self, context: MetricContext) -> None:
        """Forget all errors."""
        self._range = context.data_range
        self._errors: list[torch.Tensor] = []

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Keep the mean squared error of each row."""
        difference = slices.double() - references.double()
        self._errors.append(difference.square_().mean(dim=(1, 2)))

    def finish(self) -> MetricResult:
        """Return the mean over slices, the whole volume's value and the series."""
        errors = [float(error) for error in torch.cat(self._errors).cpu()]
        per_slice = [self._decibel(error) for error in errors]
        return MetricResult(
            values={"": math.fsum(per_slice) / len(per_slice), "volume": self._decibel(math.fsum(errors) / len(errors))},
            per_slice=per_slice,
            note=f"dB; data range {self._range:.6g}; mean over y-slices, .volume over all voxels; at most {CEILING_DB:g} dB",
        )

    def _decibel(self, error: float) -> float:
        floor = 10 ** (-CEILING_DB / 10)
        return -10 * math.log10(max(error / self._range**2, floor))
