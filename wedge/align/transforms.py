"""How each view is turned and shifted to lie where the geometry says, and which shifts mean nothing.

A point of the given view at ``p = (x, y)`` from the middle of the detector comes to lie at ``R(phi) p + (dx, dy)``; ``R`` turns x to y.
A translation of the specimen by ``(tz, ty, tx)`` moves every view by ``dx = tx cos(theta) + tz sin(theta)``, ``dy = ty``: no data can tell
such shifts from none. They are taken out wherever transforms are found, so that views move as little as they need.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ViewTransforms:
    """One rotation and one shift for each view.

    Parameters
    ----------
    dx_pixels, dy_pixels
        ``(tilt,)``: shift after the rotation, in detector pixels.
    rotation_deg
        ``(tilt,)``: in-plane rotation about the middle of the detector, from x towards y, in degrees.
    """

    dx_pixels: Floats
    dy_pixels: Floats
    rotation_deg: Floats

    @classmethod
    def identity(cls, num_tilts: int) -> "ViewTransforms":
        """Return transforms that leave ``num_tilts`` views as they are."""
        return cls(np.zeros(num_tilts), np.zeros(num_tilts), np.zeros(num_tilts))

    @property
    def moves(self) -> bool:
        """Whether any view is moved at all."""
        return bool(np.any(self.dx_pixels) or np.any(self.dy_pixels) or np.any(self.rotation_deg))

    def of_views(self, indices: Sequence[int]) -> "ViewTransforms":
        """Return the transforms of some views, in this order."""
        chosen = list(indices)
        return ViewTransforms(self.dx_pixels[chosen], self.dy_pixels[chosen], self.rotation_deg[chosen])

    def to_arrays(self) -> tuple[Floats, Floats]:
        """Return ``(tilt, 2, 2)`` matrices and ``(tilt, 2)`` shifts, ``(x, y)`` both."""
        turns = np.deg2rad(self.rotation_deg)
        cos, sin = np.cos(turns), np.sin(turns)
        matrices = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
        return matrices, np.stack([self.dx_pixels, self.dy_pixels], axis=1)

    def scaled(self, factor: float) -> "ViewTransforms":
        """Return the same transforms in pixels that are ``1 / factor`` as large."""
        return ViewTransforms(self.dx_pixels * factor, self.dy_pixels * factor, self.rotation_deg)

    def then(self, later: "ViewTransforms", damping: float = 1.0) -> "ViewTransforms":
        """Return these transforms followed by ``damping`` times ``later``."""
        turn = np.deg2rad(damping * later.rotation_deg)
        cos, sin = np.cos(turn), np.sin(turn)
        return ViewTransforms(
            cos * self.dx_pixels - sin * self.dy_pixels + damping * later.dx_pixels,
            sin * self.dx_pixels + cos * self.dy_pixels + damping * later.dy_pixels,
            self.rotation_deg + damping * later.rotation_deg,
        )

    def gauge_fixed(self, tilt_angles_deg: "tuple[float, ...] | Floats") -> "ViewTransforms":
        """Return the transforms less the translation of the specimen that explains most of their shifts."""
        angles = np.deg2rad(np.asarray(tilt_angles_deg, dtype=np.float64))
        basis = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        found = np.linalg.lstsq(basis, self.dx_pixels, rcond=None)[0]
        return ViewTransforms(self.dx_pixels - basis @ found, self.dy_pixels - self.dy_pixels.mean(), self.rotation_deg)

    def without_lean(self, tilt_angles_deg: "tuple[float, ...] | Floats") -> "ViewTransforms":
        """Return the transforms less the part ``a cos(theta) + b sin(theta)`` of their rotations.

        It is what a specimen leaning about z or x would show: for a thin one it is nearly as free as a translation, and drifts.
        """
        angles = np.deg2rad(np.asarray(tilt_angles_deg, dtype=np.float64))
        basis = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        found = np.linalg.lstsq(basis, self.rotation_deg, rcond=None)[0]
        return ViewTransforms(self.dx_pixels, self.dy_pixels, self.rotation_deg - basis @ found)

    def rms_shift(self) -> float:
        """Return the root mean square over views of the length of the shift, in pixels."""
        return float(np.sqrt(np.mean(self.dx_pixels**2 + self.dy_pixels**2)))

    def rms_rotation(self) -> float:
        """Return the root mean square of the rotation, in degrees."""
        return float(np.sqrt(np.mean(self.rotation_deg**2)))

    def to_json(self) -> dict[str, list[float]]:
        """Return plain numbers, to be kept in a record."""
        return {name: [round(float(v), 4) for v in getattr(self, name)] for name in ("dx_pixels", "dy_pixels", "rotation_deg")}
