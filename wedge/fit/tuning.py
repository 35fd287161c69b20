"""Settings that the data choose: small trial fits of some rows, judged on views that they have not seen.

Among the views held out are the outermost: they see into what becomes the missing wedge, and so tell how well a setting fills it. The error
is the mean squared residual, unweighted, so that noise counts as it is measured; it is the same noise for every setting.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.fit.batches import cut_slabs
from wedge.fit.build import Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.config import FitConfig
from wedge.fit.data_term import DataPart
from wedge.fit.loop import Fit, take_step
from wedge.fit.memory import MemoryPlan, release_unused
from wedge.fit.normalization import Normalization
from wedge.formats.views import SelectedViews
from wedge.lattice import FieldBox

SAMPLE_ROWS = 16
_TRIAL_PASSES = 120.0
_HELD_OUT_EVERY = 8
_CLEAN = 20.0  # signal to noise from which on noise plays no part
_BAND_LIMITED = 0.65  # blur in voxels from which on a finer lattice shows nothing more
_WORTH_IT = 0.004
_ALIKE = 0.08  # of what is not noise
_LEFT_BYTES = 16 * 2**20  # what trials leave of themselves in the process: the fit that follows must still fit
_BLURS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3)
_WEIGHTS = tuple(float(f"{10 ** (power / 2):.2g}") for power in range(-8, 5))


def views_to_judge_by(tilt_angles_deg: Sequence[float]) -> list[int]:
    """Return the views that trials do not see: both outermost and every eighth between; none where fewer than 8 views are left."""
    order = np.argsort(tilt_angles_deg, kind="stable")
    count = len(order)
    places = sorted({0, count - 1} | set(range(_HELD_OUT_EVERY // 2, count - _HELD_OUT_EVERY // 2, _HELD_OUT_EVERY)))
    return [] if count - len(places) < 8 else [int(order[place]) for place in places]


def split_views(tilts: TiltSeries, judges: Sequence[int]) -> list[DataPart]:
    """Return the part that trials fit, and the part that judges them."""
    parts = []
    kept = [view for view in range(tilts.geometry.num_tilts) if view not in set(judges)]
    for indices, held_out in ((kept, False), (sorted(judges), True)):
        geometry = tilts.geometry.with_views(indices)
        series = replace(tilts, array=SelectedViews(tilts.array, np.array(indices)), geometry=geometry)
        parts.append(DataPart(series, geometry, torch.ones(len(indices)), held_out))
    return parts


@dataclass
class Search:
    """A walk over settings, one at a time, that never asks for the same error twice.

    Parameters
    ----------
    error
        Of a setting, a dictionary of values.
    noise
        What every error holds of noise: the rest is what settings are compared by.
    tried
        Errors by setting, in the order of the trials.
    """

    error: Callable[[dict[str, Any]], float]
    noise: float = 0.0
    tried: list[tuple[dict[str, Any], float]] = field(default_factory=list)

    def of(self, setting: dict[str, Any]) -> float:
        """Return the error of a setting."""
        for known, value in self.tried:
            if known == setting:
                return value
        value = self.error(setting)
        self.tried.append((dict(setting), value))
        return value

    def better(self, setting: dict[str, Any], than: dict[str, Any]) -> bool:
        """Return whether a setting is worth a step: by more than 0.4 % of what is not noise."""
        return self.of(setting) < self.of(than) - _WORTH_IT * max(self.of(than) - self.noise, 0.0)

    def along(self, setting: dict[str, Any], key: str, values: Sequence[Any]) -> dict[str, Any]:
        """Return the setting with ``key`` at the lowest error, walking from where it is among ordered ``values`` as long as that helps."""
        place = int(np.argmin([abs(np.log((value + 0.05) / (setting[key] + 0.05))) for value in values]))
        best = {**setting, key: values[place]}
        for direction in (1, -1):
            at = place + direction
            moved = False
            while 0 <= at < len(values):
                other = {**best, key: values[at]}
                if not self.better(other, best):
                    break
                best, moved = other, True
                at += direction
            if moved:
                break
        return best

    def largest_alike(self, setting: dict[str, Any], key: str, values: Sequence[Any]) -> dict[str, Any]:
        """Return the setting with the largest of ordered ``values`` whose error is all but that of the setting.

        Held-out views see little of what a weight is for, the wedge: among those that they cannot tell apart the smoothest is the safest.
        """
        best = self.of(setting)
        bound = best + _ALIKE * max(best - self.noise, 0.0)
        for value in values:
            if value > setting[key] and self.of({**setting, key: value}) <= bound:
                setting = {**setting, key: value}
            elif value > setting[key]:
                break
        return setting


def tune_network(
    sample: TiltSeries,
    plugins: Plugins,
    config: FitConfig,
    normalization: Normalization,
    signal_to_noise: float,
    noise_std: float,
    device: torch.device,
    limit: int,
    full_rows: int,
    go_on: Callable[[], bool] = lambda: True,
) -> tuple[FitConfig, dict[str, Any]]:
    """Choose the settings that ``config.tune`` names.

    Parameters
    ----------
    sample
        Some rows, see `wedge.fit.sample`, in the geometry of the fitted box.
    signal_to_noise
        Of the views; where the walk begins depends on it, where it ends does not.
    full_rows
        Rows of the whole series.
    go_on
        Asked before every trial; once it is False the best so far is taken.

    Returns
    -------
    tuple
        The configuration with ``tune`` empty, and what was chosen, for the record.
    """
    judges = views_to_judge_by(sample.geometry.tilt_angles_deg)
    names = set(config.tune) - {"strength"}
    settled = config.model_copy(update={"tune": ()})
    if not names or not judges:
        return settled, {}
    parts = build_projectors(split_views(sample, judges), plugins, {1}, device)
    reserve = _reserve_bytes(sample, plugins, config, parts[0][1][1], full_rows)

    plans: list[MemoryPlan] = []

    def error(setting: dict[str, Any]) -> float:
        if not go_on():
            return float("inf")
        trial = _with(settled, setting).model_copy(
            update={"passes": min(config.passes, _TRIAL_PASSES), "oversampling": 1, "perturbation": 0.0, "hold_out": 0.0}
        )
        # Planned once: what a trial leaves in the process is there for the next one.
        plan = plans[0] if plans else None
        fit = build_fit(sample, plugins, trial, normalization, parts, device, limit, -reserve, plan=plan)
        plans.append(fit.plan)
        return _trial_error(fit)

    clean = signal_to_noise > _CLEAN
    setting = _first_setting(settled, names, clean)
    # What looks like noise in clean views is detail.
    search = Search(error, 0.0 if clean else (noise_std / normalization.scale) ** 2)
    try:
        for _ in range(2):
            before = dict(setting)
            if "blur_voxels" in names:
                setting = search.along(setting, "blur_voxels", _BLURS)
            if "regularizer" in names and config.regularizers:
                setting = search.along(setting, "regularizer", _WEIGHTS)
            if "weighting" in names:
                other = {**setting, "weighting": "plain" if setting["weighting"] == "ramp" else "ramp"}
                setting = other if search.better(other, setting) else setting
            if setting == before:
                break
        if clean and "regularizer" in names and config.regularizers:
            setting = search.largest_alike(setting, "regularizer", _WEIGHTS)
    finally:
        close_projectors(parts)
        release_unused()
    chosen: dict[str, Any] = {key: value for key, value in setting.items() if key in names}
    if "oversampling" in names and "blur_voxels" in names and setting["blur_voxels"] >= _BAND_LIMITED:
        chosen["oversampling"] = 1
    finite = [(tried, value) for tried, value in search.tried if np.isfinite(value)]
    record = {"trials": [{**tried, "held_out_error": value} for tried, value in finite]}
    return _with(settled, chosen), chosen | record


def _first_setting(config: FitConfig, names: Collection[str], clean: bool) -> dict[str, Any]:
    """Return where the walk begins: what is told, and for ``names`` what suits views that are clean or noisy."""
    setting: dict[str, Any] = {"blur_voxels": config.blur_voxels, "weighting": config.data_term.weighting}
    if config.regularizers:
        setting["regularizer"] = config.regularizers[0].weight
    if "blur_voxels" in names:
        setting["blur_voxels"] = 0.6 if clean else 1.2
    if "weighting" in names:
        setting["weighting"] = "ramp" if clean else "plain"
    if "regularizer" in names and config.regularizers and not clean:
        setting["regularizer"] = 0.1
    return setting


def _reserve_bytes(sample: TiltSeries, plugins: Plugins, config: FitConfig, projector: Projector, full_rows: int) -> int:
    """Return what the fit that follows will need beyond a trial: who has no room for it should hear so before the trials, not after."""
    with torch.random.fork_rng(devices=[]):
        network = plugins.network.build(FieldBox(sample.geometry.volume_shape))
    parameters = sum(part.numel() * part.element_size() for part in network.parameters())
    more_rows = 4 * parameters * (full_rows / sample.geometry.detector_shape[0] - 1)
    finer = config.oversampling**2 * projector.memory_bytes(1) if config.oversampling > 1 else 0
    return int(_LEFT_BYTES + more_rows + finer)


def _with(config: FitConfig, setting: dict[str, Any]) -> FitConfig:
    update: dict[str, Any] = {key: setting[key] for key in ("blur_voxels", "oversampling") if key in setting}
    if "weighting" in setting:
        update["data_term"] = config.data_term.model_copy(update={"weighting": setting["weighting"]})
    if "regularizer" in setting and config.regularizers:
        first = config.regularizers[0].model_copy(update={"weight": setting["regularizer"]})
        update["regularizers"] = (first, *config.regularizers[1:])
    return config.model_copy(update=update)


def _trial_error(fit: Fit) -> float:
    """Run a trial and return the mean squared residual of its held-out views."""
    for step in range(fit.num_steps):
        take_step(fit, step)
    num_rows = fit.box.shape[1]
    total = 0.0
    with torch.no_grad():
        for slab in cut_slabs([(0, num_rows)], fit.plan.slab_rows, 0, num_rows):
            density = fit.field(fit.sampling(0).lattice(slab.y_start, slab.y_stop))
            residuals = [term.residual(density, slab) for term in fit.held_out]
            total += sum(float(residual.square().sum()) for residual in residuals)
    rays = num_rows * sum(term.part.geometry.num_tilts for term in fit.held_out) * fit.held_out[0].part.geometry.detector_shape[1]
    return total / rays
