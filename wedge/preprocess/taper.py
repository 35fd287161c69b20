"""A soft edge: views that end in the middle of something make streaks of their borders."""

import numpy as np


def edge_window(size: int, width: int) -> np.ndarray:
    """Return ``(size,)`` weights, 1 inside, falling to 0 by a half cosine over the outer ``width`` pixels."""
    depth = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(depth / width, 0, 1)))


def taper_edges(views: np.ndarray, width: int) -> None:
    """Lead the borders of ``(tilt, y, x)`` views over to each view's mean, in place, over ``width`` pixels."""
    window = edge_window(views.shape[1], width)[:, None] * edge_window(views.shape[2], width)
    for view in views:
        mean = float(view.mean(dtype=np.float64))
        view[:] = mean + (view - mean) * window
