"""Lists of view transforms as IMOD's ``.xf``: one line ``A11 A12 A21 A22 DX DY`` a view.

A point ``(X, Y)`` of the given view, from its centre, comes to lie at ``(A11 X + A12 Y + DX, A21 X + A22 Y + DY)``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wedge.output import writing


def write_transform_list(path: str | Path, dx_pixels: Sequence[float], dy_pixels: Sequence[float], rotation_deg: Sequence[float]) -> None:
    """Write one rotation from x towards y, and the shift after it, for each view.

    Parameters
    ----------
    path
        Where to; what is there is replaced.
    dx_pixels, dy_pixels
        ``(tilt,)`` shifts in pixels.
    rotation_deg
        ``(tilt,)`` rotations in degrees.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    lines = []
    for dx, dy, turn in zip(dx_pixels, dy_pixels, np.deg2rad(np.asarray(rotation_deg, dtype=np.float64)), strict=True):
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        lines.append("".join(f"{v:12.7f}" for v in (cos, -sin, sin, cos)) + f"{dx:12.3f}{dy:12.3f}\n")
    with writing(Path(path)):
        Path(path).write_text("".join(lines))
