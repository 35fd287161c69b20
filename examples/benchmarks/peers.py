"""Other people's programs on the halves of a noisy case, as their users install them.

A peer takes two half tomograms and returns one volume. Each half is written as MRC by ``wedge fbp`` with the Hamming filter: against the
ramp it costs the truth a hundredth of its correlation, and a half has four times the signal-to-noise. A peer trains in a Python of its own,
named by an environment variable, by default this one; none of its code is here. A run that was stopped goes on with ``--reuse`` from the
last point of its curve. Seconds are of its CPU, training and prediction together.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import torch
from casefolder import Case
from commands import wedge
from rivals import write_volume

from wedge import store

FILTER = "hamming"
RUNS = Path(__file__).parent / "peer_runs"
_LOOK = "import importlib.util as u, sys\ntry: sys.exit(u.find_spec(sys.argv[1]) is None)\nexcept ModuleNotFoundError: sys.exit(1)"

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Peer:
    """A program, where it is from, and how it is run here."""

    name: str
    title: str
    home: str
    module: str
    """That only its package has."""
    variable: str
    """Of the environment, for the Python that has it."""
    script: str
    unit: str
    """What the points of its curve count."""
    setting: Callable[[Shape], dict[str, Any]]
    """Of a ``(z, y, x)`` case; ``points`` of its curve among it."""
    note: Callable[[dict[str, Any]], str]
    """What differs from the published setting."""

    def folder(self, case: Case) -> Path:
        return case.folder / f"{self.name}.peer"


def python_of(peer: Peer) -> str:
    """Return the Python that has a peer.

    Raises
    ------
    SystemExit
        If it has not.
    """
    python = os.environ.get(peer.variable) or sys.executable
    try:
        found = (
            subprocess.run([python, "-c", _LOOK, peer.module], env=_environment(), check=False, stderr=subprocess.DEVNULL).returncode == 0
        )
    except OSError:
        found = False
    if not found:
        raise SystemExit(
            f"{peer.name}: {python} has no {peer.title}: install it as {peer.home} says, and name the Python that has it in {peer.variable}"
        )
    return python


def _environment() -> dict[str, str]:
    # What this Python is told to find first is not for another one.
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def write_inputs(case: Case, folder: Path) -> None:
    """Write ``half1.mrc``, ``half2.mrc`` and a mask of the whole, all ``(z, y, x)``, where they are not.

    Raises
    ------
    SystemExit
        If the case has no halves.
    """
    if case.halves is None:
        raise SystemExit(f"{case.case} without noise has no halves: give --snr")
    folder.mkdir(parents=True, exist_ok=True)
    for number, half in enumerate(case.halves, start=1):
        if not (folder / f"half{number}.mrc").exists():
            wedge("fbp", half, "-o", folder / f"half{number}.mrc", "--filter", FILTER, "--overwrite")
    with mrcfile.new(folder / "mask.mrc", overwrite=True) as file:
        file.set_data(np.ones(case.shape, dtype=np.float32))


def points_of(peer: Peer, case: Case, reuse: bool) -> list[dict[str, Any]]:
    """Run a peer to the end of its curve, or take what is there, and return its points; each has the file of a volume.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    folder, setting = peer.folder(case), peer.setting(case.shape)
    given, record = folder / "setting.json", folder / "points.json"
    # A longer or a shorter curve is the same run.
    same = reuse and given.exists() and json.loads(given.read_text()) | {"points": None} == setting | {"points": None}
    points = json.loads(record.read_text()) if same and record.exists() else []
    if len(points) < len(setting["points"]):
        python = python_of(peer)
        if not same:
            shutil.rmtree(folder, ignore_errors=True)
        write_inputs(case, folder)
        given.write_text(json.dumps(setting) + "\n")
        words = [python, str(RUNS / peer.script), str(folder.resolve())]
        print(*words, file=sys.stderr, flush=True)
        subprocess.run(words, env=_environment(), check=True, stdout=sys.stderr)
        points = json.loads(record.read_text())
    return [point | {"volume": folder / point["volume"]} for point in points[: len(setting["points"])]]


def take_volume(path: Path, case: Case, out: Path, record: dict[str, Any]) -> None:
    """Write the ``(z, y, x)`` MRC volume of a peer as one of wedge's.

    Raises
    ------
    SystemExit
        If its shape is not the case's.
    """
    with mrcfile.open(path) as file:
        volume = np.array(file.data, dtype=np.float32)
    if volume.shape != case.shape:
        raise SystemExit(f"{path}: {volume.shape} is not the case's (z, y, x) {case.shape}")
    write_volume(out, store.open_tilts(case.tilts), torch.from_numpy(volume.transpose(1, 0, 2).copy()), record)


def make_peer(peer: Peer, case: Case, out: Path, reuse: bool) -> dict[str, Any]:
    """Write what a peer makes of the halves at the end of its curve; return its costs and what differs from the published setting."""
    last = points_of(peer, case, reuse)[-1]
    take_volume(last["volume"], case, out, {"method": peer.title, "after": f"{last['done']} {peer.unit}"})
    return {"seconds": round(last["seconds"], 1), "peak_mib": last["peak_mib"], "note": peer.note(peer.setting(case.shape))}
