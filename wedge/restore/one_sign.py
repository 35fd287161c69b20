"""Density that turns out to have one sign once it is restored: its background is made flat.

Noisy views hardly tell whether density has one sign, and a fit that takes it for positive where it is not is a bad one. What a network has
made of them tells it: of density with both signs a quarter and more lies on the other side of the background, of density with one sign a
tenth. That tenth is what is left of noise and of the missing wedge.
"""

from dataclasses import dataclass

import torch

from wedge.fit.background import half_sample_mode

_ENOUGH = 200_000  # values to tell the background by


@dataclass(frozen=True)
class Background:
    """The level that density lies above, or for a negative ``sign`` below."""

    level: float
    sign: float

    def __str__(self) -> str:
        side = "below" if self.sign > 0 else "above"
        return f"density has one sign once it is restored: nothing {side} its background, {self.level:.6g}, is kept"

    def flat(self, density: torch.Tensor) -> torch.Tensor:
        """Return density without what lies on the other side."""
        return density.clamp_min(self.level) if self.sign > 0 else density.clamp_max(self.level)

    def in_units(self, scale: float, offset: float) -> "Background":
        """Return the background of density that is multiplied by a positive ``scale`` and has ``offset`` added."""
        return Background(self.level * scale + offset, self.sign)


def background_of(density: torch.Tensor, most: float) -> Background | None:
    """Return the background of density, the most frequent value, if it has one sign, None if not.

    Parameters
    ----------
    most
        Share of the absolute sum that may lie on the other side of the background.
    """
    if most <= 0:
        return None
    values = density.flatten()
    # An odd step meets all columns of a row.
    values = values[:: max(1, values.numel() // _ENOUGH) | 1].double()
    level = half_sample_mode(values.cpu().numpy())
    above, below = (values - level).clamp_min(0).sum(), (level - values).clamp_min(0).sum()
    total = float(above + below)
    for sign, other in ((1.0, below), (-1.0, above)):
        if total > 0 and float(other) <= most * total:
            return Background(level, sign)
    return None
