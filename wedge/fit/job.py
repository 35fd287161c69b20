"""What both kinds of fit are told, and what they tell."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from wedge.contracts import RunInfo
from wedge.data import TiltSeries
from wedge.fit.build import Plugins
from wedge.fit.config import FitConfig
from wedge.fit.data_term import DataPart, whole_part
from wedge.fit.halves import Halves
from wedge.fit.margin import widened
from wedge.fit.normalization import Normalization
from wedge.fit.observers import ObserverGroup


@dataclass(frozen=True)
class Reconstruction:
    """What a finished fit says of itself, beside the volume it wrote."""

    config: FitConfig
    normalization: Normalization
    plan: dict[str, Any]
    steps: int
    fit_seconds: float
    final: dict[str, float]
    held_out_error: float | None
    stopped_early: bool
    chosen: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return plain data for records and ``--json``."""
        return {
            "offset": self.normalization.offset,
            "scale": self.normalization.scale,
            "positive": self.normalization.positive,
            "method": self.config.method,
            "margin": self.config.margin,
            "chosen": {key: value for key, value in self.chosen.items() if key not in ("weights", "rest")},
            **self.plan,
            "steps": self.steps,
            "fit_seconds": self.fit_seconds,
            "final_loss": self.final,
            "held_out_error": self.held_out_error,
            "stopped_early": self.stopped_early,
        }


@dataclass
class Job:
    """A series with all that is known of its fit before it begins; ``tilts`` and ``halves`` are without the views in ``held_out``.

    ``steps_before`` counts what observers have been told of another part of the work.
    """

    tilts: TiltSeries
    halves: Halves | None
    plugins: Plugins
    config: FitConfig
    units: Normalization
    margin: int
    device: torch.device
    limit: int
    chosen: dict[str, Any] = field(default_factory=dict)
    noise_std: float = 0.0
    held_out: TiltSeries | None = None
    steps_before: int = 0
    observers: ObserverGroup = field(default_factory=lambda: ObserverGroup({}))

    def run_info(self, run_dir: Path, num_steps: int, first_step: int, config: FitConfig) -> RunInfo:
        """Return what observers are told when the fit starts."""
        shape = self.tilts.geometry.volume_shape
        told = config.model_dump(mode="json")
        return RunInfo(str(run_dir), num_steps, first_step, self.wide.geometry, told, shape, self.units.scale, str(self.device))

    @property
    def wide(self) -> TiltSeries:
        """The series around the fitted box, margins included."""
        return replace(self.tilts, geometry=widened(self.tilts.geometry, self.margin))

    @property
    def parts(self) -> list[DataPart]:
        """The views that are fitted and, where there are some, those that are held out, around the fitted box."""
        if self.held_out is None:
            return [whole_part(self.wide)]
        held = replace(self.held_out, geometry=widened(self.held_out.geometry, self.margin))
        return [whole_part(self.wide), whole_part(held, held_out=True)]

    def cropped(self, slices: torch.Tensor) -> torch.Tensor:
        """Return ``(y, z, x)`` slices of the fitted box without its margins."""
        return slices[:, :, self.margin : slices.shape[2] - self.margin]
