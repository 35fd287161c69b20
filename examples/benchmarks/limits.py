"""One fit under several memory limits: what each plans and takes, and how far the results are apart.

The passes are few: neither the memory nor the time of a pass depends on their number.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from commands import cost, wedge

from wedge import store
from wedge.slabs import read_slices

LEAST_TIGHT = "least"
FEW_PASSES = 4
SPARE_MIB = 8  # the resident memory that the plan begins from varies by this much


def least_mib(tilts: Path, out: Path, *options: object) -> int:
    """Return the least memory in MiB that a fit says it needs, by asking for one MiB."""
    words = [sys.executable, "-m", "wedge", "reconstruct", tilts, "-o", out, *options, "--max-memory", "1MiB", "--overwrite"]
    done = subprocess.run([str(word) for word in words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
    found = re.search(r"at least (\d+) MiB", done.stderr)
    if not found:
        raise SystemExit(f"the fit did not say what it needs: {done.stderr}")
    return int(found[1]) + SPARE_MIB


def rows_of_limits(tilts: Path, limits: list[str], folder: Path, *options: object) -> list[dict[str, Any]]:
    """Fit once for each limit, ``least`` being what the fit needs at least.

    Limits that are too small are left out. Differences are from the first, relative to its largest value. ``options`` may give another
    number of passes.
    """
    options = ("--passes", FEW_PASSES, *options) if "--passes" not in options else options
    rows, first = [], np.zeros(0)
    for limit in limits:
        out = folder / f"limit-{limit}.zarr"
        allowed = f"{least_mib(tilts, out, *options)}MiB" if limit == LEAST_TIGHT else limit
        try:
            told = wedge("reconstruct", tilts, "-o", out, *options, "--max-memory", allowed, "--overwrite")
        except subprocess.CalledProcessError:
            print(f"no fit within {allowed}, left out", file=sys.stderr)
            continue
        volume = store.open_volume(out)
        slices = read_slices(volume, 0, volume.array.shape[1])
        first = slices if not rows else first
        apart = float(np.abs(slices - first).max() / np.abs(first).max())
        fit = told["fit"]
        planned = round(fit["planned_memory_bytes"] / 2**20)
        rows.append({"allowed": allowed, "rows at once": fit["slab_rows"], "steps": fit["steps"], "planned_mib": planned, **cost(told)})
        rows[-1]["largest difference"] = float(f"{apart:.2g}")
    return rows
