"""Restoring whole tomograms from their two halves: learning on some rows, and applying what was learned block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from wedge.fit.config import RestoreConfig
from wedge.restore.halves import Pair, Units, pair_of
from wedge.restore.memory import BLOCK_ROWS, FILTER_ROWS, LEARNED_VOXELS
from wedge.restore.network import REACH, Restorer, applied, applied_all_round, half_turns
from wedge.restore.one_sign import Background, background_of
from wedge.restore.training import LEAST_CUBE, Learning
from wedge.slabs import slab_ranges

_CANDIDATES = 16


@dataclass(frozen=True)
class Halves:
    """Two halves of one density by rows: ``read(y_start, y_stop)`` gives both as ``(y, z, x)`` float32 where the work is done.

    Parameters
    ----------
    shape
        ``(y, z, x)`` of each.
    """

    shape: tuple[int, int, int]
    read: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]]


def rows_to_learn_from(halves: Halves, max_voxels: int = LEARNED_VOXELS) -> range:
    """Return the successive rows that a network learns from: all, or as many as may be, where the halves have the most in common."""
    total, num_z, num_x = halves.shape
    count = max(LEAST_CUBE, max_voxels // (num_z * num_x))
    if count >= total:
        return range(total)
    starts = sorted({round(place * (total - count) / (_CANDIDATES - 1)) for place in range(_CANDIDATES)})

    def common(start: int) -> float:
        first, second = halves.read(start + count // 2, start + count // 2 + 1)
        return float(((first - first.mean()) * (second - second.mean())).mean())

    start = max(starts, key=common)
    return range(start, start + count)


def pair_on(halves: Halves, rows: range, tilt_angles_deg: Sequence[float]) -> Pair:
    """Return some rows of two halves as a network sees them.

    Raises
    ------
    InputError
        If they have nothing in common, or are the same.
    """
    return pair_of(*halves.read(rows.start, rows.stop), tilt_angles_deg)


@dataclass(frozen=True)
class Restoration:
    """What was learned from halves, and so can be made of any rows of them.

    Parameters
    ----------
    share
        ``(shell,)`` of the mean of both halves that the network is given.
    background
        That nothing lies beyond, in the units of the halves; None where density has both signs.
    """

    network: Restorer
    units: Units
    turns: Sequence[tuple[int, ...]]
    offset: float
    share: torch.Tensor
    background: Background | None = None

    @classmethod
    def of(cls, learning: Learning, pair: Pair, tilt_angles_deg: Sequence[float], *, cautious: bool = False) -> "Restoration":
        """Return what has been learned so far; the mean is not, and what the network makes of it is taken away again.

        Parameters
        ----------
        cautious
            Whether the network is taken as halves alone have taught it, and given no more than of a half, where there was more noise: it
            makes less of what is faint, and more often the right thing of fine detail that it has to guess from the coarse.
        """
        network, share = (learning.by_halves, pair.units.share) if cautious else (learning.network, pair.units.share_of_mean)
        made = applied(network, pair.filtered_mean(share))
        offset = float(made.mean())
        background = background_of(made - offset, learning.config.other_side)
        background = background and background.in_units(pair.units.scale, pair.units.mean)
        return cls(network, pair.units, half_turns(tilt_angles_deg), offset, share, background)

    def rows(self, halves: Halves, y_start: int, y_stop: int) -> torch.Tensor:
        """Return some rows ``(y, z, x)`` of the mean of both halves, restored: it shows more than either half that was learned from."""
        total = halves.shape[0]

        def around(first: int, last: int, rows: int) -> tuple[int, int]:
            return max(0, first - rows), min(total, last + rows)

        seen = around(y_start, y_stop, REACH)
        low, high = around(*seen, FILTER_ROWS)
        filtered = self.units.filtered_mean(*halves.read(low, high), self.share)[seen[0] - low : seen[1] - low]
        made = applied_all_round(self.network, filtered, self.turns)[y_start - seen[0] : y_stop - seen[0]] - self.offset
        made = made * self.units.scale + self.units.mean
        return made if self.background is None else self.background.flat(made)

    def blocks(self, halves: Halves) -> Iterator[tuple[range, torch.Tensor]]:
        """Give all rows, block by block."""
        for rows in slab_ranges(halves.shape[0], BLOCK_ROWS):
            yield rows, self.rows(halves, rows.start, rows.stop)


def learn(
    pair: Pair,
    tilt_angles_deg: Sequence[float],
    config: RestoreConfig,
    seed: int,
    half_precision: bool,
    on_step: Callable[[torch.Tensor], None] = lambda loss: None,
) -> Restoration:
    """Learn from some rows of two halves; ``on_step`` hears the loss of each step."""
    learning = Learning(pair, tilt_angles_deg, config, seed, half_precision)
    while learning.done < learning.steps:
        on_step(learning.step())
    return Restoration.of(learning, pair, tilt_angles_deg)
