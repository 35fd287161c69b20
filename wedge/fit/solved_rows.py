"""What observers are shown of an adaptive field: the rows solved so far, and those at work as their last round left them."""

import math
from collections.abc import Callable

import torch

from wedge.fit import team
from wedge.fit.job import Job
from wedge.fit.observers import log_power, preview_spacing


class SolvedRows:
    """Every few voxels of what is solved; nothing is kept where nobody looks.

    Parameters
    ----------
    shape
        ``(z, y, x)`` of the volume, without the margins of the fitted box.
    """

    def __init__(self, job: Job, shape: tuple[int, int, int]) -> None:
        self._job, self._num_rows, self._done = job, shape[1], job.steps_before
        self._watched = len(job.observers) > 0 and team.leads()
        # Points are voxels of the volume: its own distance, rounded up.
        self._every = math.ceil(preview_spacing(shape))
        self._coarse = torch.full(
            [-(-count // self._every) for count in (shape[1], shape[0], shape[2])] if self._watched else [0], math.nan
        )

    def looker(self, rows: range, rounds: int) -> Callable[[int, torch.Tensor], None]:
        """Return what a block's density ``(y, z, x)`` is given to after each round."""

        def look(done: int, density: torch.Tensor) -> None:
            if self._watched:
                self._job.observers.stage(f"solving rows {rows.start} to {rows.stop - 1}", done, rounds)
                self._offer(rows, density)

        return look

    def solved(self, rows: range, block: torch.Tensor, scalars: dict[str, float]) -> None:
        """Take a block ``(y, z, x)`` that is done."""
        if not self._watched:
            return
        self._place(rows, block)
        self._done = self._job.steps_before + rows.stop
        self._job.observers.step(self._done, scalars)
        self._job.observers.preview(self._done, self._previews(rows, block))
        self._offer(rows, block)

    def _offer(self, rows: range, density: torch.Tensor) -> None:
        self._job.observers.offer(self._done, self._previews(rows, density))

    def _previews(self, rows: range, density: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
        def volume() -> torch.Tensor:
            self._place(rows, density)
            return self._coarse / self._job.units.scale

        return {"volume": volume, "spectrum_xz": lambda: log_power(density[len(density) // 2])}

    def _place(self, rows: range, density: torch.Tensor) -> None:
        """Put every few voxels of some rows where they belong."""
        first = -rows.start % self._every
        some = self._job.cropped(density)[first :: self._every, :: self._every, :: self._every].cpu()
        start = (rows.start + first) // self._every
        self._coarse[start : start + len(some)] = some
