"""How well predicted sinograms explain measured ones."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.draws import seed_for
from wedge.fit.batches import Slab
from wedge.fit.config import DataTermConfig
from wedge.fit.filtered_power import FilteredPower
from wedge.fit.hold_out import views_to_hold_out, without_held_out
from wedge.fit.normalization import Normalization
from wedge.geometry import TiltGeometry
from wedge.overlap import on_its_way, read_ahead
from wedge.projection import project
from wedge.slabs import read_sinograms, read_weights, slab_ranges

_ROWS_READ = 64  # at once, of a series that stays on the device


@dataclass(frozen=True)
class DataPart:
    """Some views of a tilt series that are fitted, or held out, together.

    Parameters
    ----------
    series
        The views.
    geometry
        Their geometry around the fitted box; its tilts are those of ``series``.
    weights
        ``(tilt,)`` float32, mean 1: how much each view counts.
    held_out
        True for views that the fit does not see and that only its error is measured on.
    """

    series: TiltSeries
    geometry: TiltGeometry
    weights: torch.Tensor
    held_out: bool = False


def split_parts(tilts: TiltSeries, hold_out: float, views: Literal["extremes"] | Sequence[int] = ()) -> list[DataPart]:
    """Return the fitted part of a tilt series and, if views are held out, those; see `wedge.fit.hold_out.views_to_hold_out`."""
    kept, held = without_held_out(tilts, views_to_hold_out(tilts, hold_out, views))
    return [whole_part(kept), *([whole_part(held, held_out=True)] if held is not None else [])]


def whole_part(series: TiltSeries, held_out: bool = False) -> DataPart:
    """Return all views of a series as one part."""
    return DataPart(series, series.geometry, torch.ones(series.geometry.num_tilts), held_out)


def residual_weight(num_fft: int, config: DataTermConfig, device: torch.device) -> torch.Tensor:
    """Return ``(num_fft // 2 + 1,)`` float32 weights of the residual's power, mean 1 over the band."""
    frequency = torch.fft.rfftfreq(num_fft, device=device)
    weight = frequency + config.ramp_floor
    if config.rolloff is not None:
        weight = weight / (1 + (frequency / config.rolloff) ** 4)
    return weight / weight.mean()


@dataclass(frozen=True)
class Perturbation:
    """White noise of standard deviation ``std`` that a seed adds to the views that are fitted; the same however rows are read."""

    std: float
    seed: int

    def add(self, block: np.ndarray, y_start: int) -> np.ndarray:
        """Return ``(y, tilt, x)`` intensities with noise."""
        if self.std == 0:
            return block
        noisy = block.copy()
        for row in range(len(block)):
            random = np.random.Generator(np.random.Philox(seed_for(self.seed, "perturbation", y_start + row)))
            noisy[row] += random.normal(scale=self.std, size=block.shape[1:])
        return noisy


Rays = tuple[torch.Tensor, torch.Tensor | None]
"""Measured sinograms ``(y, tilt, x)`` and the weights of their rays; None where all are 1."""


class Loss(Protocol):
    """What a data term is to a fit."""

    def rays(self, slab: Slab) -> Rays:
        """Return what a slab's predicted sinograms are compared with."""

    def loss(self, slices: torch.Tensor, rays: Rays, oversampling: int) -> torch.Tensor:
        """Return the loss of density ``(y, z, x)`` of so many points per voxel."""


class DataTerm:
    """The data term of one part on one device.

    Sinograms are kept in the fit's units. They stay on the device where ``resident``, otherwise slabs are read when asked for; so do the
    weights of their rays, where they have some.
    """

    def __init__(
        self,
        part: DataPart,
        projector: Projector,
        normalization: Normalization,
        config: DataTermConfig,
        device: torch.device,
        resident: bool,
        finer: Mapping[int, Projector] | None = None,
        perturbation: Perturbation | None = None,
    ) -> None:
        # Held-out views judge: they stay as they were measured.
        self._perturbation = perturbation if perturbation is not None and not part.held_out else Perturbation(0.0, 0)
        self._projectors = {1: projector, **(finer or {})}
        self.part, self._config, self._device = part, config, device
        self._normalization = normalization
        width = part.geometry.detector_shape[1]
        self._num_fft = 2 ** math.ceil(math.log2(2 * width))
        self._power = residual_weight(self._num_fft, config, device) if config.weighting == "ramp" else None
        thickness_pixels = part.geometry.volume_shape[0] * part.geometry.voxel_size_in_pixels
        self._per_root_thickness = thickness_pixels**-0.5
        self._view_weights = part.weights.to(device)[None, :, None]
        self._sinograms = self._whole(self._read) if resident else None
        self._ray_weights = self._whole(self._read_weights) if resident and part.series.weights is not None else None

    def _whole(self, read: Callable[[range], torch.Tensor]) -> torch.Tensor:
        """Return all rows on the device, read slab by slab: their copies in double precision would take more than they do."""
        (num_rows, width), num_tilts = self.part.geometry.detector_shape, self.part.geometry.num_tilts
        whole = torch.empty(num_rows, num_tilts, width, device=self._device)
        with closing(read_ahead(read, slab_ranges(num_rows, _ROWS_READ))) as slabs:
            for rows, block in slabs:
                whole[rows.start : rows.stop].copy_(block, non_blocking=True)
        return whole

    def _read(self, rows: range) -> torch.Tensor:
        """Return rows of sinograms in the fit's units, in main memory."""
        block = read_sinograms(self.part.series, rows.start, rows.stop).astype(np.float64)
        block = self._perturbation.add(block, rows.start)
        normalized = ((block - self._normalization.offset) / self._normalization.scale).astype(np.float32)
        return on_its_way(normalized, self._device)

    def measured(self, slab: Slab) -> torch.Tensor:
        """Return the slab's measured sinograms ``(y, tilt, x)`` in the fit's units."""
        if self._sinograms is not None:
            return self._sinograms[slab.y_start : slab.y_stop]
        return self._read(range(slab.y_start, slab.y_stop)).to(self._device, non_blocking=True)

    def _read_weights(self, rows: range) -> torch.Tensor:
        """Return the weights of rays of rows, in main memory, of a series that has some."""
        weights = read_weights(self.part.series, rows.start, rows.stop)
        assert weights is not None
        return on_its_way(weights, self._device)

    def ray_weights(self, slab: Slab) -> torch.Tensor | None:
        """Return the weights of the slab's rays ``(y, tilt, x)``; None where all are 1."""
        if self._ray_weights is not None:
            return self._ray_weights[slab.y_start : slab.y_stop]
        if self.part.series.weights is None:
            return None
        return self._read_weights(range(slab.y_start, slab.y_stop)).to(self._device, non_blocking=True)

    def weighted_rays(self, judging: np.ndarray) -> float:
        """Return the sum over all rays of the part of their ``(tilt, x)`` judging weights times their squared weights."""
        num_rows = self.part.geometry.detector_shape[0]
        if self.part.series.weights is None:
            return float(judging.sum(dtype=np.float64)) * num_rows
        read = (read_weights(self.part.series, rows.start, rows.stop) for rows in slab_ranges(num_rows, 16))
        return float(sum((np.square(weights, dtype=np.float64) * judging).sum() for weights in read if weights is not None))

    def rays(self, slab: Slab) -> Rays:
        """Return what a slab's predicted sinograms are compared with: the measured ones, and the weights of their rays."""
        return self.measured(slab), self.ray_weights(slab)

    def residual(self, slices: torch.Tensor, slab: Slab, oversampling: int = 1) -> torch.Tensor:
        """Return predicted minus measured, times the weights of the rays, ``(y, tilt, x)``.

        The slab's normalized density ``(y, z, x)`` may be oversampled.
        """
        return self._residual(slices, self.rays(slab), oversampling)

    def _residual(self, slices: torch.Tensor, rays: Rays, oversampling: int) -> torch.Tensor:
        measured, weights = rays
        residual = project(self._projectors[oversampling], slices) - measured
        return residual if weights is None else residual * weights

    def __call__(self, slices: torch.Tensor, slab: Slab, oversampling: int = 1) -> torch.Tensor:
        """Return the loss of a slab's normalized density ``(y, z, x)``, which may be oversampled."""
        return self.loss(slices, self.rays(slab), oversampling)

    def loss(self, slices: torch.Tensor, rays: Rays, oversampling: int) -> torch.Tensor:
        """Return the loss: a mean over the slab's rays of the residual over the root of the thickness.

        With the ramp weight that is about the mean over voxels of the squared error that the views can see, so that a regularizer's weight
        means the same for thin and thick specimens.
        """
        residual = self._residual(slices, rays, oversampling) * self._per_root_thickness
        num_rays = residual.numel()
        if self._power is not None:
            if self._config.loss == "l2":
                filtered: torch.Tensor = FilteredPower.apply(residual, self._power, self._view_weights)
                return filtered / num_rays
            # The filtered residual has tails beyond the detector; they belong to its norm.
            residual = torch.fft.irfft(torch.fft.rfft(residual, n=self._num_fft, dim=2) * self._power.sqrt(), n=self._num_fft, dim=2)
        if self._config.loss == "l2":
            loss = residual.square()
        elif self._config.loss == "l1":
            loss = residual.abs()
        else:
            delta = self._config.huber_delta
            loss = torch.nn.functional.huber_loss(residual, torch.zeros_like(residual), reduction="none", delta=delta)
        return (loss * self._view_weights).sum() / num_rays
