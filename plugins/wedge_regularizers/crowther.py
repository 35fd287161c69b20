"""Fourier energy where the views say nothing: beyond the Crowther frequency, in the missing wedge."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from wedge.plugin_api import RegularizerContext, TiltGeometry, crowther_frequency, frequency_grid, missing_mask


class CrowtherOptions(BaseModel):
    """Options of `Crowther`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thickness: float | None = Field(None, gt=0, description="thickness D of the specimen in voxels; default: the volume's z size")
    region: Literal["both", "either"] = Field(
        "both", description="penalize what is beyond the Crowther frequency and in the wedge, or what is one of them"
    )
    taper: float = Field(
        0.125, ge=0, le=0.5, description="share of each side in z and x that a cosine brings down to 0 before the transform"
    )


class Crowther:
    """Energy of each y-slice's 2-D Fourier transform, weighted by ``w(k)``, in units of the mean squared density.

    With ``region=both``, ``w = 2 max(|k| - k_c, 0)`` inside the missing wedge and 0 elsewhere: it rises linearly from the Crowther
    frequency ``k_c = 1 / (D dtheta)`` to ``1 - 2 k_c`` at Nyquist. With ``region=either``, that weight holds outside the wedge and
    ``2 |k|`` inside.

    Parameters
    ----------
    geometry
        Its tilt angles give the wedge and the mean increment dtheta, its volume's z size the default of D.
    options
        See `CrowtherOptions`.

    Notes
    -----
    Slices have their mean removed and are tapered in z and x, so that the box's faces are no signal; they are not padded, as padding
    changes no energy. Where views are dense for the thickness, ``k_c`` is Nyquist and ``both`` leaves only the corners beyond it: use
    ``either``.

    References
    ----------
    Crowther, DeRosier and Klug (1970), doi:10.1098/rspa.1970.0119
    """

    halo_rows: ClassVar[int] = 0
    zero_for_constant: ClassVar[bool] = True
    homogeneity: ClassVar[int] = 2
    of_slices_alone: ClassVar[bool] = True

    def __init__(self, geometry: TiltGeometry, options: CrowtherOptions) -> None:
        self._options = options
        self._angles = geometry.tilt_angles_deg
        self.thickness_voxels = options.thickness or float(geometry.volume_shape[0])
        self.crowther_frequency = crowther_frequency(self._angles, self.thickness_voxels)
        self._filters: dict[tuple, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, slices: torch.Tensor, context: RegularizerContext) -> torch.Tensor:
        """Return the mean over the interior rows of ``(y, z, x)`` slices."""
        inside = slices[context.interior].float()
        window, weights = self._filter(tuple(inside.shape[1:]), context.spacing_voxels, inside.device)
        with torch.autocast(inside.device.type, enabled=False):
            spectra = torch.fft.rfft2((inside - inside.mean(dim=(1, 2), keepdim=True)) * window)
            energy = spectra.real.square() + spectra.imag.square()
            return (energy * weights).sum(dim=(1, 2)).mean()

    def _filter(self, shape: tuple[int, int], spacing: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the window ``(z, x)`` and the weights ``(z, x // 2 + 1)`` of slices of this shape; made once per shape."""
        key = (*shape, spacing, device)
        if key not in self._filters:
            window = _taper(shape[0], self._options.taper)[:, None] * _taper(shape[1], self._options.taper)
            weights = self._weights(shape, spacing)
            # The half plane of a real transform: every column but those of 0 and Nyquist stands for two.
            weights[:, 1 : (shape[1] + 1) // 2] *= 2
            weights /= math.prod(shape) ** 2 * window.square().mean()
            self._filters[key] = window.to(device), weights.to(device)
        return self._filters[key]

    def _weights(self, shape: tuple[int, int], spacing: float) -> torch.Tensor:
        """Return ``w(k)`` as ``(z, x // 2 + 1)`` float32."""
        kz, kx = frequency_grid(shape, spacing, real=True)
        frequency = torch.hypot(kz, kx)
        missing = missing_mask(shape, self._angles, real=True)
        beyond = 2 * (frequency - self.crowther_frequency).clamp_min(0)
        if self._options.region == "both":
            return beyond * missing
        return torch.where(missing, 2 * frequency, beyond)


def _taper(count: int, share: float) -> torch.Tensor:
    """Return a window ``(count,)`` of ones whose ends, a ``share`` of its length each, fall to about 0 as a cosine."""
    from_edge = torch.arange(count, dtype=torch.float32) + 0.5
    from_edge = torch.minimum(from_edge, count - from_edge)
    # At least half a sample, or a window of few samples would be none at all.
    return torch.sin(0.5 * math.pi * (from_edge / max(share * count, 0.5)).clamp_max(1)).square()
