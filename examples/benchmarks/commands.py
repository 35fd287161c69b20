"""Running ``wedge`` for a benchmark, and telling on what."""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def wedge(*words: object) -> dict[str, Any]:
    """Run one command in a process of its own and return what it says as JSON."""
    arguments = [str(word) for word in words]
    print("wedge", *arguments, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "wedge", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def cost(told: dict[str, Any]) -> dict[str, float]:
    """Return seconds and peak memory of a command, as its record states them."""
    told = told.get("provenance", told)
    return {"seconds": round(float(told["seconds"]), 1), "peak_mib": round(told["peak_memory_bytes"] / 2**20)}


def machine() -> dict[str, Any]:
    """Return the hardware and the versions that a result was measured with."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    versions = {name: metadata.version(name) for name in ("wedge-tomo", "torch", "numpy")}
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), **versions}


def write_results(name: str, data: dict[str, Any]) -> Path:
    """Keep results as data beside the benchmarks."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "command": ["python", *sys.argv]} | data, indent=1) + "\n")
    return path


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table; columns are the first row's keys."""
    keys = list(rows[0])
    cells = [keys, ["---", *["---:"] * (len(keys) - 1)]]
    cells += [[f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in keys] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
