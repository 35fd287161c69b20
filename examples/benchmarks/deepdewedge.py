"""DeepDeWedge, as its authors publish it but smaller: a U-Net learns from turned cubes of one half to give the other, and what was missing.

The program is BSD 2-Clause (2023, Machine Learning and Information Processing Laboratory), https://github.com/MLI-lab/DeepDeWedge; nothing
of it is here. Install it in a Python of its own, PyTorch Lightning below 2 among what it asks for, and name that Python in
``DEEPDEWEDGE_PYTHON``. Its recommendation is cubes of 64 voxels and more, 64 channels (or 32), batches of 5, 1000 epochs: a night on a GPU.

References
----------
Wiedemann and Heckel (2024), https://doi.org/10.1038/s41467-024-51438-y
"""

import math
from typing import Any

from peers import Peer, Shape

FACTOR = 8
"""Of cubes: three levels of the network."""
LARGEST_CUBE = 96
STRIDE = 10


def turned_size(cube: int) -> int:
    """Return the edge of what is cut out, so that a cube of ``cube`` voxels can be turned within it."""
    return 2 * math.ceil(math.sqrt(2) * cube / 2)


def setting(shape: Shape) -> dict[str, Any]:
    """Return the published setting with the largest cubes that can be turned within the volume, a quarter of the channels, fewer epochs."""
    cubes = range(FACTOR, LARGEST_CUBE + 1, FACTOR)
    cube = max((cube for cube in cubes if turned_size(cube) <= min(shape)), default=FACTOR)
    free = [max(n - turned_size(cube), 1) for n in shape]
    return {
        "cube": cube,
        "missing_deg": 60,
        "strides": [n // max(1, round(n / STRIDE)) for n in free],
        "seed": 0,
        "points": [10, 25, 35],
        "channels": 16,
        "learning_rate": 4e-4,
        "batch": 2,
        "update_every": 10,
        "save_every": 5,
    }


def note(given: dict[str, Any]) -> str:
    return (
        f"{given['channels']} channels (published 64), cubes of {given['cube']} (96), batches of {given['batch']} (5), "
        f"{given['points'][-1]} epochs (1000), no validation; CPU seconds"
    )


DEEPDEWEDGE = Peer(
    name="deepdewedge",
    title="DeepDeWedge",
    home="https://github.com/MLI-lab/DeepDeWedge",
    module="ddw",
    variable="DEEPDEWEDGE_PYTHON",
    script="deepdewedge_run.py",
    unit="epochs",
    setting=setting,
    note=note,
)
