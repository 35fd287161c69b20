"""How much of the reference's energy there is where nothing was measured."""

import math

import torch

from wedge.plugin_api import MetricContext, MetricResult, friedel_weight, missing_mask


class WedgeEnergy:
    """Fourier energy of the volume inside the missing wedge, over the reference's.

    1 is right, 0 an empty wedge, and more than 1 is invented. The volume is taken after the intensity fit, so the ratio compares amplitudes
    in the reference's units; it says nothing of whether they are right: read it together with ``fsc.wedge``.

    Notes
    -----
    The wedge is the same for every ky, so by Parseval's theorem the energies of slices add up: nothing is kept but one sum a row.
    """

    scope = "volume"
    better = "higher"
    ideal = 1.0

    def __init__(self, options: object = None) -> None:
        """Take no options."""

    def start(self, context: MetricContext) -> None:
        """Forget all rows."""
        self._context = context
        self._energies: list[torch.Tensor] = []

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        """Keep both energies of each row."""
        nz, _, nx = self._context.shape
        angles = self._context.tilt_angles_deg
        if angles is None:
            return
        weight = missing_mask((nz, nx), angles, True, slices.device) * friedel_weight(nx, slices.device)
        spectra = (torch.fft.rfft2(rows.double()) for rows in (slices, references))
        self._energies.append(torch.stack([((s.real.square() + s.imag.square()) * weight).sum(dim=(1, 2)) for s in spectra]))

    def finish(self) -> MetricResult:
        """Return the ratio, and that of each row."""
        if not self._energies:
            return MetricResult(values={"": math.nan}, note="tilt angles unknown: no wedge to look into")
        volume, reference = torch.cat(self._energies, dim=1).cpu().tolist()
        total = math.fsum(reference)
        note = "energy in the missing wedge over the reference's, after the intensity fit; 1 is right, more is invented"
        if not total > 0:
            return MetricResult(values={"": math.nan}, note="the reference has no energy in the missing wedge")
        floor = 1e-12 * total / len(reference)
        per_slice = [v / r if r > floor else math.nan for v, r in zip(volume, reference, strict=True)]
        return MetricResult(values={"": math.fsum(volume) / total}, per_slice=per_slice, note=note)
