"""``wedge evaluate``: metrics of volumes against a reference, and their agreement with a tilt series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wedge.cli.common import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    ProjectorOption,
    ProjectorOptOption,
    emit,
    progress,
    resolve_device,
)
from wedge.cli.reading import reads_tilts
from wedge.cli.report import refuse_series, text, write_series
from wedge.errors import UsageError
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    import torch

    from wedge.cli.common import Advance
    from wedge.data import TiltSeries, Volume
    from wedge.evaluate import Evaluation
    from wedge.registry import Resolved

IntensityFitOption = Annotated[
    Literal["affine", "none"], typer.Option("--intensity-fit", help="Match scale and offset by least squares before comparing, or do not.")
]


@reads_tilts
def command(
    volumes: Annotated[list[Path], typer.Argument(metavar="VOLUME", help="Volumes to measure.")],
    reference: Annotated[Path | None, typer.Option("--reference", metavar="REF", help="Volume to compare with.")] = None,
    tilts: Annotated[
        Path | None, typer.Option("--tilts", metavar="TILTS", help="Tilt series that the projected volumes are compared with.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME[:KEY=VALUE,...]", help="Metrics, for example vif:variant=study; by default all."),
    ] = None,
    intensity_fit: IntensityFitOption = "affine",
    per_slice: Annotated[
        Path | None, typer.Option("--per-slice", metavar="FILE.csv", help="Write every metric's values by y-slice.")
    ] = None,
    curves: Annotated[
        Path | None, typer.Option("--curves", metavar="FILE.json", help="Write curves, as the Fourier shell correlation.")
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Show all values, bands and resolutions too.")] = False,
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Measure volumes against a reference volume, a tilt series, or both.

    Intensities are fitted once per volume and the fit is stated. With a tilt series the volume is projected and compared with the views:
    views that it was not made from are the test.
    """
    if reference is None and tilts is None:
        raise UsageError("nothing to compare with: give --reference, --tilts or both")
    if metric and reference is None:
        raise UsageError("--metric compares with a reference: give --reference too")
    from wedge import formats
    from wedge.intensity import common_shape
    from wedge.provenance import RunClock

    clock = RunClock()
    inputs = [*volumes, *(path for path in (reference, tilts) if path is not None)]
    refuse_series(per_slice, curves, inputs, overwrite)
    metrics = _metrics(metric) if reference is not None else []
    where = resolve_device(device)
    opened = [formats.open_volume(path, voxel_size_angstrom=reading.voxel_size_angstrom) for path in volumes]
    truth = None if reference is None else formats.open_volume(reference, voxel_size_angstrom=reading.voxel_size_angstrom)
    series = None
    if tilts is not None:
        series = formats.open_tilts(tilts, **reading.options())
    if truth is not None:
        common_shape([truth, *opened])  # before the first long computation
    work = _Work(truth, series, metrics, _projector(projector, projector_opt) if series is not None else None, intensity_fit, where)
    rows = sum(volume.array.shape[1] for volume in opened) * (2 * (truth is not None) + (series is not None))
    with progress("evaluating", rows) as advance:
        evaluations = [work.evaluate(volume, advance) for volume in opened]
    config = {"metrics": [name for name, _ in metrics], "intensity_fit": intensity_fit}
    record = clock.record(sys.argv, config, inputs=inputs, device=str(where))
    write_series(per_slice, curves, evaluations, record, overwrite)
    emit(_result(evaluations, reference, tilts, record), as_json=json, text=text(evaluations, details))


class _Work:
    """What every volume is compared with, and how."""

    def __init__(
        self,
        truth: Volume | None,
        series: TiltSeries | None,
        metrics: list[tuple[str, Resolved]],
        projector: Resolved | None,
        intensity_fit: Literal["affine", "none"],
        device: torch.device,
    ) -> None:
        self._truth, self._series, self._projector = truth, series, projector
        self._metrics = [(name, resolved.build()) for name, resolved in metrics]
        self._fit, self._device = intensity_fit, device

    def evaluate(self, volume: Volume, advance: Advance) -> Evaluation:
        from wedge.agreement import agreement_geometry, evaluate_tilts
        from wedge.evaluate import evaluate, merged

        found, geometry = [], None
        if self._series is not None:
            geometry = agreement_geometry(volume, self._series)
        if self._truth is not None:
            angles = volume.tilt_angles_deg or (None if geometry is None else geometry.tilt_angles_deg)
            found.append(
                evaluate(
                    volume,
                    self._truth,
                    self._metrics,
                    intensity_fit=self._fit,
                    tilt_angles_deg=angles,
                    device=self._device,
                    on_progress=advance,
                )
            )
        if self._series is not None and self._projector is not None:
            projector = self._projector.build(geometry, self._device)
            try:
                found.append(
                    evaluate_tilts(volume, self._series, projector, intensity_fit=self._fit, device=self._device, on_progress=advance)
                )
            finally:
                projector.close()
        return merged(*found) if len(found) == 2 else found[0]


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


def _result(evaluations: list[Evaluation], reference: Path | None, tilts: Path | None, record: dict[str, Any]) -> dict[str, Any]:
    """Return what ``--json`` prints: everything but the series, which have files of their own."""
    plain = [evaluation.to_json() for evaluation in evaluations]
    volumes = [{key: value for key, value in one.items() if key not in ("per_slice", "curves", "reference")} for one in plain]
    return {"reference": reference, "tilts": tilts, "volumes": volumes, "provenance": record}
