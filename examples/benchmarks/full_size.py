"""Full size against what it is meant to take on one large GPU: FBP, SIRT and the default, from the Zarr to the committed result.

    python examples/benchmarks/full_size.py [--shape Z Y X] [--eta NOISE ...] [--device auto|cpu|cuda] [--methods NAME ...] [--score]

Hollow spheres, 60 tilts, views from analytic chords. The goals are those of 256x1024x1024 (z, y, x); at other shapes none are shown.
``host_gb`` is the peak of the process, ``device_gb`` what torch held on the GPU at the most. A row is kept as soon as it is there.
``--score`` measures the volumes against the truth as well, all at once when every time is taken: minutes, and 10 GB for each at full size.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from casefolder import Case
from commands import isolated, table, wedge, write_results
from rivals import sirt
from scores import score

from wedge import store
from wedge.provenance import device_peak_memory_bytes
from wedge.registry import Registry
from wedge.slabs import read_sinograms, slab_ranges

FULL = (256, 1024, 1024)
SIRT_ITERATIONS, SIRT_ROWS = 100, 64
GOALS = {"fbp": (10, None, None), "sirt-100": (60, None, None), "default": (180, 8, 16), "high": (1200, 8, 16)}
"""Seconds, GB of the host and GB of the device."""


def sirt_100(tilts_path: str, out: str, device_name: str) -> dict[str, Any]:
    """Write SIRT of a series, slab by slab, and return what it took."""
    begun, device = time.perf_counter(), torch.device(device_name)
    tilts = store.open_tilts(Path(tilts_path))
    geometry = tilts.geometry
    projector = Registry.load().resolve("projector", "torch").build(geometry, device)
    scale = {"voxel_size_angstrom": geometry.voxel_size_angstrom, "tilt_angles_deg": geometry.tilt_angles_deg}
    with store.create_volume(Path(out), geometry.volume_shape, **scale, overwrite=True) as writer:
        for rows in slab_ranges(geometry.volume_shape[1], SIRT_ROWS):
            sinograms = torch.from_numpy(read_sinograms(tilts, rows.start, rows.stop)).to(device)
            writer.write_rows(rows.start, sirt(sinograms, projector, SIRT_ITERATIONS, positive=True).cpu())
        writer.commit({"method": f"SIRT, {SIRT_ITERATIONS} iterations, positive"})
    projector.close()
    return {"seconds": time.perf_counter() - begun, "device_bytes": device_peak_memory_bytes(str(device))}


def by_sirt(tilts: Path, out: Path, device: str) -> dict[str, Any]:
    told = isolated(sirt_100, str(tilts), str(out), device)
    return {"seconds": told["seconds"], "host": told["peak_mib"] * 2**20, "device": told["device_bytes"]}


def by_command(*words: object) -> Callable[[Path, Path, str], dict[str, Any]]:
    """Return how a volume is made by ``wedge``, and what its record says of the cost."""

    def make(tilts: Path, out: Path, device: str) -> dict[str, Any]:
        told = wedge(words[0], tilts, "-o", out, *words[1:], "--device", device, "--overwrite")
        told = told.get("provenance", told)
        return {"seconds": told["seconds"], "host": told["peak_memory_bytes"], "device": told.get("device_peak_memory_bytes")}

    return make


METHODS = {
    "fbp": by_command("fbp"),
    "sirt-100": by_sirt,
    "default": by_command("reconstruct"),
    "high": by_command("reconstruct", "--quality", "high"),
}


def row_of(name: str, cost: dict[str, Any], case: Case, device: str) -> dict[str, Any]:
    """Return a row: what a method took and, at full size on a GPU, what it is meant to take at the most."""
    found = {key: None if cost[key] is None else round(cost[key] / 1e9, 2) for key in ("host", "device")}
    row: dict[str, Any] = {"method": name, "seconds": round(cost["seconds"], 1), "host_gb": found["host"], "device_gb": found["device"]}
    print(row, file=sys.stderr)
    if case.shape != FULL or device != "cuda":
        return row
    taken, goals = (cost["seconds"], found["host"], found["device"]), GOALS[name]
    met = all(value is None or goal is None or value <= goal for value, goal in zip(taken, goals, strict=True))
    return row | dict(zip(("goal_seconds", "goal_host_gb", "goal_device_gb"), goals, strict=True)) | {"met": "yes" if met else "no"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=list(FULL), metavar=("Z", "Y", "X"))
    parser.add_argument("--eta", type=float, nargs="+", default=[0.0], help="levels of Poisson noise: a table for each")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=["fbp", "sirt-100", "default"], metavar="NAME")
    parser.add_argument("--score", action="store_true", help="measure the volumes against the truth")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here: --device cpu")
    shape, work = tuple(args.shape), args.work or Path(tempfile.mkdtemp(prefix="wedge-full-size-"))
    cases = [Case(work / f"eta{eta:g}", "spheres", shape, eta=eta) for eta in args.eta]
    for case in cases:
        case.make()
    rows: list[list[dict[str, Any]]] = [[] for _ in cases]
    for case, made in zip(cases, rows, strict=True):
        for name in args.methods:
            made.append(row_of(name, METHODS[name](case.tilts, out_of(case, name), device), case, device))
            keep(case, made, device)
    if args.score:
        with ThreadPoolExecutor() as pool:
            found = [[pool.submit(score, out_of(case, name), case.truth) for name in args.methods] for case in cases]
        rows = [[row | each.result().row for row, each in zip(made, scored, strict=True)] for made, scored in zip(rows, found, strict=True)]
    for case, made in zip(cases, rows, strict=True):
        path = keep(case, made, device)
        print(f"{table(made)}\nwritten to {path}")


def keep(case: Case, rows: list[dict[str, Any]], device: str) -> Path:
    """Write what is known of a case."""
    size = "x".join(map(str, case.shape))
    hardware = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    noise = f"Poisson noise {case.eta:g}" if case.noisy else "no noise"
    title = f"hollow spheres {size} (z, y, x), 60 tilts in +-60, analytic chords, {noise}, on one {hardware}"
    name = f"full_size_{size}" + (f"_eta{case.eta:g}" if case.noisy else "") + ("_cuda" if device == "cuda" else "")
    return write_results(name, {"case": title, "rows": rows})


def out_of(case: Case, name: str) -> Path:
    return case.folder / f"{name}.zarr"


if __name__ == "__main__":
    main()
