"""Comparing one volume after another with all that a command was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

    from wedge.cli.common import Advance
    from wedge.data import TiltSeries, Volume
    from wedge.evaluate import Evaluation
    from wedge.held_out import Views
    from wedge.registry import Resolved

OnViews = Callable[["Volume", "Views", "np.ndarray | None"], None]
"""Given a volume, its views beside the measured ones, and which of them it has not seen; None where nobody says."""


@dataclass(frozen=True)
class Comparison:
    """What every volume is compared with, and how."""

    truth: Volume | None
    series: TiltSeries | None
    metrics: list[tuple[str, Any]]
    projector: Resolved | None
    intensity_fit: Literal["affine", "none"]
    device: torch.device
    unseen: Sequence[int] | None = None
    on_views: OnViews | None = None

    @property
    def passes(self) -> int:
        """How often each row of a volume is read."""
        return 2 * (self.truth is not None) + 2 * (self.series is not None)

    def evaluate(self, volume: Volume, advance: Advance) -> Evaluation:
        """Return all that is found of one volume."""
        from functools import reduce

        from wedge.evaluate import Evaluation, evaluate, merged
        from wedge.intensity import IntensityFit

        found = []
        if self.truth is not None:
            series_angles = None if self.series is None else self.series.geometry.tilt_angles_deg
            angles = volume.tilt_angles_deg or series_angles
            found.append(
                evaluate(
                    volume, self.truth, self.metrics, intensity_fit=self.intensity_fit, tilt_angles_deg=angles, device=self.device,
                    on_progress=advance,
                )
            )  # fmt: skip
        if self.series is not None and self.projector is not None:
            found += self._by_views(volume, self.series, self.projector, advance)
        return reduce(merged, found) if found else Evaluation(volume.name, "", IntensityFit("none"))

    def _by_views(self, volume: Volume, series: TiltSeries, projector: Resolved, advance: Advance) -> list[Evaluation]:
        from wedge.agreement import agreement_geometry, evaluate_tilts
        from wedge.formats.views import places_in_stack
        from wedge.held_out import predict_views
        from wedge.view_scores import evaluate_views

        built = projector.build(agreement_geometry(volume, series), self.device)
        try:
            whole = evaluate_tilts(volume, series, built, intensity_fit=self.intensity_fit, device=self.device, on_progress=advance)
            if volume.tilt_angles_deg is None and self.unseen is None:
                if self.on_views is not None:
                    self.on_views(volume, predict_views(volume, series, built, device=self.device), None)
                advance(int(volume.array.shape[1]))
                note = "nobody says which views it was made from: name those that it has not seen by --unseen-views, or none"
                return [replace(whole, notes=whole.notes | {"": note})]
            places = places_in_stack(series.array)
            views = evaluate_views(
                volume, series, built, places, unseen=self.unseen, device=self.device, on_progress=advance, on_views=self.on_views
            )  # fmt: skip
            return [replace(views, intensity_fit=whole.intensity_fit), whole]
        finally:
            built.close()
