"""Coarser copies of a volume, for viewers: napari shows the coarsest one in 3-D, and ChimeraX loads it first."""

import numpy as np

LONGEST_SIDE = 256
"""The coarsest copy is at most this long, and more than half of it where the volume is."""


def level_shapes(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Return the ``(z, y, x)`` shapes of a volume and of its coarser copies, each half the size of the one before along every axis."""
    shapes = [shape]
    while max(shapes[-1]) > LONGEST_SIDE:
        z, y, x = (max(1, count // 2) for count in shapes[-1])
        shapes.append((z, y, x))
    return shapes


def level_scale(shape: tuple[int, int, int], level: int) -> tuple[float, float, float]:
    """Return the ``(z, y, x)`` spacing of a level in voxels of the volume."""
    z, y, x = (float(2 ** min(level, count.bit_length() - 1)) for count in shape)
    return z, y, x


def halve(block: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 2x2x2 values of ``(z, y, x)`` float32; an odd last plane is left out, a single one is kept."""
    for axis in range(block.ndim):
        block = halve_along(block, axis)
    return block


def halve_along(block: np.ndarray, axis: int) -> np.ndarray:
    """Return the means of pairs of values along one axis of float32; an odd last one is left out, and a single one is kept: no copy."""
    last = block.shape[axis] // 2 * 2
    if not last:
        return block
    even, odd = ((*(slice(None),) * axis, slice(start, last, 2)) for start in (0, 1))
    return (block[even] + block[odd]) / 2
