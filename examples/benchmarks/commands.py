"""Running ``wedge`` for a benchmark, and telling on what.

Results go into ``results`` beside the benchmarks, or into the folder that ``BENCHMARK_RESULTS`` names.
"""

import json
import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from wedge.provenance import peak_memory_bytes

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).parent / "results")


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


def isolated(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function in a fresh process, as ``wedge`` has one, and return its answer with that process's peak memory."""
    print(function.__name__, *arguments, file=sys.stderr, flush=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_peak, function, arguments).result()


def _with_peak(function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    return function(*arguments) | {"peak_mib": round(peak_memory_bytes() / 2**20)}


def machine() -> dict[str, Any]:
    """Return the hardware and the versions that a result was measured with."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    versions = {name: metadata.version(name) for name in ("wedge-tomo", "torch", "numpy")}
    torch = sys.modules.get("torch")
    gpu = {"gpu": torch.cuda.get_device_name()} if torch is not None and torch.cuda.is_available() else {}
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), **gpu, "python": platform.python_version(), **versions}


def command_words() -> list[str]:
    """Return this command as others would type it: where it keeps its files is nobody else's business."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word == "--work":
            next(words, None)
        elif word != "--reuse" and not word.startswith("--work="):
            kept.append(word)
    return ["python", f"examples/benchmarks/{Path(sys.argv[0]).name}", *kept]


def write_results(name: str, data: dict[str, Any]) -> Path:
    """Keep results as data beside the benchmarks."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "command": command_words()} | data, indent=1) + "\n")
    return path


def table(rows: list[dict[str, Any]], better: Mapping[str, str] | None = None) -> str:
    """Return rows as a Markdown table; columns are the first row's keys.

    ``better`` says of a column whether its best value, set in bold, is the ``higher``, the ``lower`` or the one nearest to ``one``.
    """
    keys = list(rows[0])
    cells = [[_text(row.get(key)) for key in keys] for row in rows]
    for column, key in enumerate(keys):
        best = _best([row.get(key) for row in rows], (better or {}).get(key))
        for line in cells if best is not None else []:
            line[column] = f"**{line[column]}**" if line[column] == _text(best) else line[column]
    return "\n".join("| " + " | ".join(line) + " |" for line in [keys, ["---", *["---:"] * (len(keys) - 1)], *cells])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _best(values: list[Any], direction: str | None) -> float | None:
    """Return the best of several numbers; None where there are fewer than two, or all are as good."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if direction is None or len({_text(number) for number in numbers}) < 2:
        return None
    distance = {"higher": lambda v: -v, "lower": lambda v: v, "one": lambda v: abs(v - 1)}[direction]
    return min(numbers, key=distance)
