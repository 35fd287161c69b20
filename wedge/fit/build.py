"""A fit, put together from its components and its data."""

from dataclasses import dataclass, field

import torch

from wedge.contracts import Observer, Projector, Regularizer
from wedge.data import TiltSeries
from wedge.fit.config import FitConfig
from wedge.fit.data_term import DataPart, DataTerm, Perturbation
from wedge.fit.loop import Fit
from wedge.fit.memory import MemoryPlan, plan_memory
from wedge.fit.model import ADAM_EPSILON, build_field, build_optimizer, half_precision_pays
from wedge.fit.normalization import Normalization
from wedge.fit.sampling import finer_geometry
from wedge.lattice import FieldBox
from wedge.registry import Resolved


@dataclass
class Plugins:
    """The chosen components of a fit; regularizers in the order of ``FitConfig.regularizers``."""

    network: Resolved
    projector: Resolved
    regularizers: list[Resolved] = field(default_factory=list)
    observers: dict[str, Observer] = field(default_factory=dict)

    @property
    def distributions(self) -> list[str]:
        """The names of the distributions that they come from."""
        return sorted({part.entry.distribution for part in [self.network, self.projector, *self.regularizers]})


PartProjectors = tuple[DataPart, dict[int, Projector]]
"""A part of the data with its projectors, by points per voxel."""


def build_projectors(parts: list[DataPart], plugins: Plugins, factors: set[int], device: torch.device) -> list[PartProjectors]:
    """Build the projectors of every part, for lattices of each of ``factors`` points per voxel."""
    return [
        (part, {factor: plugins.projector.build(finer_geometry(part.geometry, factor), device) for factor in sorted(factors)})
        for part in parts
    ]


def close_projectors(parts: list[PartProjectors]) -> None:
    """Free what the projectors hold."""
    for _, projectors in parts:
        for projector in projectors.values():
            projector.close()


def build_fit(
    tilts: TiltSeries,
    plugins: Plugins,
    config: FitConfig,
    normalization: Normalization,
    parts: list[PartProjectors],
    device: torch.device,
    limit: int,
    built_bytes: int,
    noise_std: float = 0.0,
    plan: MemoryPlan | None = None,
) -> Fit:
    """Build the field, its optimizer and the data terms, and plan the memory unless that was done; the fitted part comes first."""
    geometry = tilts.geometry
    box = FieldBox(geometry.volume_shape)
    half = config.precision == "bfloat16" or (config.precision == "auto" and half_precision_pays(device))
    field_ = build_field(plugins.network, box, config.seed, normalization.positive, half, device, config.blur_voxels)
    regularizers: list[Regularizer] = [resolved.build(geometry) for resolved in plugins.regularizers]
    halo = max((regularizer.halo_rows for regularizer in regularizers), default=0)
    voxels = config.rows_per_step(box.shape[1]) * box.shape[0] * box.shape[2]
    epsilon = max(ADAM_EPSILON, config.gradient_floor / voxels)
    optimizer = build_optimizer(field_, config.learning_rate, config.adam_betas, epsilon)
    projectors = parts[0][1]
    finer = projectors[config.oversampling] if config.oversampling > 1 else None
    plan = plan or plan_memory(
        field_.network, projectors[1], geometry, config, halo, device, limit, finer, built_bytes, tilts.weights is not None
    )
    noise = Perturbation(config.perturbation * noise_std, config.seed)
    terms = [
        DataTerm(part, by_factor[1], normalization, config.data_term, device, plan.resident, by_factor, noise) for part, by_factor in parts
    ]
    return Fit(
        config,
        box,
        field_,
        optimizer,
        [term for term in terms if not term.part.held_out],
        [term for term in terms if term.part.held_out],
        list(zip(config.regularizers, regularizers, strict=True)),
        plan,
        device,
    )
