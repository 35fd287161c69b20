"""Candidates for gold beads in single views: places that look like the projection of a ball."""

import math
from dataclasses import dataclass

import numpy as np

_AROUND = 1.7  # radii of a bead that a template reaches
_LEAST_CORRELATION = 0.5
_LEAST_HEIGHT = 8.0  # of a bead, in standard deviations of the noise
_MOST = 400  # candidates of a view


@dataclass(frozen=True)
class Candidates:
    """Places in one view, the highest first: ``y`` and ``x`` in pixels, and what the middle of the bead adds to its surroundings."""

    y: np.ndarray
    x: np.ndarray
    height: np.ndarray


def ball(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the projection of a ball, 1 in the middle, as square pixels average it, and the disc around it that it is compared within."""
    reach = math.ceil(_AROUND * radius + 1)
    fine = 5
    axis = (np.arange((2 * reach + 1) * fine) - ((2 * reach + 1) * fine - 1) / 2) / fine
    squared = axis[:, None] ** 2 + axis**2
    density = np.sqrt(np.clip(1 - squared / radius**2, 0, None))
    size = 2 * reach + 1
    template = density.reshape(size, fine, size, fine).mean(axis=(1, 3))
    around = np.arange(-reach, reach + 1)
    disc = around[:, None] ** 2 + around**2 <= (_AROUND * radius + 0.5) ** 2
    return template, disc


def compare(view: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return, at each pixel of a ``(y, x)`` view, the correlation with a ball within its disc, and the ball's height by least squares."""
    template, disc = ball(radius)
    count = int(disc.sum())
    shape = np.where(disc, template - template[disc].mean(), 0.0)
    power = float((shape**2).sum())
    reach = len(disc) // 2
    # What is constant is no bead; taking it away keeps the sums below small.
    padded = np.pad(np.asarray(view, np.float64) - float(np.median(view)), reach, mode="symmetric")
    transformed, squared = np.fft.rfft2(padded), np.fft.rfft2(padded**2)

    def sums(kernel: np.ndarray, of: np.ndarray) -> np.ndarray:
        # The kernels are symmetric: convolution and correlation are the same.
        spread = np.fft.irfft2(np.fft.rfft2(kernel, s=padded.shape) * of, s=padded.shape)
        return spread[2 * reach :, 2 * reach :]

    product, total, squares = sums(shape, transformed), sums(disc.astype(float), transformed), sums(disc.astype(float), squared)
    variance = np.maximum(squares - total**2 / count, 1e-12 * float(squares.max()) + 1e-300)
    return product / np.sqrt(power * variance), product / power


def bead_sign(views: np.ndarray, radius: float) -> int:
    """Return 1 where beads are brighter than what is around them, -1 where darker: which of both looks more like balls."""
    score = 0.0
    for view in views[:: max(1, len(views) // 5)]:
        correlation, height = compare(np.asarray(view), radius)
        alike = height * (np.abs(correlation) > _LEAST_CORRELATION)
        score += float(np.clip(alike, 0, None).max() + np.clip(alike, None, 0).min())
    return 1 if score >= 0 else -1


def find_candidates(view: np.ndarray, radius: float, sign: int) -> Candidates:
    """Return the places of a ``(y, x)`` view that look like beads of a radius in pixels, brighter (``sign`` 1) or darker (-1)."""
    correlation, height = compare(view, radius)
    correlation, height = sign * correlation, sign * height
    noise = 1.4826 * float(np.median(np.abs(height - np.median(height))))
    good = (correlation > _LEAST_CORRELATION) & (height > _LEAST_HEIGHT * noise)
    rows, columns = np.nonzero(good)
    found: list[tuple[int, int]] = []
    taken = np.zeros(view.shape, dtype=bool)
    apart = max(1, math.floor(1.2 * radius))
    for place in np.argsort(-correlation[rows, columns] * np.sqrt(height[rows, columns]), kind="stable"):
        y, x = int(rows[place]), int(columns[place])
        if taken[y, x]:
            continue
        taken[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = True
        found.append((y, x))
        if len(found) == _MOST:
            break
    refined = [_refined(correlation, y, x) for y, x in found]
    heights = np.array([height[y, x] for y, x in found])
    order = np.argsort(-heights, kind="stable") if found else np.zeros(0, int)
    places = np.array(refined, dtype=np.float64).reshape(-1, 2)[order]
    return Candidates(places[:, 0], places[:, 1], heights[order] if found else heights)


def _refined(values: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """Return the top of a parabola through a pixel and its neighbours, along y and x."""
    found = []
    for axis, place in ((0, y), (1, x)):
        line = values[:, x] if axis == 0 else values[y]
        if not 0 < place < len(line) - 1:
            found.append(float(place))
            continue
        before, middle, after = (float(line[place + step]) for step in (-1, 0, 1))
        bend = before - 2 * middle + after
        found.append(place + (float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0))
    return found[0], found[1]
