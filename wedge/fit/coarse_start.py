"""A start from coarser volumes, where there is something to start from.

From nothing, the first steps of a fit put density everywhere; the more voxels a ray crosses the more of it is too much, and the longer it
takes until all views agree on where it belongs. A volume of voxels four times as large takes a hundredth of the work. What it shows is the
start of one of voxels twice as large, and that the start of the fit.
"""

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from wedge.fit.batches import steps_per_pass
from wedge.fit.build import Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.config import FitConfig
from wedge.fit.data_term import DataTerm, whole_part
from wedge.fit.loop import Fit, predict, take_step
from wedge.fit.normalization import Normalization
from wedge.formats.window import window

_LEVELS = ((4, 1.0, 64), (2, 0.5, 48))
"""Times that voxels are larger, the steps of such a volume relative to those of the fit, and the voxels of the fit along z and x from which
on it is worth them: thinner ones are as soon where they go from nothing."""


def coarse_levels(fit: Fit) -> list[tuple[int, int]]:
    """Return how much larger the voxels of each volume are that a fit begins with, the coarsest first, and its steps."""
    if not callable(getattr(fit.field.network, "begin_with", None)) or not isinstance(fit.fitted[0], DataTerm):
        return []
    return [(factor, math.ceil(part * fit.num_steps)) for factor, part in _parts(fit.config, fit.box.shape)]


def relative_cost(config: FitConfig, shape: tuple[int, int, int], rows_per_step: int) -> float:
    """Return the work on coarser volumes relative to that of a fit of ``(z, y, x)`` voxels: a step's is in proportion to its voxels."""
    return sum(part / (factor**2 * min(factor, rows_per_step)) for factor, part in _parts(config, shape))


def _parts(config: FitConfig, shape: tuple[int, int, int]) -> list[tuple[int, float]]:
    """Return how much larger the voxels of each volume are, and its steps relative to those of the fit."""
    num_z, num_y, num_x = shape
    return [
        (factor, part * config.coarse_start)
        for factor, part, least in _LEVELS
        if config.coarse_start > 0 and min(num_z, num_x) >= least and num_y >= factor
    ]


def coarse_density(
    fit: Fit,
    plugins: Plugins,
    normalization: Normalization,
    limit: int,
    go_on: Callable[[], bool] = lambda: True,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor | None:
    """Return what coarser volumes show, as normalized density ``(y, z, x)`` of the fit's box; None where it begins with nothing.

    Parameters
    ----------
    limit
        Bytes that may be used.
    go_on
        Asked before every step; once it is False, what there is so far is returned.
    on_step
        Told now and then how many steps are done, and how many there are.
    """
    density, before, levels = None, 0, coarse_levels(fit)
    total = sum(steps for _, steps in levels)
    for place, (factor, steps) in enumerate(levels):
        if not go_on():
            break
        coarse, close = _coarser_fit(fit, plugins, normalization, limit, factor, steps)
        try:
            if density is not None:
                coarse.field.begin_with(_enlarged(density, levels[place - 1][0] // factor, coarse.box.shape))
            done = 0
            while done < steps and go_on():
                on_step(before + done, total)
                take_step(coarse, done)
                done += 1
            density = predict(coarse, max(0, done - 1), 0, coarse.box.shape[1], fit.device)
        finally:
            close()
        before += steps
    return None if density is None else _enlarged(density, levels[place][0], fit.box.shape)


def _coarser_fit(
    fit: Fit, plugins: Plugins, normalization: Normalization, limit: int, factor: int, steps: int
) -> tuple[Fit, Callable[[], None]]:
    """Return the like of a fit with voxels and pixels ``factor`` times as large, and what frees its projectors."""
    term = fit.fitted[0]
    assert isinstance(term, DataTerm)
    series = window(term.part.series, factor=factor)
    num_rows = series.geometry.detector_shape[0]
    rows = math.ceil(num_rows / steps_per_pass(fit.box.shape[1], fit.rows_per_step))
    passes = (steps - 0.5) / steps_per_pass(num_rows, rows)
    update = {"batch_rows": rows, "passes": passes, "blur_voxels": 0.0, "perturbation": 0.0, "hold_out": 0.0, "coarse_start": 0.0}
    # As many pixels as before are as long as one now.
    units = Normalization(normalization.offset, normalization.scale * factor, normalization.positive)
    parts = build_projectors([whole_part(series)], plugins, {1, fit.config.oversampling}, fit.device)
    held = sum(part.numel() * part.element_size() for part in fit.field.parameters())
    config = fit.config.model_copy(update=update)
    return build_fit(series, plugins, config, units, parts, fit.device, limit, -held), lambda: close_projectors(parts)


def _enlarged(density: torch.Tensor, factor: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return ``(y, z, x)`` density at voxels ``factor`` times smaller, of a box ``(z, y, x)`` that goes on a few voxels at the far ends."""
    finer = functional.interpolate(density[None, None], scale_factor=factor, mode="trilinear")
    missing = [count - have for have, count in zip(finer.shape[2:], (shape[1], shape[0], shape[2]), strict=True)]
    padding = [amount for missed in reversed(missing) for amount in (0, missed)]
    return (functional.pad(finer, padding, mode="replicate") if any(padding) else finer)[0, 0]
