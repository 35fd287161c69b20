"""Rays that don't count: what stands in for what was measured on them."""

import numpy as np


def fill_along_rows(sinograms: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Return sinograms whose masked values are led over from the nearest others of the same view and row.

    Each row is filled from itself alone, so that nothing depends on how many rows are read at once.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)``; changed in place.
    masked
        ``(y, tilt, x)`` bool: True where the value is not to be looked at.

    Returns
    -------
    np.ndarray
        ``sinograms``: linear in x between the neighbours, constant beyond the outermost, and the row's mean over all views where a view
        has none. A row that is masked in all views becomes 0.
    """
    x = np.arange(sinograms.shape[2])
    for y in np.flatnonzero(masked.any(axis=(1, 2))):
        row, hidden = sinograms[y], masked[y]
        seen = row[~hidden]
        mean = float(seen.mean(dtype=np.float64)) if seen.size else 0.0
        for tilt in np.flatnonzero(hidden.any(axis=1)):
            out = hidden[tilt]
            row[tilt, out] = mean if out.all() else np.interp(x[out], x[~out], row[tilt, ~out])
    return sinograms
