"""The surface of a density at a threshold, as triangles."""

import numpy as np

from wedge.plugin_api import otsu_threshold

_SAMPLED_VALUES = 2**21


def surface(slices: np.ndarray, threshold: float | None, most_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a closed surface of what is denser than a threshold.

    Parameters
    ----------
    slices
        ``(y, z, x)`` density; what is not finite counts as the lowest.
    threshold
        Density of the surface; None: Otsu's.
    most_faces
        More triangles than this are avoided by averaging blocks of voxels, twice as large each time.

    Returns
    -------
    vertices
        ``(n, 3)`` float32, x, y, z in points of ``slices`` from the middle of the volume.
    faces
        ``(m, 3)`` int32, places in ``vertices``, counterclockwise from outside; none where nothing is denser.

    Notes
    -----
    Naive surface nets: each cell of eight neighbouring points that the surface passes through has one vertex, the mean of where it crosses
    the cell's edges, and each such edge one quadrilateral between the four cells around it. Unlike marching cubes it needs no tables; its
    vertices lie within half a cell of the interpolated surface. Memory is some three times that of the volume, and half a
    kilobyte for each triangle.

    References
    ----------
    S. F. F. Gibson, Constrained elastic surface nets, MICCAI 1998, https://doi.org/10.1007/BFb0056277
    """
    finite = np.isfinite(slices)
    if not finite.all():
        slices = np.where(finite, slices, slices[finite].min() if finite.any() else 0.0)
    if threshold is None:
        threshold = otsu_threshold(slices.reshape(-1)[:: max(1, slices.size // _SAMPLED_VALUES)])
    middle = (np.array(slices.shape) - 1) / 2
    padded = _closed(slices, threshold)
    factors = np.ones(3)
    while 2 * _num_crossings(padded > threshold) > most_faces and max(slices.shape) > 3:
        factors *= [2 if count > 1 else 1 for count in slices.shape]
        slices = _halved(slices)
        padded = _closed(slices, threshold)
    vertices, faces = _nets(padded, threshold)
    # The middle of a block lies between its points; what fills no block is cut off at the far ends.
    y, z, x = ((vertices - 1) * factors + (factors - 1) / 2 - middle).T
    # A cyclic exchange of axes, which leaves the outside of a triangle where it was.
    return np.stack([x, y, z], axis=1).astype(np.float32), faces[:most_faces].astype(np.int32)


def _closed(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return it with a border of lower values: the surface closes where the specimen reaches the end of the volume."""
    low = min(float(values.min()), threshold - 1e-3 * max(1e-3, abs(threshold)))
    return np.pad(values.astype(np.float32), 1, constant_values=low)


def _num_crossings(inside: np.ndarray) -> int:
    return sum(int(np.count_nonzero(np.diff(inside, axis=axis))) for axis in range(3))


def _halved(values: np.ndarray) -> np.ndarray:
    for axis, count in enumerate(values.shape):
        if count > 1:
            even, odd = ([slice(None)] * axis + [slice(start, count // 2 * 2, 2)] for start in (0, 1))
            values = (values[tuple(even)] + values[tuple(odd)]) / 2
    return values


def _nets(padded: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices ``(n, 3)`` in indices of ``padded`` and triangles ``(m, 3)``, counterclockwise from outside."""
    inside = padded > threshold
    shape = np.array(padded.shape)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    cells, points, quads = [], [], []
    for axis in range(3):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        start = np.argwhere(inside[tuple(ahead)] != inside[tuple(behind)])
        first, second = padded[tuple(behind)][tuple(start.T)], padded[tuple(ahead)][tuple(start.T)]
        crossing = start.astype(np.float64)
        crossing[:, axis] += (threshold - first) / (second.astype(np.float64) - first)
        # The four cells around an edge, by their first corners, in the turning sense of the axis.
        one, other = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
        corner = start @ strides
        around = np.stack([corner - one - other, corner - other, corner, corner - one], axis=1)
        falls = inside[tuple(behind)][tuple(start.T)]
        quads.append(np.where(falls[:, None], around, around[:, ::-1]))
        cells.append(around.ravel())
        points.append(np.repeat(crossing, 4, axis=0))
    used, place = np.unique(np.concatenate(cells), return_inverse=True)
    count = np.maximum(np.bincount(place, minlength=len(used)), 1)
    all_points = np.concatenate(points)
    vertices = np.stack([np.bincount(place, all_points[:, axis], len(used)) / count for axis in range(3)], axis=1)
    corners = np.searchsorted(used, np.concatenate(quads))
    faces = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    return vertices, faces
