"""Dead and hot pixels, and spikes of X-rays: single pixels, or up to three that touch, far from all that is around them.

What stands out of its surroundings is not enough: gold beads and sharp edges do. A bad pixel stands out of its very neighbours too, by
more than half of its height, and is not one of more than three that touch and are half as high: a line of one pixel is, and of a ball three
pixels wide the neighbours of the middle are higher than that.
"""

from dataclasses import dataclass

import numpy as np

_NORMAL_QUARTILE = 0.6745
_THRESHOLD = 8.0  # standard deviations of the noise: of 10**8 good pixels about none reaches so far
_MOST_TOGETHER = 3  # bad pixels that touch
_SHARE = 0.5  # of its height: what is as high as that belongs to the same thing
_BLOCK_ROWS = 128


@dataclass(frozen=True)
class BadPixels:
    """How many pixels were found and replaced: in single views, and of the detector, in all views."""

    in_views: int
    of_detector: int
    num_pixels: int


def neighbourhoods(view: np.ndarray, reach: int) -> np.ndarray:
    """Return ``(y, x, (2 reach + 1)**2)``, each pixel's surroundings, edges reflected, the middle one being itself."""
    padded = np.pad(view, reach, mode="symmetric")
    size = 2 * reach + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size)).reshape(*view.shape, size * size)


def local_median(view: np.ndarray, reach: int = 2) -> np.ndarray:
    """Return the median of each pixel's surroundings ``(y, x)``, itself left out."""
    found = np.empty_like(view)
    for start in range(0, len(view), _BLOCK_ROWS):
        low, high = max(0, start - reach), min(len(view), start + _BLOCK_ROWS + reach)
        around = neighbourhoods(view[low:high], reach)[start - low : start - low + _BLOCK_ROWS]
        middle = around.shape[2] // 2
        found[start : start + _BLOCK_ROWS] = np.median(np.delete(around, middle, axis=2), axis=2)
    return found


def outliers(view: np.ndarray, median: np.ndarray, threshold: float = _THRESHOLD) -> np.ndarray:
    """Return which pixels ``(y, x)`` are far from their surroundings and their neighbours, alone or with up to two that touch.

    Parameters
    ----------
    view, median
        ``(y, x)``, and its `local_median`.
    threshold
        In standard deviations of the noise, of the whole view and around the pixel, whichever is more.
    """
    height = view - median
    overall = float(np.median(np.abs(height))) / _NORMAL_QUARTILE
    found = np.zeros(view.shape, dtype=bool)
    # Views without noise have medians of 0: then what is not as smooth as float32 can be stands out.
    least = max(overall, 1e-5 * float(np.abs(view).max()))
    rows, columns = np.nonzero(np.abs(height) > threshold * least)
    # Reflected without its border: a pixel in a corner is not three of its own neighbours.
    padded, heights = np.pad(view, 1, mode="reflect"), np.pad(np.abs(height), 2, mode="symmetric")
    for y, x in zip(rows, columns, strict=True):
        sign = np.sign(height[y, x])
        around = np.delete(padded[y : y + 3, x : x + 3].ravel(), 4) * sign
        step = view[y, x] * sign - np.sort(around)[-_MOST_TOGETHER]
        noise = float(np.median(heights[y : y + 5, x : x + 5])) / _NORMAL_QUARTILE
        apart = step > _SHARE * abs(height[y, x]) and step > threshold * max(least, noise)
        found[y, x] = apart and _is_small(height, int(y), int(x))
    return found


def _is_small(height: np.ndarray, y: int, x: int) -> bool:
    """Return whether at most three pixels that touch one another, this one among them, are half as high as this one."""
    least, sign = _SHARE * abs(height[y, x]), np.sign(height[y, x])
    known, ahead = {(y, x)}, [(y, x)]
    while ahead:
        row, column = ahead.pop()
        for other in range(max(0, row - 1), min(row + 2, height.shape[0])):
            for beside in range(max(0, column - 1), min(column + 2, height.shape[1])):
                if (other, beside) not in known and sign * height[other, beside] > least:
                    known.add((other, beside))
                    ahead.append((other, beside))
        if len(known) > _MOST_TOGETHER:
            return False
    return True


def replace_bad_pixels(views: np.ndarray, threshold: float = _THRESHOLD) -> BadPixels:
    """Replace bad pixels of ``(tilt, y, x)`` views in place by the median of their surroundings.

    A pixel that stands out of the mean over all views of views minus their local medians is bad in every view, however little of it shows
    in one: what it shows is the detector, for a specimen moves when it is tilted.
    """
    num_views, in_views = len(views), 0
    total = np.zeros(views.shape[1:], dtype=np.float64)
    for view in views:
        median = local_median(np.asarray(view))
        bad = outliers(np.asarray(view), median)
        view[bad] = median[bad]
        in_views += int(bad.sum())
        total += view - median
    mean = (total / num_views).astype(np.float32)
    fixed = outliers(mean, local_median(mean), threshold) if num_views > 4 else np.zeros(mean.shape, dtype=bool)
    if fixed.any():
        for view in views:
            view[fixed] = local_median(np.asarray(view))[fixed]
    return BadPixels(in_views, int(fixed.sum()), views.size)
