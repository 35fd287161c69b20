"""Fourier shell correlation."""

import torch

from wedge.plugin_api import MetricContext, MetricResult, frequency_grid, friedel_weight, missing_mask
from wedge_metrics.correlation import ShellSums, band_values, curve_of, finite_mean, regions_of, resolutions

_BLOCK_BYTES = 16 * 2**20


class Fsc:
    """Fourier shell correlation of the volume with the reference: whole, in the measured cone and in the missing wedge.

    The value is the mean over shells up to 0.5 cycles per voxel, each shell counting alike, zero frequency left out. ``cone`` and ``wedge``
    are the same of measured and of missing frequencies; further values are means over bands and the resolutions of the whole curve. A
    correlation does not depend on scale: read the one in the wedge together with ``wedge-energy``.

    Notes
    -----
    Slabs are transformed over z and x as they come; their half spectra are kept as complex64 in main memory, two of them of
    ``8 z y (x / 2 + 1)`` bytes, together about as much as both volumes. The transform along y is done at the end in blocks of about 16 MiB,
    in complex128. Volumes are not tapered at their edges.

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
        self._spectra: list[torch.Tensor] | None = None
        self._level: torch.Tensor | None = None

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Transform rows over z and x and keep them."""
        if self._spectra is None:
            nz, ny, nx = self._context.shape
            self._device = slices.device
            self._spectra = [torch.empty((ny, nz, nx // 2 + 1), dtype=torch.complex64) for _ in range(2)]
            # Any constant goes to zero frequency, which does not count: without a large one complex64 keeps more of the rest.
            self._level = references[0].double().mean()
        for spectrum, rows in zip(self._spectra, (slices, references), strict=True):
            spectrum[y_start : y_start + len(rows)] = torch.fft.rfft2(rows.double() - self._level).to(torch.complex64).cpu()

    def finish(self) -> MetricResult:
        """Transform along y and correlate."""
        sums = self._sum_shells()
        self._spectra = None
        names = regions_of(self._context)
        found = {name: sums.region(name) for name in names}
        correlations = {name: correlation[0] for name, (correlation, _) in found.items()}
        count = found["whole"][1][0]
        values = {"" if name == "whole" else name: finite_mean(correlations[name]) for name in names}
        values |= band_values(sums.frequencies, correlations)
        sizes, note = resolutions(
            sums.frequencies, correlations["whole"], count, min(self._context.shape), self._context.voxel_size_angstrom
        )
        note = "mean over shells to 0.5 cycles/voxel, zero frequency left out; " + note
        if len(names) == 1:
            note += "; tilt angles unknown: neither cone nor wedge"
        return MetricResult(
            values={name: value for name, value in values.items() if name == "" or value == value} | sizes,
            curve=curve_of(sums.frequencies, correlations, count),
            note=note,
        )

    def _sum_shells(self) -> ShellSums:
        assert self._spectra is not None
        nz, ny, nx = self._context.shape
        sums = ShellSums(1, max(nz, ny, nx), self._device)
        angles = self._context.tilt_angles_deg
        missing = torch.zeros((nz, nx // 2 + 1), dtype=torch.bool) if angles is None else missing_mask((nz, nx), angles, real=True)
        kz, ky, kx = frequency_grid((nz, ny, nx), real=True)
        squared_yx = ky.double().square() + kx.double().square()
        weight = friedel_weight(nx, self._device)
        rows = max(1, _BLOCK_BYTES // (16 * ny * (nx // 2 + 1)))
        for start in range(0, nz, rows):
            block = slice(start, start + rows)
            # Blocks are (z, y, x) here.
            a, b = (torch.fft.fft(part[:, block].to(self._device, torch.complex128), dim=0).transpose(0, 1) for part in self._spectra)
            shell = sums.shells((kz[block].double().square() + squared_yx).to(self._device))
            sums.add(a[None], b[None], shell, missing[block, None].to(self._device), weight)
        return sums
