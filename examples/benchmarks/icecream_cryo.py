"""Icecream, as its authors publish it but smaller: a U-Net learns from one half to give the other, alike for turned and mirrored cubes.

The program is MIT (2025, swing-research), https://github.com/swing-research/icecream; nothing of it is here. Install it in a Python of its
own (another package of the same import name prints variables) and name that Python in ``ICECREAM_PYTHON``. Published are cubes of 72 voxels
of which the middle half is compared, 64 channels, batches of 8, 50000 iterations at 1e-4, in half precision on a GPU.

References
----------
bioRxiv 2025.10.17.682746, https://doi.org/10.1101/2025.10.17.682746
"""

from typing import Any

from peers import Peer, Shape


def setting(_: Shape) -> dict[str, Any]:
    """Return the published setting made small: where iterations are few, all of a cube is compared, and the steps are larger."""
    return {
        "crop_size": 32,
        "tilt_min_deg": -60,
        "tilt_max_deg": 60,
        "seed": 0,
        "points": [100, 200, 400, 600],
        "channels": 8,
        "learning_rate": 1e-3,
        "batch_size": 2,
        "no_window": True,
    }


def note(given: dict[str, Any]) -> str:
    return (
        f"{given['channels']} channels (published 64), cubes of {given['crop_size']} (72), compared whole (their middle), batches of "
        f"{given['batch_size']} (8), {given['points'][-1]} iterations (50000) at {given['learning_rate']:g} (1e-4), single precision, no "
        "mask; CPU seconds"
    )


ICECREAM = Peer(
    name="icecream",
    title="Icecream",
    home="https://github.com/swing-research/icecream",
    module="icecream.trainer",
    variable="ICECREAM_PYTHON",
    script="icecream_run.py",
    unit="iterations",
    setting=setting,
    note=note,
)
