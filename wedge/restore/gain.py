"""How much too faint a density is that a network has made.

What it is not sure of it makes faint, fine detail most of all: that is right for what is to be near to the truth, but who learns from that
density should take it for a whole one. Two things tell how strong the specimen is at each frequency.

What is made of one half of the data is compared with the other half, whose noise is independent: what both have in common would equal the
power of what was made, had the network learned to the end. And what was made is given to the network again, as views would show it, with
noise: as much as that differs from what was made, what was made differs from the specimen, and of that only the like part is in it.
"""

from collections.abc import Callable

import torch

from wedge.restore.halves import Pair, by_shell

_MOST = 2.0
_SURE = 2.0  # standard deviations by chance
_POWER = 0.7  # the mean of both halves, with less noise, needs less of it than the half that it was found on

Making = Callable[[torch.Tensor], torch.Tensor]
"""What is made of a density ``(y, z, x)``."""


@torch.no_grad()
def gain_of(make: Making, made: torch.Tensor, pair: Pair) -> torch.Tensor:
    """Return what each shell of what was made of both halves is to be multiplied by to be as strong as the specimen, ``(shell,)``.

    It is 1 or more, and bounded where next to nothing can be told.
    """
    return (_short_of_the_other_half(make, pair) * _short_of_itself(make, made, pair)).clamp(1, _MOST)


def _short_of_the_other_half(make: Making, pair: Pair) -> torch.Tensor:
    found = [pair.common_power(make(half), 1 - which) for which, half in enumerate(pair.filtered)]
    common, chance, power = (first + second for first, second in zip(*found, strict=True))
    return ((common - _SURE * chance.sqrt()) / power.clamp_min(1e-30)).clamp(1, _MOST) ** _POWER


def _short_of_itself(make: Making, made: torch.Tensor, pair: Pair) -> torch.Tensor:
    """Return one over the correlation of what was made with what is made of it."""
    # The other way round, for what was made has the noise of the same places.
    shown = pair.as_measured(by_shell(made, pair.units.share_of_mean)) + pair.noise().flip(0)
    again = make(shown)
    likeness = pair.power(made, again) / (pair.power(made, made) * pair.power(again, again)).clamp_min(1e-30).sqrt()
    return (1 / likeness.clamp_min(1 / _MOST)).clamp_max(_MOST)
