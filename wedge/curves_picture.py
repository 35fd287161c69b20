"""A picture of how far to trust volumes: errors over tilt angle, correlations over frequency."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wedge.output import writing

if TYPE_CHECKING:
    from wedge.evaluate import Evaluation

_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")


def trust_picture(volumes: "Sequence[Evaluation]", halves: "Evaluation | None", path: Path) -> None:
    """Write a PNG: error of each view over its angle and ring correlation with unseen views, by volume; shell correlation of halves.

    Parameters
    ----------
    volumes
        With the curves of `wedge.view_scores.evaluate_views`; others are left out.
    halves
        With the curve of shells, or None.

    Raises
    ------
    InputError
        If the picture cannot be written.
    """
    # The object interface only: a picture must not touch the caller's matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scored = [each for each in volumes if "views" in each.curves]
    panels: list[Any] = [lambda axis: _errors(axis, scored), lambda axis: _rings(axis, scored)] if scored else []
    panels += [lambda axis: _shells(axis, halves)] if halves is not None else []
    figure = Figure(figsize=(5.2 * len(panels), 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axis)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    with writing(path):
        figure.savefig(path, format="png")


def _errors(axis: Any, volumes: "Sequence[Evaluation]") -> None:
    for number, volume in enumerate(volumes):
        curve, colour = volume.curves["views"], _COLOURS[number % len(_COLOURS)]
        angles, unseen = np.asarray(curve.x), np.asarray(curve.series["unseen"]) > 0
        error = np.asarray(curve.series["error"])
        axis.plot(angles, error, color=colour, linewidth=0.6)
        axis.plot(angles[unseen], error[unseen], "o", color=colour, label=volume.volume)
        axis.plot(angles[~unseen], error[~unseen], "o", color=colour, fillstyle="none", markersize=3)
    axis.plot(volumes[0].curves["views"].x, volumes[0].curves["views"].series["noise"], ":", color="grey", label="noise alone")
    axis.set(xlabel="tilt angle in degrees", ylabel="relative error", ylim=(0, None), title="error by view: full, unseen")


def _rings(axis: Any, volumes: "Sequence[Evaluation]") -> None:
    for number, volume in enumerate(volumes):
        curve = volume.curves["view-frc"]
        name = "unseen" if "unseen" in curve.series else "seen"
        axis.plot(curve.x, curve.series[name], color=_COLOURS[number % len(_COLOURS)], label=f"{volume.volume}, {name}")
    axis.plot(volumes[0].curves["view-frc"].x, volumes[0].curves["view-frc"].series["limit"], ":", color="grey", label="limit by noise")
    axis.set(xlabel="cycles per pixel", ylabel="Fourier ring correlation", xlim=(0, 0.5), ylim=(-0.2, 1.02), title="views")


def _shells(axis: Any, halves: "Evaluation | None") -> None:
    curve = halves.curves["halves"] if halves is not None else None
    if curve is None:
        return
    # Of what a mask makes of them, the whole alone: names with a hyphen are of directions, or thresholds.
    names = [name for name in curve.series if "-" not in name]
    for number, name in enumerate(names):
        axis.plot(curve.x, curve.series[name], color=_COLOURS[number % len(_COLOURS)], linewidth=2 if name == "whole" else 1, label=name)
    axis.plot(curve.x, curve.series["half-bit"], ":", color="black", label="half-bit of the whole")
    axis.axhline(0.143, linestyle="--", color="grey", linewidth=0.8, label=".143")
    axis.set(xlabel="cycles per voxel", ylabel="Fourier shell correlation", xlim=(0, 0.5), ylim=(-0.2, 1.02), title="halves")
