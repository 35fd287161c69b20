"""Fourier ring correlation."""

import torch

from wedge.plugin_api import MetricContext, MetricResult, frequency_grid, friedel_weight, missing_mask
from wedge_metrics.correlation import ShellSums, band_values, curve_of, finite_mean, regions_of, resolutions


class Frc:
    """Fourier ring correlation of each y-slice, a (z, x) plane: whole, in the measured cone and in the missing wedge.

    The value is the mean over slices of each slice's mean over rings up to 0.5 cycles per voxel, zero frequency left out. The curve, the
    bands and the resolutions are those of the mean over slices. Slices whose reference is flat have no value and are left out.

    References
    ----------
    van Heel and Schatz (2005), https://doi.org/10.1016/j.jsb.2005.05.009
    """

    scope = "volume"
    better = "higher"

    def __init__(self, options: object = None) -> None:
        """Take no options."""

    def start(self, context: MetricContext) -> None:
        """Forget all rows."""
        self._context = context
        self._names = regions_of(context)
        self._rows: dict[str, list[torch.Tensor]] = {name: [] for name in self._names}

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Correlate each row."""
        nz, _, nx = self._context.shape
        device, angles = slices.device, self._context.tilt_angles_deg
        kz, kx = frequency_grid((nz, nx), real=True, device=device)
        missing = torch.zeros((), dtype=torch.bool, device=device) if angles is None else missing_mask((nz, nx), angles, True, device)
        sums = ShellSums(len(slices), max(nz, nx), device)
        a, b = (torch.fft.rfft2(rows.double()) for rows in (slices, references))
        sums.add(a, b, sums.shells(kz.double().square() + kx.double().square()), missing, friedel_weight(nx, device))
        for name in self._names:
            correlation, count = sums.region(name)
            self._rows[name].append(correlation)
            if name == "whole":
                self._frequencies, self._count = sums.frequencies, count[0]

    def finish(self) -> MetricResult:
        """Average over slices."""
        rows = {name: torch.cat(parts) for name, parts in self._rows.items()}
        per_slice = {name: [finite_mean(row) for row in parts] for name, parts in rows.items()}
        values = {
            "" if name == "whole" else name: finite_mean(torch.tensor(series, dtype=torch.float64)) for name, series in per_slice.items()
        }
        mean = {name: torch.nanmean(parts, dim=0) for name, parts in rows.items()}
        values |= band_values(self._frequencies, mean)
        shortest = min(self._context.shape[0], self._context.shape[2])
        sizes, note = resolutions(self._frequencies, mean["whole"], self._count, shortest, self._context.voxel_size_angstrom)
        note = "mean over y-slices and rings to 0.5 cycles/voxel, zero frequency left out; " + note
        flat = sum(value != value for value in per_slice["whole"])
        if flat:
            note += f"; {flat} of {len(per_slice['whole'])} y-slices left out: their reference is flat"
        if len(self._names) == 1:
            note += "; tilt angles unknown: neither cone nor wedge"
        return MetricResult(
            values={name: value for name, value in values.items() if name == "" or value == value} | sizes,
            per_slice=per_slice["whole"],
            curve=curve_of(self._frequencies, mean, self._count),
            note=note,
        )
