"""Visual information fidelity in the pixel domain."""

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from wedge.plugin_api import MetricContext, MetricResult
from wedge_metrics.windows import filter_slices, gaussian_window, mirror_note, mirror_to

NUM_SCALES = 4
LEAST_SIDE = 41
"""Voxels that four scales with windows of 17, 9, 5 and 3 need."""
NOISE_VARIANCE = 2.0
_TINY = 1e-10
_FLAT = 1e-3
"""Share of the data range; a reference slice that varies less, as air around a specimen, has no information to find."""


class VifOptions(BaseModel):
    """Options of `Vif`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: Literal["standard", "study"] = Field(
        default="standard",
        description="standard: the data range is scaled to 0-255; study: to 0-1. The noise variance is 2 in both",
    )


class Vif:
    """Visual information fidelity, VIF-P: the information about the reference that a noisy eye finds in the image.

    Both images are scaled by one factor that takes the reference's range to ``peak``: 255 in the standard variant, 1 in the study's. The
    noise variance is 2 in both. On 0-1 it drowns the signal, the logarithms are nearly linear, and the study's variant is nearly the share
    of the reference's local variance that comes through, ``sum(g^2 sigma^2) / sum(sigma^2)``. The two are not comparable and may rank
    volumes differently.
    Values are means over y-slices, each a (z, x) plane; rows where the reference is flat have no value and are left out: its standard
    deviation is under a thousandth of the data range.

    Notes
    -----
    Sides under 41 are mirrored about their edges to 41, so that thin volumes keep all four scales; the note says so. Computed in float64.

    References
    ----------
    Sheikh and Bovik (2006), https://doi.org/10.1109/TIP.2005.859378
    """

    scope = "volume"
    better = "higher"

    def __init__(self, options: VifOptions | None = None) -> None:
        """Keep the options."""
        self._variant = (options or VifOptions()).variant
        self._peak = 255.0 if self._variant == "standard" else 1.0

    def start(self, context: MetricContext) -> None:
        """Forget all rows."""
        self._context = context
        self._rows: list[torch.Tensor] = []

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Compare each row."""
        factor = self._peak / self._context.data_range
        ours, theirs = (mirror_to(part.double() * factor, LEAST_SIDE) for part in (slices, references))
        flat = theirs.flatten(1).std(dim=1, correction=0) < _FLAT * self._peak
        self._rows.append(vif_slices(ours, theirs, NOISE_VARIANCE).masked_fill(flat, math.nan))

    def finish(self) -> MetricResult:
        """Return the mean over rows that have a value, and the series."""
        per_slice = [float(value) for value in torch.cat(self._rows).cpu()]
        defined = [value for value in per_slice if math.isfinite(value)]
        scaled = f"data range {self._context.data_range:.6g} scaled to {self._peak:g}, noise variance {NOISE_VARIANCE:g}"
        notes = [f"{self._variant} variant: {scaled}"]
        if len(defined) < len(per_slice):
            notes.append(f"{len(per_slice) - len(defined)} of {len(per_slice)} y-slices left out: their reference is flat")
        notes.append(mirror_note(self._context.shape, LEAST_SIDE, "four scales"))
        mean = math.fsum(defined) / len(defined) if defined else math.nan
        return MetricResult(values={"": mean}, per_slice=per_slice, note="; ".join(note for note in notes if note))


def vif_slices(images: torch.Tensor, references: torch.Tensor, noise_variance: float) -> torch.Tensor:
    """Return the VIF of each of two ``(y, z, x)`` float64 stacks, NaN where the reference is flat; sides of 41 or more."""
    found = torch.zeros(images.shape[0], dtype=torch.float64, device=images.device)
    present = torch.zeros_like(found)
    for scale in range(NUM_SCALES):
        size = 2 ** (NUM_SCALES - scale) + 1
        window = gaussian_window(size, size / 5)
        if scale > 0:
            images = filter_slices(images, window)[:, ::2, ::2]
            references = filter_slices(references, window)[:, ::2, ::2]
        gain, signal, distortion = _channel(images, references, window)
        found += torch.log1p(gain**2 * signal / (distortion + noise_variance)).sum(dim=(1, 2))
        present += torch.log1p(signal / noise_variance).sum(dim=(1, 2))
    return torch.where(present > _TINY, found / present, torch.full_like(found, math.nan))


def _channel(images: torch.Tensor, references: torch.Tensor, window: list[float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fit ``image = gain * reference + distortion`` in every window: return gain, the reference's variance and the distortion's."""
    mean_image, mean_reference = filter_slices(images, window), filter_slices(references, window)
    power = (filter_slices(images * images, window) - mean_image**2).clamp_(min=0)
    signal = (filter_slices(references * references, window) - mean_reference**2).clamp_(min=0)
    covariance = filter_slices(images * references, window) - mean_image * mean_reference
    flat, blank = signal < _TINY, power < _TINY
    gain = covariance / (signal + _TINY)
    distortion = power - gain * covariance
    signal = signal.masked_fill(flat, 0.0)
    gain = gain.masked_fill(flat | blank, 0.0)
    distortion = torch.where(flat, power, distortion).masked_fill(blank, 0.0)
    distortion = torch.where(gain < 0, power, distortion).clamp_(min=_TINY)
    return gain.clamp(min=0), signal, distortion
