"""Sums over Fourier shells, and the correlations, bands and resolutions that follow from them."""

import math

import torch

from wedge.plugin_api import BANDS, Curve, MetricContext, band_means, first_crossing, half_bit_threshold

THRESHOLDS = (0.143, 0.5)
_NO_POWER = 1e-20


class ShellSums:
    """Cross and auto power of two images in shells, split by whether a frequency was measured.

    Parameters
    ----------
    batch
        How many images are summed side by side.
    longest
        The longest side in voxels: shells are ``1 / longest`` cycles per voxel wide, up to 0.5; zero frequency is left out.
    device
        Where the sums are.
    """

    def __init__(self, batch: int, longest: int, device: torch.device) -> None:
        self.num_shells = longest // 2 + 1
        self._longest = longest
        # One bin more than there are shells takes the corners beyond Nyquist; two halves: measured, missing.
        self._sums = torch.zeros((4, batch, 2 * (self.num_shells + 1)), dtype=torch.float64, device=device)

    def shells(self, squared_frequency: torch.Tensor) -> torch.Tensor:
        """Return the shell of each squared frequency, the same as `wedge.fourier.shell_index`, and corners for zero frequency."""
        shell = torch.floor(torch.sqrt(squared_frequency.double()) * self._longest + 0.5 - 1e-6).long().clamp_max(self.num_shells)
        return shell.masked_fill(squared_frequency == 0, self.num_shells)

    def add(self, a: torch.Tensor, b: torch.Tensor, shell: torch.Tensor, missing: torch.Tensor, weight: torch.Tensor) -> None:
        """Add complex ``(batch, ...)`` spectra; the others broadcast to the trailing axes. ``weight`` counts Friedel mates."""
        tail = a.shape[1:]
        place = (shell + missing.long() * (self.num_shells + 1)).expand(tail).reshape(-1)
        weight = weight.expand(tail)
        terms = (a.real * b.real + a.imag * b.imag, a.real.square() + a.imag.square(), b.real.square() + b.imag.square())
        for target, term in zip(self._sums[:3], terms, strict=True):
            target.index_add_(1, place, (term * weight).reshape(len(term), -1))
        self._sums[3].index_add_(1, place, weight.reshape(1, -1).double().expand(len(a), -1))

    def region(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return correlations and counts, ``(batch, shell)`` on the CPU, of "whole", "cone" or "wedge".

        NaN where there is no frequency, or the reference ``b`` has no power; 0 where it has and ``a`` has none.
        """
        halves = self._sums.cpu().unflatten(2, (2, self.num_shells + 1))
        floor = _NO_POWER * halves[2].sum(dim=(1, 2))[:, None] / halves[3].sum(dim=(1, 2))[:, None].clamp(min=1)
        cross, power_a, power_b, count = halves.sum(dim=2) if name == "whole" else halves[:, :, 0 if name == "cone" else 1]
        cross, power_a, power_b, count = (part[:, : self.num_shells] for part in (cross, power_a, power_b, count))
        floor = floor * count
        correlation = cross / torch.sqrt(power_a * power_b).clamp(min=1e-300)
        correlation = correlation.masked_fill(power_a <= floor, 0.0)
        return correlation.masked_fill((power_b <= floor) | (count == 0), math.nan), count

    @property
    def frequencies(self) -> torch.Tensor:
        """Centres of the shells in cycles per voxel."""
        return torch.arange(self.num_shells, dtype=torch.float64) / self._longest


def regions_of(context: MetricContext) -> tuple[str, ...]:
    """Return what spectra can be split into: cone and wedge need tilt angles."""
    return ("whole",) if context.tilt_angles_deg is None else ("whole", "cone", "wedge")


def finite_mean(values: torch.Tensor) -> float:
    """Return the mean of what is not NaN; NaN where nothing is."""
    kept = values[torch.isfinite(values)]
    return float(kept.mean()) if kept.numel() else math.nan


def band_values(frequencies: torch.Tensor, correlations: dict[str, torch.Tensor]) -> dict[str, float]:
    """Return the mean correlation of the shells of each band, as ``region-low-high``; bands without a shell are left out."""
    values = {}
    for region, correlation in correlations.items():
        for (low, high), mean in zip(BANDS, band_means(frequencies.numpy(), correlation.numpy()), strict=True):
            if math.isfinite(mean):
                values[f"{region}-{low:g}-{high:g}"] = mean
    return values


def resolutions(
    frequencies: torch.Tensor, correlation: torch.Tensor, count: torch.Tensor, shortest: int, voxel_size_angstrom: float | None
) -> tuple[dict[str, float], str]:
    """Return the resolution at each threshold, and a note on how to read them.

    The resolution is the inverse of the frequency at which the correlation first falls below the threshold, interpolated between shells; 2
    voxels where it never does. The search starts at one period over the ``shortest`` side: below it there are no frequencies along that
    axis, and shells of a thin volume hold few of any. Where the first of these shells is below already, there is none.
    """
    unit, size = ("voxels", 1.0) if voxel_size_angstrom is None else ("angstrom", voxel_size_angstrom)
    thresholds = {f"{value:g}": torch.full_like(frequencies, value) for value in THRESHOLDS} | {"half-bit": half_bit_threshold(count)}
    values, nyquist, unresolved = {}, [], []
    for name, threshold in thresholds.items():
        frequency = first_crossing(frequencies.tolist(), (correlation - threshold).tolist(), 1 / shortest)
        if frequency is None:
            unresolved.append(name)
            continue
        if frequency >= 0.5:
            nyquist.append(name)
        values[f"resolution-{name}-{unit}"] = size / frequency
    notes = ["thresholds .143 (between half maps), .5 (against a truth), half-bit"]
    if nyquist:
        notes.append(f"never below {', '.join(nyquist)}: 2 voxels")
    if unresolved:
        notes.append(f"below {', '.join(unresolved)} from the start: no resolution")
    return values, "; ".join(notes)


def curve_of(frequencies: torch.Tensor, correlations: dict[str, torch.Tensor], count: torch.Tensor) -> Curve:
    """Return the correlations and the half-bit threshold over frequency, without zero frequency; NaN where there is none."""
    series = {region: correlation[1:].tolist() for region, correlation in correlations.items()}
    series["half-bit"] = half_bit_threshold(count)[1:].tolist()
    return Curve(x_label="cycles per voxel", x=frequencies[1:].tolist(), series=series)
