"""The sum of a stack as far as it has come."""

import math
from pathlib import Path

import numpy as np
import torch

from wedge.errors import InputError
from wedge.fit import team
from wedge.fit.checkpoint import Progress, read_checkpoint, write_checkpoint
from wedge.fit.emptied import Emptying, emptied, usually_below
from wedge.fit.job import Job
from wedge.fit.observers import preview_spacing
from wedge.fit.radial import SLAB_ROWS, RadialFilter
from wedge.slabs import slab_ranges

_SHARE_OF_LIMIT = 0.2
"""Of what memory the fits may take of a GPU: sums that need less stay there, for moving them at each look takes longer than all else."""


def sums_of(spread: bool) -> list[str]:
    """Return the names of the volumes that a stack holds: the sum, what empties it, what is there beside it, and more for a spread."""
    return ["total", "by", "rest", *(["mean", "squares"] if spread else [])]


def bytes_beside_fits(job: Job, spread: bool) -> int:
    """Return what the sums of a stack take of a GPU's memory beside its fits; 0 where they are in main memory."""
    # One more is the sum as it was before a fit that may be stopped.
    needed = (len(sums_of(spread)) + 1) * 4 * math.prod(job.wide.geometry.volume_shape)
    return needed if job.device.type == "cuda" and needed <= _SHARE_OF_LIMIT * job.limit else 0


class StackRun:
    """The sum of a stack as far as it has come; it can be saved between fits."""

    def __init__(self, job: Job, progress: Progress, spread: bool = False) -> None:
        self.job, self.progress = job, progress
        self.told: dict[str, str] = {}
        num_z, num_y, num_x = job.wide.geometry.volume_shape
        self.device_bytes = bytes_beside_fits(job, spread)
        where = job.device if self.device_bytes else torch.device("cpu")
        self._tensors = {name: torch.zeros(num_y, num_z, num_x, device=where) for name in sums_of(spread)}
        if team.leads():
            # Filled at once, so that the plans of the fits find this memory taken.
            for tensor in self._tensors.values():
                tensor.fill_(0.0)
        self.total, self.by, self.has_spread = self._tensors["total"], self._tensors["by"], spread
        self.rest = self._tensors["rest"]
        self._believing: tuple[RadialFilter, torch.Tensor] | None = None

    @property
    def emptying(self) -> Emptying:
        """How the sum is emptied, once that is known: as is usual by the best single fit, where nothing else was found."""
        chosen = self.progress.chosen
        if "emptied" in chosen:
            return Emptying(**chosen["emptied"])
        return Emptying(chosen["base"], usually_below(float(self.job.chosen["signal_to_noise"])))

    def empties(self, estimate: int) -> bool:
        """Return whether one of the estimates is what the sum is emptied by."""
        return self.job.units.positive and estimate == self.emptying.by

    def save(self, path: Path) -> None:
        """Write what is done, see `write_checkpoint`."""
        if team.leads():
            write_checkpoint(path, {name: tensor.cpu() for name, tensor in self._tensors.items()}, self.progress)

    def load(self, path: Path) -> None:
        """Read what was done.

        Raises
        ------
        InputError
            If the file is damaged or of another kind of fit, or knows no spread where one is wanted.
        """
        tensors = read_checkpoint(path, torch.device("cpu"))[1]
        if self.has_spread and "total" in tensors and "squares" not in tensors:
            raise InputError(f"checkpoint {path} was begun without --std: leave it out, or start again with --overwrite")
        try:
            for name, tensor in self._tensors.items():
                tensor.copy_(tensors[name])
        except (KeyError, RuntimeError) as error:
            raise InputError(f"checkpoint {path} is of another fit ({error}): start again with --overwrite") from error

    def finished(self, y_start: int, y_stop: int, bright: float) -> torch.Tensor:
        """Return rows ``(y, z, x)`` of the normalized density: what is believed of the sum, and of one estimate the rest."""
        if "believed" not in self.progress.chosen:
            return self._emptied(y_start, y_stop, bright)
        if self._believing is None:
            geometry = self.job.wide.geometry
            radial = RadialFilter(geometry.volume_shape, self.job.device, geometry.voxel_size_in_pixels)
            self._believing = radial, radial.response(np.array(self.progress.chosen["believed"]))
        radial, response = self._believing
        slabs = [rows for rows in slab_ranges(len(self.total), SLAB_ROWS) if rows.start < y_stop and rows.stop > y_start]
        found = torch.cat([radial.filtered(rows, lambda low, high: self._emptied(low, high, bright), response) for rows in slabs])
        first = slabs[0].start
        return found[y_start - first : y_stop - first].to(self.rest.device) + self.rest[y_start:y_stop]

    def _emptied(self, y_start: int, y_stop: int, bright: float) -> torch.Tensor:
        if not self.job.units.positive:
            return self.total[y_start:y_stop]
        return emptied(self.total, self.by, y_start, y_stop, bright, self.emptying)

    def coarse(self, bright: float) -> torch.Tensor:
        """Return every few voxels ``(y, z, x)`` of the normalized density, without margins: for who wants to look."""
        every = math.ceil(preview_spacing(self.job.tilts.geometry.volume_shape))
        rows = [self.job.cropped(self.finished(y, y + 1, bright))[:, ::every, ::every] for y in range(0, len(self.total), every)]
        return torch.cat(rows).cpu()

    def add_to_spread(self, fit: int, y_start: int, density: torch.Tensor) -> None:
        """Take rows of one more fit, the ``fit``-th from 0, into account."""
        rows = slice(y_start, y_start + len(density))
        mean, squares = self._tensors["mean"][rows], self._tensors["squares"][rows]
        difference = density - mean
        mean += difference / (fit + 1)
        squares += difference * (density - mean)

    def spread(self, y_start: int, y_stop: int) -> torch.Tensor:
        """Return rows ``(y, z, x)`` of the sample standard deviation over the fits, each as it ends, of the normalized density."""
        return (self._tensors["squares"][y_start:y_stop] / max(1, self.progress.step - 1)).sqrt()
