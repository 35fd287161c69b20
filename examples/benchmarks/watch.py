"""How soon ``wedge watch`` shows a large volume, and how much memory its server takes.

    python examples/benchmarks/watch.py [--shape Z Y X] [--work DIR]

A volume of noise is written as a store, with its coarser copies, and as an MRC file, without any; both are dropped from the system's cache
and deleted at the end. Each server is a process of its own. The first picture is there when page, state and preview have come.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from commands import table, write_results

from wedge import formats
from wedge.slabs import chunk_rows, slab_ranges

SMALL = (16, 32, 32)


def write_noise(path: Path, shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    with formats.create_volume(path, shape, voxel_size_angstrom=10.0, tilt_angles_deg=(-60.0, 60.0)) as writer:
        for rows in slab_ranges(shape[1], chunk_rows(shape)):
            writer.write_rows(rows.start, random.standard_normal((len(rows), shape[0], shape[2]), dtype=np.float32))
        writer.commit({})


def forget(path: Path) -> None:
    """Drop a file or a folder of files from the system's cache, as far as it heeds that."""
    for file in [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=600) as answer:
        return bytes(answer.read())


def peak_mib(pid: int) -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1024) if found else 0


def row(path: Path, shape: tuple[int, int, int]) -> dict[str, Any]:
    forget(path)
    begun = time.perf_counter()
    call = [sys.executable, "-m", "wedge", "watch", str(path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            served = time.perf_counter()
            get(address)
            while not (state := json.loads(get(address + "state")))["versions"]["preview"]:
                time.sleep(0.05)
            preview = get(address + "preview")
            shown = time.perf_counter()
            while not json.loads(get(address + "state"))["versions"]["spectrum"]:
                time.sleep(0.05)
            peak = peak_mib(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
    return {
        "volume": f"{'x'.join(map(str, shape))} {path.suffix}",
        "MiB on disk": round(sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 2**20),
        "seconds to the address": round(served - begun, 2),
        "seconds from request to picture": round(shown - served, 2),
        "preview MiB": round(len(preview) / 2**20, 1),
        "peak MiB of the server": peak,
        "told": state["picture"] or "as it is",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 1024, 1024], metavar=("Z", "Y", "X"))
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    shape = (args.shape[0], args.shape[1], args.shape[2])
    rows = []
    with tempfile.TemporaryDirectory(prefix="wedge-watch-", dir=args.work) as folder:
        for name, each in (("small.zarr", SMALL), ("large.zarr", shape), ("large.mrc", shape)):
            path = Path(folder) / name
            write_noise(path, each)
            rows.append(row(path, each))
    path = write_results(f"watch_{'x'.join(map(str, shape))}", {"case": "servers of wedge watch, one volume each", "rows": rows})
    if args.work:
        (args.work / "watch.json").write_bytes(path.read_bytes())
    print(table(rows))


if __name__ == "__main__":
    main()
