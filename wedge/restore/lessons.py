"""What a network that restores learns from: two halves at first, and then what it has made of them itself.

Halves teach a network what is noise and what is not, but there is only one of each: the longer it learns from them, the more of their own
noise it learns. So from some time on it is taught with what it has made so far, as if that were the specimen: turned, less what views would
miss of it, with as much noise as there is, anywhere else each time. It is to give the whole of it. What it makes of the halves then is
nearer to the truth, on phantoms, than what it was taught with.

References
----------
Wiedemann and Heckel (2024), https://doi.org/10.1038/s41467-024-51438-y, and Lehtinen et al. (2018), Noise2Noise, for halves; Xie et al.
(2020), https://doi.org/10.1109/CVPR42600.2020.01070, for a network that is taught with what it made itself, and noise added
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch

from wedge.draws import generator_for
from wedge.restore.cubes import Cubes
from wedge.restore.gain import gain_of
from wedge.restore.halves import LOWEST, Pair, by_shell, radius, shell_of
from wedge.restore.network import Restorer, applied, applied_all_round
from wedge.restore.one_sign import background_of


class Lesson(Protocol):
    """What a network learns from for some steps."""

    def loss(self, network: Restorer, step: int, indices: range) -> torch.Tensor:
        """Return how wrong a network is about cubes of some indices."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that a later run needs to go on exactly."""
        ...


class FromHalves:
    """One half is given, the other one is to be made of it: where both were measured, and of each frequency as much as it is above noise.

    Parameters
    ----------
    pairs
        The same rows halved in one or more ways, taken in turn.
    """

    def __init__(self, pairs: Sequence[Pair], cubes: Cubes) -> None:
        self._pairs, self._cubes = pairs, cubes
        self._weights = [_noise_weight(cubes.size, pair.units.noise.to(pair.halves[0].device)) for pair in pairs]
        self._given = [pair.filtered for pair in pairs]

    def loss(self, network: Restorer, step: int, indices: range) -> torch.Tensor:
        """Return the mean over cubes of the power of what is wrong, over the noise."""
        turn_taken = step % len(self._pairs)
        pair, given, cubes = self._pairs[turn_taken], self._given[turn_taken], self._cubes
        inputs, targets, counted = [], [], []
        for index in indices:
            turn, centre, swapped = cubes.draw(tuple(pair.halves[0].shape), index)
            one, other = (1, 0) if swapped else (0, 1)
            whole, target = cubes.spectra((given[one], pair.halves[other]), turn, centre)
            inputs.append(cubes.seen(whole))
            targets.append(target)
            counted.append(cubes.measured_of(turn))
        return _wrong(network, inputs, targets, torch.stack(counted) * self._weights[turn_taken])

    def fill(self, network: Restorer) -> None:
        """Replace what was not measured of the halves by what a network makes of it, so that turned cubes no longer miss it."""
        for place, pair in enumerate(self._pairs):
            first, second = (_filled(network, half, pair.measured) for half in pair.filtered)
            self._given[place] = first, second

    def state(self) -> dict[str, torch.Tensor]:
        """Return what is given, once it was filled."""
        if self._given[0] is self._pairs[0].filtered:
            return {}
        return {f"given.{which}": half for which, half in enumerate(half for given in self._given for half in given)}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over what was kept, see `state`."""
        if "given.0" in tensors:
            device = self._pairs[0].halves[0].device
            given = [tensors[f"given.{which}"].to(device) for which in range(2 * len(self._pairs))]
            self._given = list(zip(given[::2], given[1::2], strict=True))


class FromMade:
    """What was made is to be made again of less: of what views would see of it, with noise.

    Parameters
    ----------
    made
        Density ``(y, z, x)`` in the units of the halves.
    pair
        The halves, whose noise it is.
    """

    def __init__(self, made: torch.Tensor, pair: Pair, cubes: Cubes, seed: int) -> None:
        self._made, self._cubes, self._seed = made, cubes, seed
        self._given, self._noise = by_shell(made, pair.units.share_of_mean), pair.noise()
        # The lowest frequencies too: of what was made they are known, and what is taught to no network is another one after each lesson.
        self._weight = _weight(radius((cubes.size,) * 3, made.device) <= 0.5, cubes.size)

    @classmethod
    def by(
        cls, network: Restorer, pair: Pair, turns: Sequence[tuple[int, ...]], cubes: Cubes, seed: int, other_side: float = 0.0
    ) -> "FromMade":
        """Return a lesson from what a network makes of the mean of both halves, in several positions, as strong as the specimen.

        Where that has one sign, see `wedge.restore.one_sign` for ``other_side``, its background is flat.
        """
        made = applied_all_round(network, pair.filtered_mean(pair.units.share_of_mean), turns)
        made -= made.mean()
        made = by_shell(made, gain_of(partial(applied, network), made, pair))
        background = background_of(made, other_side)
        made = made if background is None else background.flat(made)
        return cls(made - made.mean(), pair, cubes, seed)

    def loss(self, network: Restorer, step: int, indices: range) -> torch.Tensor:
        """Return the mean over cubes of the power of what is wrong."""
        inputs, targets = [], []
        for index in indices:
            turn, centre, _ = self._cubes.draw(tuple(self._made.shape), index)
            whole, target = self._cubes.spectra((self._given, self._made), turn, centre)
            inputs.append(self._cubes.seen(whole) + self._noise_at(index))
            targets.append(target)
        return _wrong(network, inputs, targets, self._weight.expand(len(inputs), *self._weight.shape))

    def state(self) -> dict[str, torch.Tensor]:
        """Return what was made."""
        return {"made": self._made}

    def _noise_at(self, index: int) -> torch.Tensor:
        """Return noise of a cube, from anywhere, and mirrored so that views would miss the same of it."""
        random, size = generator_for(self._seed, "noise", index), self._cubes.size
        starts = [int(torch.randint(0, count - size + 1, (), generator=random)) for count in self._noise.shape]
        cube = self._noise[tuple(slice(start, start + size) for start in starts)]
        across, along, negative = (torch.rand(3, generator=random) < 0.5).tolist()
        cube = cube.flip([*([0] if along else []), *([1, 2] if across else [])])
        return -cube if negative else cube


def _wrong(network: Restorer, inputs: list[torch.Tensor], targets: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean power of what a network makes wrong of cubes whose spectra it is to make."""
    made = network(torch.stack(inputs)[:, None])[:, 0]
    power = (torch.fft.rfftn(made, dim=(1, 2, 3)) - torch.stack(targets)).abs().square()
    return (power * weights).sum() / (weights > 0).sum()


def _weight(counted: torch.Tensor, size: int) -> torch.Tensor:
    """Return the weight of each frequency of a cube that counts, by which white noise of variance 1 is 1; the mirrored half counts too."""
    weight = counted.float()
    weight[..., 1:-1] *= 2
    return weight / size**3


def _noise_weight(size: int, noise: torch.Tensor) -> torch.Tensor:
    """Return the weight of each frequency of a cube that halves teach, over the power of its noise."""
    frequency = radius((size,) * 3, noise.device)
    return _weight((frequency > LOWEST) & (frequency <= 0.5), size) * (1 / noise)[shell_of(frequency)]


def _filled(network: Restorer, half: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    made = torch.fft.rfftn(applied(network, half))
    return torch.fft.irfftn(torch.where(measured, torch.fft.rfftn(half), made), s=half.shape)
