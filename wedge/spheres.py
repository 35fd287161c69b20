"""Hollow spheres that do not overlap: where they are, their voxels and their projections in closed form.

The specimen has density 1 in the shells and 0 elsewhere. With ``d`` the shortest side of the box, outer radii are log-uniform between
``max(3, d / 32)`` and ``0.3 d`` voxels (smaller where the box is tiny), shells are a quarter of the radius thick and at least 1.5 voxels,
and spheres are added until they fill a fifth of the box. They stay one voxel away from its faces and from each other.
Positions are in voxels from the centre of the box.
"""

import math
from dataclasses import dataclass

import numpy as np

from wedge.draws import seed_for
from wedge.errors import UsageError
from wedge.geometry import TiltGeometry

_SUB_LINES = 4
_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(4)


@dataclass(frozen=True)
class Spheres:
    """Hollow spheres in a box.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels of the box.
    centres
        ``(n, 3)`` float64, columns z, y, x, voxels from the centre of the box.
    outer_radii, inner_radii
        ``(n,)`` float64 in voxels.
    """

    shape: tuple[int, int, int]
    centres: np.ndarray
    outer_radii: np.ndarray
    inner_radii: np.ndarray

    @property
    def total_density(self) -> float:
        """Volume of all shells in voxels: what every untruncated view sums to."""
        return float(4 / 3 * math.pi * np.sum(self.outer_radii**3 - self.inner_radii**3))

    @property
    def balls(self) -> list[tuple[np.ndarray, float, float]]:
        """Centre, radius and sign of solid balls that add up to the specimen: the outer ones, less the inner ones."""
        pairs = zip(self.centres, self.outer_radii, self.inner_radii, strict=True)
        return [ball for centre, outer, inner in pairs for ball in ((centre, float(outer), 1.0), (centre, float(inner), -1.0))]


def make_spheres(shape: tuple[int, int, int], seed: int, fill: float = 0.2) -> Spheres:
    """Place hollow spheres at random, large ones first, each where it fits.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels of the box, 8 or more each.
    seed
        The same seed gives the same spheres.
    fill
        Share of the box inside outer radii that is aimed for; a sphere that finds no room in 1000 trials is left out.

    Raises
    ------
    UsageError
        If a side is below 8 voxels or ``fill`` is not within 0 to 0.3.
    """
    shortest = min(shape)
    if shortest < 8:
        raise UsageError(f"shape {tuple(shape)} is too small for spheres: every side needs 8 voxels or more")
    if not 0 < fill <= 0.3:
        raise UsageError(f"fill is {fill}: expected more than 0 and at most 0.3")
    random = np.random.Generator(np.random.Philox(seed_for(seed, "spheres")))
    largest = 0.3 * shortest
    smallest = min(max(3.0, shortest / 32), 0.6 * largest)
    wanted = fill * math.prod(shape)
    # The mean volume of the log-uniform law bounds the number of draws.
    mean_volume = 4 / 3 * math.pi * (largest**3 - smallest**3) / (3 * math.log(largest / smallest))
    radii = np.exp(random.uniform(math.log(smallest), math.log(largest), size=int(3 * wanted / mean_volume) + 8))
    volumes = np.cumsum(4 / 3 * math.pi * radii**3)
    radii = -np.sort(-radii[: max(1, int(np.searchsorted(volumes, wanted)))])
    centres, kept = _place(np.asarray(shape, dtype=np.float64), radii, random)
    return Spheres((shape[0], shape[1], shape[2]), centres, kept, kept - np.minimum(np.maximum(kept / 4, 1.5), 0.7 * kept))


def _place(box: np.ndarray, radii: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return centres ``(n, 3)`` and radii of those spheres that found room, in the order of ``radii``."""
    centres, kept = np.empty((len(radii), 3)), np.empty(len(radii))
    count = 0
    for radius in radii:
        room = box / 2 - radius - 1
        for trial in random.uniform(-1.0, 1.0, size=(1000, 3)) * room:
            distance_squared = np.sum((centres[:count] - trial) ** 2, axis=1)
            if np.all(distance_squared >= (kept[:count] + radius + 1) ** 2):
                centres[count], kept[count] = trial, radius
                count += 1
                break
    return centres[:count], kept[:count]


def rasterize(spheres: Spheres, y_start: int, y_stop: int) -> np.ndarray:
    """Return rows ``y_start`` to ``y_stop`` of the specimen as ``(y, z, x)`` float32: the share of each voxel that lies in a shell.

    Voxels on a surface are averaged over 4 x 4 lines, each with its exact length inside the ball.
    """
    nz, ny, nx = spheres.shape
    slices = np.zeros((y_stop - y_start, nz, nx), dtype=np.float32)
    for centre, radius, sign in spheres.balls:
        windows = [_window(centre[axis], radius, n) for axis, n in ((1, ny), (0, nz), (2, nx))]
        rows = slice(max(windows[0].start, y_start), min(windows[0].stop, y_stop))
        if rows.start >= rows.stop:
            continue
        y, z, x = (
            np.arange(part.start, part.stop) - (n - 1) / 2 - centre[axis]
            for part, axis, n in ((rows, 1, ny), (windows[1], 0, nz), (windows[2], 2, nx))
        )
        inside = slices[rows.start - y_start : rows.stop - y_start, windows[1], windows[2]]
        inside += np.float32(sign) * _ball_share(y, z, x, radius)
    return slices


def _window(centre: float, radius: float, count: int) -> slice:
    """Return the indices along an axis of ``count`` voxels that a ball can touch."""
    middle = centre + (count - 1) / 2
    return slice(max(0, math.floor(middle - radius)), min(count, math.ceil(middle + radius) + 1))


def _ball_share(y: np.ndarray, z: np.ndarray, x: np.ndarray, radius: float) -> np.ndarray:
    """Return the share of each voxel ``(y, z, x)``, given by centres relative to the ball's, that lies in the ball."""
    distance = np.sqrt((y[:, None, None] ** 2 + z[:, None] ** 2 + x**2).astype(np.float32))
    share = (distance < radius).astype(np.float32)
    iy, iz, ix = np.nonzero(np.abs(distance - radius) < 0.88)  # half of a voxel's diagonal and rounding
    # A ball looks the same along every axis: lines along the voxel's farthest axis meet the surface most squarely.
    a, b, c = np.sort(np.abs(np.stack([y[iy], z[iz], x[ix]])), axis=0)
    offsets = (np.arange(_SUB_LINES) + 0.5) / _SUB_LINES - 0.5
    total = np.zeros(len(ix))
    for da in offsets:
        for db in offsets:
            half = np.sqrt(np.maximum(radius**2 - (a + da) ** 2 - (b + db) ** 2, 0.0))
            total += np.maximum(np.minimum(c + 0.5, half) - np.maximum(c - 0.5, -half), 0.0)
    share[iy, iz, ix] = total / _SUB_LINES**2
    return share


def chords(spheres: Spheres, geometry: TiltGeometry, y_start: int, y_stop: int) -> np.ndarray:
    """Return rows of the projections as ``(y, tilt, x)`` float32: density times path length in detector pixels, without any projector.

    Chord lengths are averaged over each detector pixel: exactly across its width (the antiderivative of a chord's length), by four-point
    Gauss quadrature over the height of its row. Voxels must be as large as pixels, and there must be as many rows of both.

    Raises
    ------
    UsageError
        If the geometry is of another box, or has voxels of another size than its pixels.
    """
    if geometry.volume_shape != spheres.shape or geometry.detector_shape[0] != spheres.shape[1] or geometry.voxel_size_in_pixels != 1:
        raise UsageError(f"spheres in a box {spheres.shape} don't fit a geometry of {geometry.volume_shape} voxels")
    ny, nx = geometry.detector_shape
    angles = geometry.tilt_angles_rad
    centre_z, centre_x = geometry.volume_centre_pixels
    sinograms = np.zeros((y_stop - y_start, len(angles), nx))
    for centre, radius, sign in spheres.balls:
        window = _window(centre[1], radius, ny)
        rows = np.arange(max(window.start, y_start), min(window.stop, y_stop))
        if not len(rows):
            continue
        middle = (
            (centre[2] + centre_x) * np.cos(angles) + (centre[0] + centre_z) * np.sin(angles) + geometry.axis_offset_pixels + (nx - 1) / 2
        )
        first = np.floor(middle - radius).astype(np.int64)
        columns = first[:, None] + np.arange(math.ceil(2 * radius) + 3)
        edges = columns[:, :1] + np.arange(columns.shape[1] + 1) - 0.5 - middle[:, None]
        lengths = _row_average(rows - (ny - 1) / 2 - centre[1], edges, radius)
        seen = (columns >= 0) & (columns < nx)
        tilt, place = np.nonzero(seen)
        sinograms[rows[0] - y_start : rows[-1] + 1 - y_start, tilt, columns[seen]] += sign * lengths[:, tilt, place]
    return sinograms.astype(np.float32)


def _row_average(rows: np.ndarray, edges: np.ndarray, radius: float) -> np.ndarray:
    """Return mean chords ``(row, tilt, pixel)`` of a ball: ``rows`` and pixel ``edges`` (tilt, pixel + 1) are relative to its centre."""
    # A row that leaves the ball is integrated over its part inside, where chords are smooth.
    low, high = np.maximum(rows - 0.5, -radius), np.minimum(rows + 0.5, radius)
    height = np.maximum(high - low, 0.0)
    lengths = np.zeros((len(rows), edges.shape[0], edges.shape[1] - 1))
    for node, weight in zip(_GAUSS_NODES, _GAUSS_WEIGHTS, strict=True):
        reach = np.sqrt(np.maximum(radius**2 - ((low + high + node * height) / 2) ** 2, 0.0))[:, None, None]
        u = np.clip(edges, -reach, reach)
        area = u * np.sqrt(np.maximum(reach**2 - u**2, 0.0)) + reach**2 * np.arcsin(u / np.maximum(reach, 1e-12))
        lengths += (weight / 2 * height)[:, None, None] * np.diff(area, axis=2)
    return lengths
