"""Beads taken out of views: their discs, and what fills them."""

from collections.abc import Sequence

import numpy as np

from wedge.draws import seed_for
from wedge.preprocess.gold_track import Bead

_HALO = 1.0  # pixels around a bead that a detector smears it over
_STEPS = 400
_NORMAL_QUARTILE = 0.6745


def bead_mask(shape: tuple[int, int], places: np.ndarray, radius: float) -> np.ndarray:
    """Return which pixels of a ``(y, x)`` view lie in a disc around one of ``(bead, 2)`` places."""
    mask = np.zeros(shape, dtype=bool)
    reach = int(np.ceil(radius))
    for y, x in places:
        rows = np.arange(max(0, int(y) - reach), min(shape[0], int(y) + reach + 2))
        columns = np.arange(max(0, int(x) - reach), min(shape[1], int(x) + reach + 2))
        if rows.size and columns.size:
            disc = (rows[:, None] - y) ** 2 + (columns - x) ** 2 <= radius**2
            mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= disc
    return mask


def hidden_by(beads: Sequence[Bead], shape: tuple[int, int], tilt: int, radius: float) -> np.ndarray:
    """Return the pixels of one ``(y, x)`` view that beads of a radius in pixels hide."""
    return bead_mask(shape, np.array([bead.places[tilt] for bead in beads]).reshape(-1, 2), radius + _HALO)


def smooth_fill(view: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a ``(y, x)`` view whose masked pixels are led over smoothly from those around them: a membrane over the hole.

    Each connected hole has its own patch; the membrane is found by relaxation, started from rows and columns interpolated.
    """
    filled = np.asarray(view, np.float64).copy()
    if not mask.any() or mask.all():
        return filled
    filled[mask] = _first_guess(filled, mask)[mask]
    rows, columns = np.nonzero(mask)
    below, above = np.minimum(rows + 1, view.shape[0] - 1), np.maximum(rows - 1, 0)
    right, left = np.minimum(columns + 1, view.shape[1] - 1), np.maximum(columns - 1, 0)
    even = (rows + columns) % 2 == 0
    for step in range(_STEPS):
        # Over-relaxed, every second pixel in turn.
        for half in (even, ~even):
            r, c = rows[half], columns[half]
            mean = (filled[below[half], c] + filled[above[half], c] + filled[r, right[half]] + filled[r, left[half]]) / 4
            change = mean - filled[r, c]
            filled[r, c] += (1.7 if step < _STEPS - 5 else 1.0) * change
    return filled


def _first_guess(view: np.ndarray, mask: np.ndarray) -> np.ndarray:
    guess = np.zeros_like(view)
    weight = np.zeros_like(view)
    for axis in (0, 1):
        values, hidden = (view, mask) if axis == 1 else (view.T, mask.T)
        out, count = (guess, weight) if axis == 1 else (guess.T, weight.T)
        for line in np.flatnonzero(hidden.any(axis=1)):
            gone = hidden[line]
            if gone.all():
                continue
            places = np.arange(len(gone))
            out[line, gone] += np.interp(places[gone], places[~gone], values[line, ~gone])
            count[line, gone] += 1
    return np.where(weight > 0, guess / np.maximum(weight, 1), float(np.median(view[~mask])))


def noise_around(view: np.ndarray, mask: np.ndarray) -> float:
    """Return the standard deviation of white noise near the masked pixels of a ``(y, x)`` view, from second differences along x."""
    near = np.zeros_like(mask)
    for row in (-6, -3, 0, 3, 6):
        for column in (-6, -3, 0, 3, 6):
            near |= np.roll(mask, (row, column), (0, 1))
    differences = np.diff(np.asarray(view, np.float64), n=2, axis=1)
    free = ~(mask[:, 2:] | mask[:, 1:-1] | mask[:, :-2])
    chosen = differences[near[:, 1:-1] & free]
    chosen = chosen if chosen.size > 20 else differences[free]
    return float(np.median(np.abs(chosen))) / (_NORMAL_QUARTILE * np.sqrt(6)) if chosen.size else 0.0


def fill_beads(view: np.ndarray, mask: np.ndarray, tilt: int, *, noise: bool, seed: int = 0) -> None:
    """Fill the hidden pixels of a ``(y, x)`` view in place by what is around them; with noise like theirs, drawn by seed and view."""
    if not mask.any():
        return
    filled = smooth_fill(np.asarray(view), mask)[mask]
    if noise:
        random = np.random.Generator(np.random.Philox(seed_for(seed, "gold", tilt)))
        filled = filled + random.normal(scale=noise_around(np.asarray(view), mask), size=len(filled))
    view[mask] = filled
