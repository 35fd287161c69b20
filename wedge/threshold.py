"""Telling a specimen from its surroundings by density alone."""

import numpy as np

_BINS = 256


def otsu_threshold(values: np.ndarray) -> float:
    """Return the threshold that separates values best into two classes, of least variance within each.

    Parameters
    ----------
    values
        Any shape, finite; of more than a few million, give some.

    Notes
    -----
    Values are counted in 256 bins. Between two classes without values in between it is the middle of the gap. Of values that are all alike
    it is that value.

    References
    ----------
    N. Otsu, A threshold selection method from gray-level histograms, 1979, https://doi.org/10.1109/TSMC.1979.4310076
    """
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return low
    counts, edges = np.histogram(values, _BINS, (low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    # Both ends hold a value, so that neither class is ever empty.
    between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float((edges[1:-1][best[0]] + edges[1:-1][best[-1]]) / 2)
