"""How a network learns from two halves of one tomogram to take away noise and to fill the missing wedge.

It is given a turned cube of one half, with the frequencies removed that views would miss of a cube that stands so, and is to give the same
cube of the other half, wherever that was measured: within what it was given it learns to take away noise, for the halves' noise is
independent, and beyond it to fill in, for that was measured in the other orientation. Frequencies count by the noise that they have. Now
and then the missing part of what is cut from is replaced by what the network makes of it, so that turned cubes no longer miss it.

References
----------
Wiedemann and Heckel (2024), https://doi.org/10.1038/s41467-024-51438-y, for both ideas; Lehtinen et al. (2018), Noise2Noise, for the first
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from wedge.draws import seed_for
from wedge.errors import InputError
from wedge.restore.cubes import Cubes
from wedge.restore.halves import LOWEST, Pair, radius, shell_of
from wedge.restore.network import COARSEST, Restorer, applied

_WARM_UP, _DECAY = 30, 0.3  # steps; share of the steps in which the learning rate falls to nothing
_REFILLS = 4  # times that the missing part is filled anew
_LEAST_CUBE = 16


@dataclass(frozen=True)
class RestoreConfig:
    """What is chosen of a restoration; `cube` in voxels."""

    steps: int = 600
    cube: int = 40
    channels: int = 12
    batch: int = 2
    learning_rate: float = 1e-3
    seed: int = 0


def cube_size(config: RestoreConfig, shape: Sequence[int]) -> int:
    """Return the edge of the cubes: as asked, or the largest that the shortest side of a volume holds.

    Raises
    ------
    InputError
        If the volume is too thin.
    """
    size = min(config.cube, min(shape)) // COARSEST * COARSEST
    if size < _LEAST_CUBE:
        raise InputError(f"volumes of {min(shape)} voxels along one side are too thin to cut cubes from: {_LEAST_CUBE} are needed")
    return size


def trained(
    pair: Pair,
    tilt_angles_deg: Sequence[float],
    config: RestoreConfig,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Restorer:
    """Return a network that has learned from two halves; ``on_step`` hears each step's loss, in units of the noise."""
    shape, device = tuple(pair.halves[0].shape), pair.halves[0].device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(config.seed, "restorer"))
        network = Restorer(config.channels).to(device)
    cubes = Cubes(cube_size(config, shape), tilt_angles_deg, config.seed, device)
    weight = _weight(cubes.size, pair.noise.to(device))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    given = pair.filtered
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _pace(step, config.steps)
        loss = _loss(network, pair, given, cubes, weight, range(step * config.batch, (step + 1) * config.batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_step(float(loss.detach()))
        if (step + 1) * _REFILLS // config.steps > step * _REFILLS // config.steps and step + 1 < config.steps:
            given = _refilled(network, pair.filtered[0], pair.measured), _refilled(network, pair.filtered[1], pair.measured)
    return network


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
        whole, target = cubes.cut((given[one], pair.halves[other]), turn, centre)
        inputs.append(torch.fft.irfftn(torch.fft.rfftn(whole) * cubes.measured, s=whole.shape))
        targets.append(target)
        counted.append(cubes.measured_of(turn))
    made = network(torch.stack(inputs)[:, None])[:, 0]
    wrong = torch.fft.rfftn(made - torch.stack(targets), dim=(1, 2, 3)).abs().square()
    weights = torch.stack(counted) * weight
    return (wrong * weights).sum() / (weights > 0).sum()


def _refilled(network: Restorer, half: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    """Return a half with what was not measured of it replaced by what the network makes of it."""
    made = torch.fft.rfftn(applied(network, half))
    return torch.fft.irfftn(torch.where(measured, torch.fft.rfftn(half), made), s=half.shape)
