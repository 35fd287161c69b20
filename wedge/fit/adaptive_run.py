"""The adaptive field of some rows of a series, and what all of them share: noise, strength and local scales."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from wedge.data import TiltSeries
from wedge.draws import seed_for
from wedge.errors import DeviceError
from wedge.fit import team
from wedge.fit.adaptive import HALO_ROWS, PAD, Prior, Scales, Views, adapt
from wedge.fit.build import Plugins
from wedge.fit.config import AdaptiveConfig, FitConfig
from wedge.fit.halves import Halves
from wedge.fit.known import Known, less_coarse
from wedge.fit.margin import judging_weights
from wedge.fit.normalization import Normalization
from wedge.fit.sample import busiest_rows
from wedge.fit.search import Search
from wedge.fit.spectrum import Spectrum, measure
from wedge.fit.trials import split_views, views_to_judge_by
from wedge.geometry import TiltGeometry
from wedge.out_of_memory import RowsAtOnce, with_fewer_rows
from wedge.provenance import resident_bytes
from wedge.slabs import read_sinograms, read_weights

T = TypeVar("T")
SAMPLE_ROWS = 64
_VOLUMES = 16  # arrays of a block's size that a solution holds at once, spectra included
_FEWER_AT_ONCE = "blocks of {rows} y-rows, the result stays the same within 3 % of its standard deviation"
_SMALLER_SAMPLE = "a sample of {rows} y-rows, which find slightly other strengths"
_STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


class AdaptiveRun:
    """One adaptive reconstruction.

    Parameters
    ----------
    tilts
        The views, in the geometry of the fitted box.
    halves
        Both halves of them, whose difference shows the noise; or None.
    normalization
        Its offset is taken from the views; the scale plays no part.
    known
        Density that the field departs from: what is measured and solved is what the views show beyond it. Its strength is as told, for
        views that it was made from would not choose one.
    """

    def __init__(
        self,
        tilts: TiltSeries,
        halves: Halves | None,
        plugins: Plugins,
        config: FitConfig,
        normalization: Normalization,
        device: torch.device,
        known: Known | None = None,
    ) -> None:
        self._tilts, self._halves, self._config, self._device, self._known = tilts, halves, config, device, known
        self._plugins, self._offset = plugins, normalization.offset
        self._geometry = tilts.geometry
        total = tilts.geometry.detector_shape[0]
        self._sample = busiest_rows(tilts, min(SAMPLE_ROWS, total))
        self.spectrum = self._measure()
        self._scales = Scales()
        self._at_once = RowsAtOnce(total, _FEWER_AT_ONCE)

    def _read(self, series: TiltSeries, rows: range) -> np.ndarray:
        beyond = read_sinograms(series, rows.start, rows.stop).astype(np.float64) - self._offset
        return beyond if self._known is None else beyond - self._known.views(rows)

    def _weights(self, series: TiltSeries, rows: range) -> torch.Tensor | None:
        weights = read_weights(series, rows.start, rows.stop)
        return None if weights is None else self._tensor(weights)

    def _measure(self) -> Spectrum:
        mean = self._read(self._tilts, self._sample)
        if self._halves is None:
            return measure(mean, self._geometry)
        return measure(mean, self._geometry, mean - self._read(self._halves.second, self._sample))

    def choose(
        self, go_on: Callable[[], bool], on_trial: Callable[[int, int], None] = lambda done, usual: None
    ) -> tuple[AdaptiveConfig, dict[str, Any]]:
        """Choose the strength on views that trials do not see, if ``config.tune`` names it; ``on_trial`` as in `tune_network`."""
        judges = views_to_judge_by(self._geometry.tilt_angles_deg)
        if "strength" not in self._config.tune or not judges or self._known is not None:
            return self._config.adaptive, {}
        return self._on_sample(lambda rows: self._choose(judges, rows, go_on, on_trial))

    def _on_sample(self, work: Callable[[range], T]) -> T:
        """Return what is found on the sample rows; where memory does not suffice for them, on those in their middle."""
        whole = self._sample

        def found_on(rows: int) -> T:
            start = whole.start + (len(whole) - rows) // 2
            self._sample = range(start, start + rows)
            return work(self._sample)

        found, rows = with_fewer_rows(found_on, len(whole), _SMALLER_SAMPLE)
        # Devices may differ in what is free on them, and what they find must not.
        least = team.least(rows, self._device)
        return found if least == rows else found_on(least)

    def _choose(
        self, judges: list[int], rows: range, go_on: Callable[[], bool], on_trial: Callable[[int, int], None]
    ) -> tuple[AdaptiveConfig, dict[str, Any]]:
        """Choose the strength on some rows."""
        config = self._config.adaptive
        kept, held = split_views(self._tilts, judges)
        projectors = [self._plugins.projector.build(part.geometry, self._device) for part in (kept, held)]
        seen, unseen = (self._tensor(self._read(part.series, rows)) for part in (kept, held))
        weights = [self._weights(part.series, rows) for part in (kept, held)]
        judging = Views(unseen, projectors[1], self._noise, weights[1])
        prior = self._prior(len(rows))
        looked = torch.from_numpy(judging_weights(held.geometry, self._config.fitted_margin)).to(self._device)
        counted = looked.expand_as(unseen) if weights[1] is None else looked * weights[1].square()
        # Where all rays are hidden there is no error, and nothing to divide.
        num_rays = max(float(counted.sum()), 1e-6)

        def error(setting: dict[str, Any]) -> float:
            on_trial(len(search.tried), 0)
            if not go_on():
                return float("inf")
            trial = config.model_copy(update=setting)
            density = adapt(Views(seen, projectors[0], self._noise, weights[0]), prior, trial, Scales())
            squared = judging.weighted(projectors[1].project(density) - unseen).square() * looked
            return float(squared.sum()) / num_rays

        search = Search(error, self._noise)
        try:
            found = search.along({"strength": config.strength}, "strength", _STRENGTHS)
        finally:
            for projector in projectors:
                projector.close()
        trials = [{**tried, "held_out_error": value} for tried, value in search.tried if np.isfinite(value)]
        return config.model_copy(update=found), found | {"trials": trials}

    @property
    def _noise(self) -> float:
        return max(self.spectrum.noise_variance, 1e-12)

    def _tensor(self, block: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32)).to(self._device)

    def _prior(self, num_rows: int) -> Prior:
        num_z, _, num_x = self._geometry.volume_shape
        return Prior((num_rows, num_z, num_x), self.spectrum, self._geometry.voxel_size_in_pixels, self._device)

    @property
    def device(self) -> torch.device:
        """Where blocks are solved."""
        return self._device

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Shape ``(z, x)`` of a slice of the fitted box."""
        num_z, _, num_x = self._geometry.volume_shape
        return num_z, num_x

    @property
    def sample_rows(self) -> int:
        """Rows on which the noise, the strength and the local scales are found."""
        return len(self._sample)

    @property
    def rows_at_once(self) -> int:
        """Rows that were solved at once at the most, halos not counted, since memory last ran out; all rows if it never did."""
        return self._at_once.rows

    @property
    def row_bytes(self) -> int:
        """What a solution holds for each row."""
        num_z, _, num_x = self._geometry.volume_shape
        rays = self._geometry.num_tilts * self._geometry.detector_shape[1]
        copies = 6 if self._tilts.weights is None else 8
        return 4 * (_VOLUMES * (num_z + PAD) * (num_x + PAD) + copies * rays)

    def block_rows(self, limit: int, operator_bytes: int, chunk: int) -> int:
        """Return the rows of a block, whole chunks of the output where it is not all of them; see `rows_that_fit`."""
        rows = self.rows_that_fit(limit, operator_bytes)
        return rows if rows >= self._geometry.volume_shape[1] else max(1, rows // chunk * chunk or rows)

    def rows_that_fit(self, limit: int, operator_bytes: int) -> int:
        """Return the rows of a block, its halo not counted.

        Raises
        ------
        DeviceError
            If not even one row fits beside its halo.
        """
        num_z, total, num_x = self._geometry.volume_shape
        row_bytes = self.row_bytes
        taken = operator_bytes + (resident_bytes() if self._device.type == "cpu" else 0)
        rows = int((limit - taken) // row_bytes) - PAD
        if rows >= total:
            return total
        rows -= 2 * HALO_ROWS
        if rows < 1:
            least = taken + (2 * HALO_ROWS + PAD + 1) * row_bytes
            raise DeviceError(
                f"memory limit of {limit / 2**20:.0f} MiB is too small for {2 * HALO_ROWS + 1} slices of {num_z} x {num_x} voxels: "
                f"allow at least {least / 2**20 + 1:.0f} MiB (--max-memory), or give --margin 0"
            )
        return rows

    def calibrate(self, config: AdaptiveConfig, projector: Any, go_on: Callable[[], bool]) -> None:
        """Find the means of the local strength on the sample rows, which every block then shares."""

        def find(rows: range) -> None:
            self._scales = Scales()
            self._solve(rows, config, projector, go_on, perturbed=False)

        self._on_sample(find)

    def block(
        self,
        rows: range,
        config: AdaptiveConfig,
        projector: Any,
        go_on: Callable[[], bool],
        looker: Callable[[range], Callable[[int, torch.Tensor], None]] = lambda rows: lambda done, density: None,
    ) -> torch.Tensor:
        """Return the density of rows, ``(y, z, x)``, solved together with their halo; in smaller blocks where memory runs out.

        What was known is part of it.

        What ``looker`` returns for the rows that are solved at once gets their density after each round.
        """
        total = self._geometry.detector_shape[0]

        def solved(rows: range) -> torch.Tensor:
            wide = range(max(0, rows.start - HALO_ROWS), min(total, rows.stop + HALO_ROWS))
            mine, look = slice(rows.start - wide.start, rows.stop - wide.start), looker(rows)
            known = self._known
            before = None if known is None else known.density(rows)

            def found(density: torch.Tensor) -> torch.Tensor:
                return density[mine] if known is None or before is None else known.bounded(before + less_coarse(density)[mine])

            density = self._solve(wide, config, projector, go_on, lambda done, density: look(done, found(density)), perturbed=True)
            # A part of a block is not kept on a device that is full.
            return found(density) if rows == whole else found(density).cpu()

        whole = rows
        return torch.cat([density for _, density in self._at_once.pieces(whole, solved)]).to(self._device)

    def _solve(
        self,
        rows: range,
        config: AdaptiveConfig,
        projector: Any,
        go_on: Callable[[], bool],
        look: Callable[[int, torch.Tensor], None] = lambda done, density: None,
        *,
        perturbed: bool,
    ) -> torch.Tensor:
        share = self._config.perturbation if perturbed else 0.0
        block = self._read(self._tilts, rows)
        start = None
        if share > 0:
            # What the last round departs from is a draw of the prior, and its views are drawn around the measured ones.
            block = block + share * self._noise**0.5 * self._draws("perturbation", rows, block.shape[1:])
            num_z, _, num_x = self._geometry.volume_shape
            start = self._tensor(share * self._draws("prior", rows, (num_z, num_x)))
        views = Views(self._tensor(block), projector, self._noise, self._weights(self._tilts, rows))
        return adapt(views, self._prior(len(rows)), config, self._scales, start, go_on, look)

    def _draws(self, purpose: str, rows: range, shape: tuple[int, ...]) -> np.ndarray:
        """Return normal numbers ``(y, *shape)`` of each row's own stream."""
        return np.stack(
            [np.random.Generator(np.random.Philox(seed_for(self._config.seed, purpose, row))).normal(size=shape) for row in rows]
        )


def operator_bytes(plugins: Plugins, geometry: TiltGeometry, device: torch.device) -> tuple[Any, int]:
    """Build the projector of the whole series, and tell what it takes beside what the process has already."""
    before = resident_bytes()
    projector = plugins.projector.build(geometry, device)
    grown = resident_bytes() - before if device.type == "cpu" else 0
    return projector, max(0, projector.memory_bytes(0) - max(0, grown))
