"""Poisson noise on projections, with a level from 0 (none) to 1 (severe).

A pixel that sees the mean projection of the series collects ``1 / eta**2`` expected counts, so its standard deviation is ``eta`` times
its value: 0.1 means 100 counts, 1 a single count. Everywhere ``mean(noisy) = p`` and ``var(noisy) = eta**2 * mean_projection * p``: noise
keeps the units and is unbiased, and where there is no density there is none.
"""

import numpy as np

from wedge.draws import seed_for
from wedge.errors import UsageError


def add_poisson(sinograms: np.ndarray, y_start: int, *, mean_projection: float, eta: float, seed: int) -> np.ndarray:
    """Return ``(y, tilt, x)`` float32 projections with Poisson noise, in their own units.

    Every row draws from a stream of its own, so the result does not depend on how rows are grouped.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)`` noise-free projections; small negative values of a projector's rounding count as 0.
    y_start
        The row of the whole series that ``sinograms[0]`` is.
    mean_projection
        Mean of the noise-free series; what ``eta`` refers to.
    eta
        Relative noise of a pixel of the mean projection, 0 to 1; 0 returns the input.
    seed
        The same seed gives the same noise.

    Raises
    ------
    UsageError
        If ``eta`` is not within 0 to 1 or the mean projection is not positive.
    """
    check_eta(eta)
    if eta == 0:
        return np.asarray(sinograms, dtype=np.float32)
    if not mean_projection > 0:
        raise UsageError(f"mean projection is {mean_projection}: Poisson noise needs a positive one")
    counts_per_unit = 1.0 / (eta**2 * mean_projection)
    noisy = np.empty(sinograms.shape, dtype=np.float32)
    for row, views in enumerate(sinograms):
        random = np.random.Generator(np.random.Philox(seed_for(seed, "poisson", y_start + row)))
        expected = np.maximum(views.astype(np.float64), 0.0) * counts_per_unit
        noisy[row] = random.poisson(expected) / counts_per_unit
    return noisy


def check_eta(eta: float) -> None:
    """Refuse a noise level outside 0 to 1 with a UsageError."""
    if not 0 <= eta <= 1:
        raise UsageError(f"noise level eta is {eta}: expected 0 (none) to 1 (severe)")
