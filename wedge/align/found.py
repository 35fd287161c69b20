"""What the search for an alignment has found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wedge.align.transforms import ViewTransforms


@dataclass
class Alignment:
    """What the search found.

    Parameters
    ----------
    transforms
        In given pixels, gauge fixed; nothing moves where ``applied`` is false.
    applied
        Whether the gain is worth a resampling.
    error_before, error_after
        Held-out error at the finest level of the series as given and as aligned: power of measured less predicted views, over that of
        the views.
    precision_pixels
        What a shift is uncertain by: half the root mean square by which two halves of the rows disagree.
    reason
        Why it was applied or not, in words.
    found
        The transforms that were found, applied or not.
    levels
        For each pixel size: binning, rounds, error at first and last.
    with_density
        How far views and density moved together, and how far that is known, see `wedge.align.with_density`; None where they did not.
    before_density
        What was applied before that; None where nothing came after.
    """

    transforms: ViewTransforms
    applied: bool
    error_before: float
    error_after: float
    precision_pixels: float
    reason: str
    found: ViewTransforms
    levels: list[dict[str, Any]] = field(default_factory=list)
    with_density: dict[str, Any] | None = None
    before_density: ViewTransforms | None = None

    @property
    def matched(self) -> ViewTransforms:
        """The transforms that matching alone would apply."""
        return self.transforms if self.before_density is None else self.before_density

    def summary(self) -> dict[str, Any]:
        """Return plain data for a record."""
        return {
            "applied": self.applied,
            "reason": self.reason,
            "rms_shift_pixels": round(self.found.rms_shift(), 4),
            "largest_shift_pixels": round(float(np.hypot(self.found.dx_pixels, self.found.dy_pixels).max()), 4),
            "rms_rotation_deg": round(self.found.rms_rotation(), 4),
            "held_out_error_before": round(self.error_before, 5),
            "held_out_error_after": round(self.error_after, 5),
            "precision_pixels": round(self.precision_pixels, 4),
            "levels": self.levels,
            "with_density": self.with_density,
            "transforms": self.transforms.to_json(),
        }
