"""Measuring volumes by all that a command was given: what ``evaluate`` and ``report`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wedge.cli.common import progress, resolve_device
from wedge.cli.comparison import Comparison, OnViews
from wedge.cli.without_reference import halves_evaluation, named_views, refuse_unknown, with_ranks, with_spread
from wedge.errors import UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    import torch

    from wedge.data import TiltSeries, Volume
    from wedge.evaluate import Evaluation
    from wedge.registry import Resolved

IntensityFitOption = Annotated[
    Literal["affine", "none"], typer.Option("--intensity-fit", help="Match scale and offset by least squares before comparing, or do not.")
]
ReferenceOption = Annotated[Path | None, typer.Option("--reference", metavar="REF", help="Volume to compare with.")]
TiltsOption = Annotated[
    Path | None, typer.Option("--tilts", metavar="TILTS", help="Tilt series that the projected volumes are compared with.")
]
HalvesOption = Annotated[
    tuple[Path, Path] | None,
    typer.Option("--halves", metavar="EVEN ODD", help="Two independent halves: how far they agree, and in which directions."),
]
MaskOption = Annotated[
    Path | None,
    typer.Option("--mask", metavar="FILE", help="With --halves: their agreement within a mask too, less what the mask itself makes."),
]
UnseenViewsOption = Annotated[
    str | None, typer.Option("--unseen-views", metavar="LIST|none", help="Views that volumes were not made from; default: what they say.")
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME[:KEY=VALUE,...]", help="Metrics, for example vif:variant=study; by default all."),
]


@dataclass(frozen=True)
class Question:
    """What is to be measured, with what, and how, as it was typed; UsageError where the views that it names make no sense."""

    volumes: Sequence[Path]
    reference: Path | None = None
    tilts: Path | None = None
    halves: tuple[Path, Path] | None = None
    mask: Path | None = None
    unseen_views: str | None = None
    metric: list[str] | None = None
    intensity_fit: Literal["affine", "none"] = "affine"
    projector: str | None = None
    projector_opt: list[str] | None = None
    device: str = "auto"
    reading: Reading = AS_STORED

    def __post_init__(self) -> None:
        _ = self.unseen

    @property
    def inputs(self) -> list[Path]:
        """All that is read."""
        return [*self.volumes, *(self.halves or ()), *(path for path in (self.reference, self.tilts, self.mask) if path is not None)]

    @property
    def unseen(self) -> tuple[int, ...] | None:
        """The places that ``--unseen-views`` names."""
        return named_views(self.unseen_views, self.tilts)


@dataclass(frozen=True)
class Opened:
    """What a question names, opened; nothing is measured yet."""

    question: Question
    volumes: list[Volume]
    truth: Volume | None
    series: TiltSeries | None
    halves: list[Volume]
    mask: Volume | None
    metrics: list[tuple[str, Any]]
    projector: Resolved | None
    device: torch.device

    @property
    def better(self) -> dict[str, str | float]:
        """Which way each metric is better: higher, lower, or the value that is right."""
        return {name: getattr(metric, "ideal", metric.better) for name, metric in self.metrics}

    @property
    def units(self) -> dict[str, str]:
        """The units of metrics that have one."""
        return {name: str(metric.unit) for name, metric in self.metrics if hasattr(metric, "unit")}

    @property
    def config(self) -> dict[str, Any]:
        """What the record of the measurement keeps."""
        names, question = [name for name, _ in self.metrics], self.question
        mask = {"mask": str(question.mask)} if question.mask else {}
        return {"metrics": names, "intensity_fit": question.intensity_fit, "unseen_views": question.unseen, **mask}


@dataclass(frozen=True)
class Answer:
    """What was measured: an evaluation of each volume, and of the two halves."""

    evaluations: list[Evaluation] = field(default_factory=list)
    halves: Evaluation | None = None


def open_question(question: Question, on_note: Callable[[str], None] | None = None) -> Opened:
    """Open all inputs, and refuse what does not fit before the first long computation."""
    from wedge import formats
    from wedge.intensity import common_shape

    unseen, size = question.unseen, question.reading.voxel_size_angstrom
    metrics = _metrics(question.metric) if question.reference is not None else []
    device = resolve_device(question.device)
    volumes = [formats.open_volume(path, voxel_size_angstrom=size) for path in question.volumes]
    truth = None if question.reference is None else formats.open_volume(question.reference, voxel_size_angstrom=size)
    series = None if question.tilts is None else formats.open_tilts(question.tilts, **question.reading.options())
    refuse_unknown(unseen, series)
    if truth is not None:
        common_shape([truth, *volumes])
    resolved = _projector(question.projector, question.projector_opt) if series is not None else None
    built = [(name, metric.build()) for name, metric in metrics]
    halves = [formats.open_volume(path, voxel_size_angstrom=size) for path in question.halves or ()]
    if halves:
        common_shape(halves)
    mask = None if question.mask is None else formats.open_volume(question.mask)
    return Opened(question, volumes, truth, series, halves, mask, built, resolved, device)


def measure(opened: Opened, on_views: OnViews | None = None) -> Answer:
    """Measure every volume, and the halves."""
    question = opened.question
    work = Comparison(
        opened.truth, opened.series, opened.metrics, opened.projector, question.intensity_fit, opened.device, question.unseen, on_views
    )
    with progress("evaluating", work.passes * sum(volume.array.shape[1] for volume in opened.volumes)) as advance:
        evaluations = with_ranks(with_spread([work.evaluate(volume, advance) for volume in opened.volumes], opened.volumes))
    return Answer(evaluations, halves_evaluation(opened.halves[0], opened.halves[1], opened.mask) if opened.halves else None)


def _metrics(choices: list[str] | None) -> list[tuple[str, Resolved]]:
    """Resolve ``name:key=value`` choices; what was typed names the result."""
    from wedge.defaults import load_defaults
    from wedge.options import parse_choice
    from wedge.registry import Registry

    chosen = choices or load_defaults()["metrics"]
    twice = {choice for choice in chosen if chosen.count(choice) > 1}
    if twice:
        raise UsageError(f"--metric {sorted(twice)[0]} is given twice: once will do")
    registry = Registry.load()
    return [(choice, registry.resolve("metric", *parse_choice(choice))) for choice in chosen]


def _projector(name: str | None, options: list[str] | None) -> Resolved:
    from wedge.defaults import load_defaults
    from wedge.options import parse_settings
    from wedge.registry import Registry

    return Registry.load().resolve("projector", name or load_defaults()["projector"], parse_settings(options or []))
