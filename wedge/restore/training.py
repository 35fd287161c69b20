"""How a network learns from two halves of one tomogram to take away noise and to fill the missing wedge.

It is given a turned cube of one half, with the frequencies removed that views would miss of a cube that stands so, and is to give the same
cube of the other half, wherever that was measured: within what it was given it learns to take away noise, for the halves' noise is
independent, and beyond it to fill in, for that was measured in the other orientation. Now and then the missing part of what is cut from is
replaced by what the network makes of it, so that turned cubes no longer miss it. What it has made is then what it learns from, see
`wedge.restore.lessons`, and that once more, of what it has made by then.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch

from wedge.draws import seed_for
from wedge.errors import InputError
from wedge.fit.config import RestoreConfig
from wedge.restore.cubes import Cubes
from wedge.restore.halves import Pair
from wedge.restore.lessons import FromHalves, FromMade, Lesson
from wedge.restore.muon import Muon
from wedge.restore.network import COARSEST, Restorer, half_turns

_WARM_UP, _DECAY = 30, 0.3  # steps; share of the steps in which the learning rate falls to nothing
_FILLS = 4
"""Parts of the learning from halves between which what is missing is filled anew."""
LEAST_CUBE = 16
"""Voxels of the edge of a cube, of a volume's shortest side too."""


def cube_size(cube: int, shape: Sequence[int]) -> int:
    """Return the edge of the cubes: as asked, or the largest that the shortest side of a volume holds.

    Raises
    ------
    InputError
        If the volume is too thin.
    """
    size = min(cube, min(shape)) // COARSEST * COARSEST
    if size < LEAST_CUBE:
        raise InputError(f"volumes of {min(shape)} voxels along one side are too thin to cut cubes from: {LEAST_CUBE} are needed")
    return size


class Learning:
    """A network that learns from two halves, step by step.

    Parameters
    ----------
    pair
        The halves; all is done where they are.
    tilt_angles_deg
        Of the views that either half was made from.
    half_precision
        Whether the network computes in bfloat16.
    others
        The same rows halved in other ways, which the network learns from in turn with the first, as many steps of each.
    """

    def __init__(
        self,
        pair: Pair,
        tilt_angles_deg: Sequence[float],
        config: RestoreConfig,
        seed: int,
        half_precision: bool,
        others: Sequence[Pair] = (),
    ) -> None:
        device = pair.halves[0].device
        self.done, self._pairs, self.config, self._seed = 0, (pair, *others), config, seed
        self._parts = config.parts_for(pair.units.common, pair.halves[0].numel(), len(self._pairs))
        self.steps = sum(self._parts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "restorer"))
            self.network = Restorer(config.channels, half_precision).to(device)
        self.by_halves = self.network
        """As halves alone have taught it."""
        self._turns = half_turns(tilt_angles_deg)
        self._cubes = Cubes(cube_size(config.cube, pair.halves[0].shape), tilt_angles_deg, seed, device)
        self._optimizer = Muon(self.network.parameters(), config.learning_rate)
        self._lesson: Lesson = FromHalves(self._pairs, self._cubes)

    @property
    def applications(self) -> int:
        """How often a network is applied to all rows while it learns."""
        # Each half, and what was made, once more for the gain.
        return 2 * len(self._pairs) * (_FILLS - 1) + (len(self._turns) + 3) * (len(self._parts) - 1)

    @property
    def steps_in_words(self) -> str:
        """How many steps there are, and how many of them follow what was made by then, in words."""
        own = sum(self._parts[1:])
        return f"{self.steps} steps" + (f", the last {own} from what it has made by then" if own else "")

    def step(self) -> torch.Tensor:
        """Take one step and return its loss, in units of the noise while it learns from halves."""
        batch = self.config.batch
        part, begun = self._part()
        loss = self._lesson.loss(self.network, self.done, range(self.done * batch, (self.done + 1) * batch))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step(_pace(self.done - begun, self._parts[part]))
        self.done += 1
        self._go_on(part, self.done - begun)
        return loss.detach()

    def _part(self) -> tuple[int, int]:
        """Return the part of the learning that the next step is in, and the step that this part begins with."""
        begun = 0
        for part, steps in enumerate(self._parts[:-1]):
            if self.done < begun + steps:
                return part, begun
            begun += steps
        return len(self._parts) - 1, begun

    def _go_on(self, part: int, taken: int) -> None:
        """Give the network something else to learn from, where so many steps of a part are the last that it was to take of the former."""
        steps = self._parts[part]
        if taken == steps:
            if part + 1 < len(self._parts):
                if part == 0:
                    self.by_halves = deepcopy(self.network)
                other_side = self.config.other_side
                self._lesson = FromMade.by(self.network, self._pairs[0], self._turns, self._cubes, self._seed, other_side)
                self._optimizer = Muon(self.network.parameters(), self.config.learning_rate)
        elif isinstance(self._lesson, FromHalves) and taken * _FILLS // steps > (taken - 1) * _FILLS // steps:
            self._lesson.fill(self.network)

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that `load` needs to go on exactly, on the CPU."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in self._optimizer.moments()}
        tensors |= self._lesson.state() | {"done": torch.tensor(self.done)}
        # Copies: the next step changes parameters where they are.
        return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from where another one was.

        Raises
        ------
        InputError
            If that was of another network or other halves.
        """
        network, moments = (_of(kind, tensors) for kind in ("network.", "optimizer."))
        try:
            self.network.load_state_dict(network)
            self._optimizer.load(moments)
            self.done = int(tensors["done"])
            if "made" in tensors:
                made = tensors["made"].to(self._pairs[0].halves[0].device)
                self._lesson = FromMade(made, self._pairs[0], self._cubes, self._seed)
            elif isinstance(self._lesson, FromHalves):
                self._lesson.load(tensors)
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            reason = str(error).splitlines()[0]
            told = f"what was learned is of other halves, another network or another version ({reason}): start again with --overwrite"
            raise InputError(told) from error


def _of(kind: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}


def _pace(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP, (steps - step) / max(1.0, _DECAY * steps))
