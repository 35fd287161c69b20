"""Errors that many views share: a tilt axis beside the middle, or leaning, and shifts that change slowly from view to view.

A view agrees with its neighbours however far both are off, so matching views one by one hardly sees such errors. They have few shapes:
``u(theta) = sum_j c_j b_j(theta)``, low polynomials of the angle less what a translation of the specimen explains. Each amplitude ``c_j``
is moved to the lowest point of the parabola through three held-out errors, at ``-h``, ``0`` and ``h``.
"""

from collections.abc import Callable

import numpy as np

from wedge.align.transforms import Floats, ViewTransforms

_STEP_PIXELS = 0.5
_STEP_DEG = 0.3
_FARTHEST_STEPS = 4.0
_LEAST_GAIN_OF_TURN = 5e-3  # a common turn is nearly free for a thin specimen: noise alone would find one


def slow_modes(tilt_angles_deg: tuple[float, ...], *, rotation: bool) -> list[ViewTransforms]:
    """Return moves of one step, half a pixel or some tenths of a degree rms: slow shifts along x, then along y, then rotations."""
    angles = np.deg2rad(np.asarray(tilt_angles_deg, dtype=np.float64))
    place = angles / max(float(np.abs(angles).max()), 1e-6)
    none = np.zeros(len(angles))
    gauge_x, gauge_y = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.ones((len(angles), 1))
    slow = [place**power for power in range(6)]
    along_x = [ViewTransforms(_STEP_PIXELS * shape, none, none) for shape in _orthonormal(gauge_x, slow)]
    along_y = [ViewTransforms(none, _STEP_PIXELS * shape, none) for shape in _orthonormal(gauge_y, slow[1:3])]
    lean = [np.ones(len(angles)), np.sin(angles)] if rotation else []
    turns = [ViewTransforms(none, none, _STEP_DEG * shape) for shape in _orthonormal(np.zeros((len(angles), 0)), lean)]
    return [*along_x, *along_y, *turns]


def improve(
    start: ViewTransforms, error: float, modes: list[ViewTransforms], error_of: Callable[[ViewTransforms], float]
) -> tuple[ViewTransforms, float]:
    """Return transforms moved along each mode in turn where that lowers the error, and their error.

    Parameters
    ----------
    start, error
        Transforms, and their held-out error.
    modes
        Moves of one step.
    error_of
        The held-out error of any transforms.
    """
    for mode in modes:
        below, above = (error_of(start.then(mode, side)) for side in (-1.0, 1.0))
        bend = below - 2 * error + above
        side = np.sign(below - above)
        steps = 0.5 * (below - above) / bend if bend > 0 else side * _FARTHEST_STEPS / 2
        steps = float(np.clip(steps, -_FARTHEST_STEPS, _FARTHEST_STEPS))
        tried = start.then(mode, steps)
        there = error_of(tried)
        if mode.rotation_deg.any() and there > (1 - _LEAST_GAIN_OF_TURN) * error:
            continue
        known = [(there, tried), (below, start.then(mode, -1.0)), (above, start.then(mode, 1.0)), (error, start)]
        error, start = min(known, key=lambda pair: pair[0])
    return start, error


def _orthonormal(gauge: Floats, shapes: list[Floats]) -> list[Floats]:
    """Return the shapes less the gauge and less one another, of rms 1; what is left of nothing is dropped."""
    basis = [column / np.linalg.norm(column) for column in np.linalg.qr(gauge)[0].T] if gauge.shape[1] else []
    kept = []
    for shape in shapes:
        rest = shape.copy()
        for _ in range(2):
            for known in basis:
                rest = rest - known * (known @ rest)
        length = np.linalg.norm(rest)
        if length > 1e-3 * np.linalg.norm(shape):
            basis.append(rest / length)
            kept.append(rest / length * np.sqrt(len(shape)))
    return kept
