"""Compare a volume with a reference: fit intensities once, stream both by slabs through the metrics, and state what was done."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from wedge.contracts import Curve, MetricContext, MetricResult
from wedge.data import Volume
from wedge.errors import InputError, PluginError
from wedge.intensity import FitKind, IntensityFit, common_shape, correlation_of, fit_intensities, fit_notes, refuse_not_finite
from wedge.slabs import chunk_rows, read_slices, slab_ranges

_PLAIN = re.compile(r"\.[a-z]+$")
"""Of a metric's further values those named by one word are worth a look; bands and resolutions only on request."""
Progress = Callable[[int], None]
"""Told after each slab how many rows were done."""


@dataclass(frozen=True)
class Evaluation:
    """What was found about one volume.

    Parameters
    ----------
    volume, reference
        Names of what was compared.
    intensity_fit
        How intensities were matched first.
    data_range
        Largest minus smallest value of the reference; None against a tilt series.
    values
        Numbers by name: a metric's own, and ``metric.name`` for its others. Against a reference ``correlation``, Pearson's over all voxels,
        is always there: it depends neither on the fit nor on the range.
    per_slice
        One value per y-row, by metric.
    curves
        By metric.
    notes
        How to read a metric, by metric; general ones under "".
    """

    volume: str
    reference: str
    intensity_fit: IntensityFit
    data_range: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    per_slice: dict[str, list[float]] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data in which what is not a number is None, as JSON knows no NaN."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def evaluate(
    volume: Volume,
    reference: Volume,
    metrics: Sequence[tuple[str, Any]],
    *,
    intensity_fit: FitKind = "affine",
    tilt_angles_deg: Sequence[float] | None = None,
    slab_rows: int | None = None,
    device: torch.device | str = "cpu",
    on_progress: Progress | None = None,
) -> Evaluation:
    """Score a volume against a reference.

    Parameters
    ----------
    volume, reference
        ``(z, y, x)`` of one shape.
    metrics
        Pairs of a name and an instance, of slice or of volume scope. Names tell the results apart.
    intensity_fit
        "affine" matches scale and offset by least squares over all voxels, before anything is compared; "none" compares as it is.
    tilt_angles_deg
        Views that tell measured from missing frequencies; by default those that the volume was made from, or the reference.
    slab_rows
        Rows at once; by default those of a chunk. Results don't depend on it.
    device
        Where to compute.
    on_progress
        Called with the rows done; there are ``2 y`` of them, for both are read twice.

    Raises
    ------
    InputError
        If the shapes differ, a value is not finite, or the reference is constant.
    PluginError
        If a metric fails.

    Notes
    -----
    Peak memory is a slab of both volumes and what the metrics keep; those of Fourier shells keep two half spectra in main memory.
    """
    shape = common_shape([volume, reference])
    ranges = slab_ranges(shape[1], slab_rows or chunk_rows(shape))
    step = on_progress or _ignore
    fit, data_range, correlation = _match_intensities(volume, reference, ranges, intensity_fit, step)
    notes = fit_notes(fit)
    angles = tilt_angles_deg if tilt_angles_deg is not None else volume.tilt_angles_deg or reference.tilt_angles_deg
    known_angles = None if angles is None else tuple(float(angle) for angle in angles)
    context = MetricContext(shape, data_range, known_angles, _voxel_size(volume, reference, notes))
    runs = [_MetricRun(name, metric, context) for name, metric in metrics]
    with torch.no_grad():
        for rows, ours, theirs in _slabs(volume, reference, ranges):
            references = torch.from_numpy(theirs).to(device)
            slices = fit.apply(torch.from_numpy(ours).to(device))
            for run in runs:
                run.update(rows.start, slices, references)
            step(len(rows))
        evaluation = Evaluation(volume.name, reference.name, fit, data_range, values={"correlation": correlation})
        if notes:
            evaluation.notes[""] = "; ".join(notes)
        for run in runs:
            _collect(evaluation, run.name, run.finish())
    return evaluation


def _match_intensities(
    volume: Volume, reference: Volume, ranges: list[range], kind: FitKind, step: Progress
) -> tuple[IntensityFit, float, float]:
    """Return the fit, the reference's range and the correlation, from one pass."""
    sums: list[np.ndarray] = []
    low, high, count = math.inf, -math.inf, 0
    for rows, ours, theirs in _slabs(volume, reference, ranges):
        refuse_not_finite(ours, volume.name, rows)
        refuse_not_finite(theirs, reference.name, rows)
        low, high, count = min(low, float(theirs.min())), max(high, float(theirs.max())), count + ours.size
        a, b = ours.reshape(len(rows), -1).astype(np.float64), theirs.reshape(len(rows), -1).astype(np.float64)
        sums.append(np.stack([part.sum(axis=1) for part in (a, b, a * a, a * b, b * b)]))
        step(len(rows))
    if not high > low:
        raise InputError(f"the reference is constant, {low:g} everywhere: {reference.name}; nothing can be compared with it")
    moments = [math.fsum(series) for series in np.concatenate(sums, axis=1)]
    return fit_intensities(kind, count, moments[:4]), high - low, correlation_of(count, moments)


def _slabs(volume: Volume, reference: Volume, ranges: list[range]) -> Iterator[tuple[range, np.ndarray, np.ndarray]]:
    for rows in ranges:
        yield rows, read_slices(volume, rows.start, rows.stop), read_slices(reference, rows.start, rows.stop)


def _voxel_size(volume: Volume, reference: Volume, notes: list[str]) -> float | None:
    ours, theirs = volume.voxel_size_angstrom, reference.voxel_size_angstrom
    if ours is not None and theirs is not None and not math.isclose(ours, theirs, rel_tol=1e-3):
        notes.append(f"voxel sizes differ: {ours:g} A against the reference's {theirs:g} A, which is used")
    return theirs if theirs is not None else ours


class _MetricRun:
    """One metric over one volume; gives slice metrics the form of volume metrics, and its faults the metric's name."""

    def __init__(self, name: str, metric: Any, context: MetricContext) -> None:
        self.name, self._metric, self._context = name, metric, context
        self._rows: list[torch.Tensor] = []
        if metric.scope == "volume":
            metric.start(context)

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        if self._metric.scope == "volume":
            self._metric.update(y_start, slices, references)
            return
        values = self._metric(slices, references, self._context.data_range)
        if tuple(values.shape) != (len(slices),):
            raise PluginError(f"metric {self.name!r} returned shape {tuple(values.shape)} for {len(slices)} slices; update its plugin")
        self._rows.append(values)

    def finish(self) -> MetricResult:
        if self._metric.scope == "volume":
            result: MetricResult = self._metric.finish()
            return result
        per_slice = torch.cat(self._rows).double().cpu().tolist()
        defined = [value for value in per_slice if not math.isnan(value)]
        left_out = len(per_slice) - len(defined)
        note = "mean over y-slices" + (f"; {left_out} of {len(per_slice)} without a value left out" if left_out else "")
        return MetricResult({"": sum(defined) / len(defined) if defined else math.nan}, per_slice, note=note)


def _collect(evaluation: Evaluation, name: str, result: MetricResult) -> None:
    for key, value in result.values.items():
        evaluation.values[f"{name}.{key}" if key else name] = float(value)
    if result.per_slice is not None:
        evaluation.per_slice[name] = result.per_slice
    if result.curve is not None:
        evaluation.curves[name] = result.curve
    if result.note:
        evaluation.notes[name] = result.note


def headline_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the names of the values that a short table shows, in their order."""
    names = dict.fromkeys(name for evaluation in evaluations for name in evaluation.values)
    return [
        name for name in names if "." not in name or _PLAIN.search(name) or any(name in e.notes or name in e.per_slice for e in evaluations)
    ]


def merged(first: Evaluation, second: Evaluation) -> Evaluation:
    """Return an evaluation with the results of both; fit, range and reference are the first's."""
    return replace(
        first,
        values=first.values | second.values,
        per_slice=first.per_slice | second.per_slice,
        curves=first.curves | second.curves,
        notes=first.notes | second.notes,
    )


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _ignore(rows: int) -> None:
    """Nobody watches."""
