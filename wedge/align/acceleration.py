"""Anderson's acceleration of the rounds of projection matching.

Moves ``f(u)`` at transforms ``u`` shrink quickly where views disagree with their neighbours, and slowly where the error is smooth in the
tilt angle, because neighbours then agree with one another. The next transforms are ``u + f - (dU + dF) g`` with ``g = argmin |f - dF g|``
over the latest differences ``dU`` and ``dF`` of transforms and moves: a secant step, which costs nothing.

References
----------
Walker and Ni (2011), Anderson acceleration for fixed-point iterations, https://doi.org/10.1137/10078356X
"""

import numpy as np
from numpy.typing import NDArray

from wedge.align.transforms import ViewTransforms

_MEMORY = 6
_SMALLEST_SINGULAR = 1e-2
_FARTHEST = 6.0  # times the plain move


class Acceleration:
    """Remembers transforms and moves, and proposes the next transforms.

    Parameters
    ----------
    half_width_pixels
        What turns an angle into pixels: the distance at which a rotation is felt.
    """

    def __init__(self, half_width_pixels: float) -> None:
        self._arm = np.deg2rad(max(half_width_pixels, 1.0))
        self._places: list[NDArray[np.float64]] = []
        self._moves: list[NDArray[np.float64]] = []

    def forget(self) -> None:
        """Start anew: the last proposal was no good."""
        self._places, self._moves = [], []

    def propose(self, at: ViewTransforms, move: ViewTransforms) -> ViewTransforms:
        """Return the next transforms, from those at hand and the move found there."""
        place, step = self._vector(at), self._vector(move)
        self._places, self._moves = [*self._places, place][-_MEMORY:], [*self._moves, step][-_MEMORY:]
        if len(self._places) < 2:
            return at.then(move)
        places, moves = (np.diff(np.stack(part), axis=0) for part in (self._places, self._moves))
        weights = np.linalg.lstsq(np.stack(list(moves), axis=1), step, rcond=_SMALLEST_SINGULAR)[0]
        change = step - weights @ (places + moves)
        limit = _FARTHEST * float(np.linalg.norm(step))
        change *= min(1.0, limit / max(float(np.linalg.norm(change)), 1e-12))
        return self._transforms(place + change)

    def _vector(self, transforms: ViewTransforms) -> NDArray[np.float64]:
        return np.concatenate([transforms.dx_pixels, transforms.dy_pixels, transforms.rotation_deg * self._arm])

    def _transforms(self, vector: NDArray[np.float64]) -> ViewTransforms:
        dx, dy, turn = np.split(vector, 3)
        return ViewTransforms(dx, dy, turn / self._arm)
