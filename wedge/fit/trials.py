"""Small fits of some rows, judged on views that they have not seen.

Among the views held out are the outermost: they see into what becomes the missing wedge, and so tell how well a setting fills it. The error
is the mean squared residual, unweighted, so that noise counts as it is measured; it is the same noise for every setting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from wedge.data import TiltSeries
from wedge.fit.batches import Slab
from wedge.fit.build import PartProjectors, Plugins, build_fit, build_projectors, close_projectors
from wedge.fit.coarse_start import coarse_density
from wedge.fit.config import FitConfig
from wedge.fit.data_term import DataPart
from wedge.fit.loop import Fit, mean_over_rows, take_step
from wedge.fit.margin import judging_weights
from wedge.fit.memory import MemoryPlan
from wedge.fit.normalization import Normalization
from wedge.formats.views import views_of
from wedge.lattice import FieldBox
from wedge.out_of_memory import release_unused

_HELD_OUT_EVERY = 8
LEFT_BYTES = 16 * 2**20  # what trials leave of themselves in the process: the fit that follows must still fit


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
        series = views_of(tilts, indices)
        parts.append(DataPart(series, series.geometry, torch.ones(len(indices)), held_out))
    return parts


def with_setting(config: FitConfig, setting: dict[str, Any]) -> FitConfig:
    """Return the configuration with what is set of it, under these names; ``regularizer`` is the weight of the first."""
    update: dict[str, Any] = {key: setting[key] for key in ("blur_voxels", "oversampling", "learning_rate") if key in setting}
    terms: dict[str, Any] = {key: setting[key] for key in ("weighting", "rolloff") if key in setting}
    if terms:
        update["data_term"] = config.data_term.model_copy(update=terms)
    if "regularizer" in setting and config.regularizers:
        first = config.regularizers[0].model_copy(update={"weight": setting["regularizer"]})
        update["regularizers"] = (first, *config.regularizers[1:])
    return config.model_copy(update=update)


@dataclass
class Trials:
    """Trial fits of a sample of rows; close them when done.

    Parameters
    ----------
    sample
        Some rows, see `wedge.fit.sample`, in the geometry of the fitted box.
    config
        What all trials share.
    full_rows
        Rows of the whole series: the fit of them must have room after the trials.
    go_on
        Asked before every trial; once it is False, errors are infinite.
    """

    sample: TiltSeries
    plugins: Plugins
    config: FitConfig
    normalization: Normalization
    device: torch.device
    limit: int
    full_rows: int
    go_on: Callable[[], bool] = lambda: True
    _plan: MemoryPlan | None = None
    _starts: dict[tuple[object, ...], torch.Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build the projectors."""
        judges = views_to_judge_by(self.sample.geometry.tilt_angles_deg)
        factors = {1, self.config.oversampling}
        self._parts: list[PartProjectors] = build_projectors(split_views(self.sample, judges), self.plugins, factors, self.device)
        self._reserve = _reserve_bytes(self.sample, self.plugins, self.full_rows)

    def error(self, setting: dict[str, Any], passes: float) -> float:
        """Return the mean squared residual of the held-out views after a fit with a setting, see `with_setting`."""
        if not self.go_on():
            return float("inf")
        trial = with_setting(self.config, {"oversampling": 1} | setting)
        trial = trial.model_copy(update={"tune": (), "passes": min(trial.passes, passes), "perturbation": 0.0, "hold_out": 0.0})
        if self._plan is None:
            # Planned once, for the finest lattice: what a trial leaves in the process is there for the next one.
            self._plan = self._build(trial.model_copy(update={"oversampling": self.config.oversampling})).plan
        fit = self._build(trial)
        # As long as the fit, a trial begins as the fit will; others share a start.
        weight = setting.get("regularizer") if trial.passes == self.config.passes else None
        start = (trial.oversampling, trial.passes, weight)
        if start not in self._starts:
            self._starts[start] = coarse_density(fit, self.plugins, self.normalization, self.limit, self.go_on)
        density = self._starts[start]
        if density is not None:
            fit.field.begin_with(density)
        return _trial_error(fit, self.config.fitted_margin)

    def _build(self, config: FitConfig) -> Fit:
        sample, parts, reserve = self.sample, self._parts, self._reserve
        return build_fit(sample, self.plugins, config, self.normalization, parts, self.device, self.limit, -reserve, plan=self._plan)

    def close(self) -> None:
        """Free what the trials hold."""
        close_projectors(self._parts)
        release_unused()


def _reserve_bytes(sample: TiltSeries, plugins: Plugins, full_rows: int) -> int:
    """Return what the fit that follows will need beyond a trial: who has no room for it should hear so before the trials, not after."""
    with torch.random.fork_rng(devices=[]):
        network = plugins.network.build(FieldBox(sample.geometry.volume_shape))
    parameters = sum(part.numel() * part.element_size() for part in network.parameters())
    more_rows = 4 * parameters * (full_rows / sample.geometry.detector_shape[0] - 1)
    return int(LEFT_BYTES + more_rows)


def _trial_error(fit: Fit, margin: int) -> float:
    """Run a trial and return the mean squared residual of its held-out views, over the rays that may judge."""
    for step in range(fit.num_steps):
        take_step(fit, step)
    sampling = fit.sampling(fit.num_steps - 1)
    weights = [torch.from_numpy(judging_weights(term.part.geometry, margin)).to(fit.device) for term in fit.held_out]

    def squared(slab: Slab) -> torch.Tensor:
        density = fit.field(sampling.lattice(slab.y_start, slab.y_stop))
        residuals = [term.residual(density, slab, sampling.factor) for term in fit.held_out]
        return torch.stack([(each.square() * weight).sum() for each, weight in zip(residuals, weights, strict=True)]).sum() / slab.rows

    counted = sum(term.weighted_rays(weight.cpu().numpy()) for term, weight in zip(fit.held_out, weights, strict=True)) / fit.box.shape[1]
    return mean_over_rows(fit, squared) / max(counted, 1e-6)
