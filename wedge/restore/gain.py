"""How much too little a network makes of what is faint.

What it makes of one half of the data is compared with the other half, whose noise is independent: what both have in common would equal the
power of what was made, had the network learned to the end. But it has come less far with fine detail than with coarse, and gives it too
faint. So shells of the spectrum of which it surely makes too little are amplified.
"""

import torch

from wedge.restore.halves import Pair
from wedge.restore.network import Restorer, applied

_MOST = 2.0
_SURE = 2.0  # standard deviations by chance
_POWER = 0.7  # the mean of both halves, with less noise, needs less of it than the half that it was found on


@torch.no_grad()
def gain_of(network: Restorer, pair: Pair) -> torch.Tensor:
    """Return what each shell of what a network makes of the mean of both halves is to be multiplied by, ``(shell,)``, 1 or more."""
    found = [pair.common_power(applied(network, half), 1 - which) for which, half in enumerate(pair.filtered)]
    common, chance, power = (first + second for first, second in zip(*found, strict=True))
    return ((common - _SURE * chance.sqrt()) / power.clamp_min(1e-30)).clamp(1, _MOST) ** _POWER
