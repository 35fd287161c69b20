"""How a network learns from two halves of one tomogram to take away noise and to fill the missing wedge.

It is given a turned cube of one half, with the frequencies removed that views would miss of a cube that stands so, and is to give the same
cube of the other half, wherever that was measured: within what it was given it learns to take away noise, for the halves' noise is
independent, and beyond it to fill in, for that was measured in the other orientation. Frequencies count by the noise that they have. Now
and then the missing part of what is cut from is replaced by what the network makes of it, so that turned cubes no longer miss it.

References
----------
Wiedemann and Heckel (2024), https://doi.org/10.1038/s41467-024-51438-y, for both ideas; Lehtinen et al. (2018), Noise2Noise, for the first
"""

from collections.abc import Sequence

import torch

from wedge.draws import seed_for
from wedge.errors import InputError
from wedge.fit.config import RestoreConfig
from wedge.restore.cubes import Cubes
from wedge.restore.halves import LOWEST, Pair, radius, shell_of
from wedge.restore.muon import Muon
from wedge.restore.network import COARSEST, Restorer, applied

_WARM_UP, _DECAY = 30, 0.3  # steps; share of the steps in which the learning rate falls to nothing
REFILLS = 4
"""Parts of the learning between which what is missing is filled anew."""
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
        self.done, self._pairs, self._config = 0, (pair, *others), config
        self.steps = config.steps_for(pair.units.common, pair.halves[0].numel(), len(self._pairs))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "restorer"))
            self.network = Restorer(config.channels, half_precision).to(device)
        self._cubes = Cubes(cube_size(config.cube, pair.halves[0].shape), tilt_angles_deg, seed, device)
        self._weights = [_weight(self._cubes.size, each.units.noise.to(device)) for each in self._pairs]
        self._optimizer = Muon(self.network.parameters(), config.learning_rate)
        self._given = [each.filtered for each in self._pairs]

    def step(self) -> torch.Tensor:
        """Take one step and return its loss, in units of the noise."""
        steps, batch = self.steps, self._config.batch
        indices, turn = range(self.done * batch, (self.done + 1) * batch), self.done % len(self._pairs)
        loss = _loss(self.network, self._pairs[turn], self._given[turn], self._cubes, self._weights[turn], indices)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step(_pace(self.done, steps))
        self.done += 1
        if self.done * REFILLS // steps > (self.done - 1) * REFILLS // steps and self.done < steps:
            for place, pair in enumerate(self._pairs):
                first, second = (_refilled(self.network, half, pair.measured) for half in pair.filtered)
                self._given[place] = first, second
        return loss.detach()

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that `load` needs to go on exactly, on the CPU."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in self._optimizer.moments()}
        if self._given[0] is not self._pairs[0].filtered:
            tensors |= {f"given.{which}": half for which, half in enumerate(half for given in self._given for half in given)}
        tensors["done"] = torch.tensor(self.done)
        # Copies: the next step changes parameters where they are.
        return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from where another one was.

        Raises
        ------
        InputError
            If that was of another network or other halves.
        """
        device = self._pairs[0].halves[0].device
        network, moments = (_of(kind, tensors) for kind in ("network.", "optimizer."))
        try:
            self.network.load_state_dict(network)
            self._optimizer.load(moments)
            self.done = int(tensors["done"])
            if "given.0" in tensors:
                given = [tensors[f"given.{which}"].to(device) for which in range(2 * len(self._pairs))]
                self._given = list(zip(given[::2], given[1::2], strict=True))
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            reason = str(error).splitlines()[0]
            told = f"what was learned is of other halves, another network or another version ({reason}): start again with --overwrite"
            raise InputError(told) from error


def _of(kind: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}


def _pace(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP, (steps - step) / max(1.0, _DECAY * steps))


def _weight(size: int, noise: torch.Tensor) -> torch.Tensor:
    """Return the weight of each frequency of a cube: one over the noise, and the mirrored half of the spectrum counted too."""
    frequency = radius((size,) * 3, noise.device)
    weight = (1 / noise)[shell_of(frequency)] * ((frequency > LOWEST) & (frequency <= 0.5))
    weight[..., 1:-1] *= 2
    # White noise of variance 1 has this power in a cube.
    return weight / size**3


def _loss(network: Restorer, pair: Pair, given: Sequence[torch.Tensor], cubes: Cubes, weight: torch.Tensor, indices: range) -> torch.Tensor:
    """Return the mean over some cubes of the power of what is wrong, over the noise, at the frequencies that were measured."""
    inputs, targets, counted = [], [], []
    for index in indices:
        turn, centre, swapped = cubes.draw(tuple(pair.halves[0].shape), index)
        one, other = (1, 0) if swapped else (0, 1)
        whole, target = cubes.spectra((given[one], pair.halves[other]), turn, centre)
        inputs.append(torch.fft.irfftn(whole * cubes.measured, s=(cubes.size,) * 3))
        targets.append(target)
        counted.append(cubes.measured_of(turn))
    made = network(torch.stack(inputs)[:, None])[:, 0]
    wrong = (torch.fft.rfftn(made, dim=(1, 2, 3)) - torch.stack(targets)).abs().square()
    weights = torch.stack(counted) * weight
    return (wrong * weights).sum() / (weights > 0).sum()


def _refilled(network: Restorer, half: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    """Return a half with what was not measured of it replaced by what the network makes of it."""
    made = torch.fft.rfftn(applied(network, half))
    return torch.fft.irfftn(torch.where(measured, torch.fft.rfftn(half), made), s=half.shape)
