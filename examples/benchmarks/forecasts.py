"""Whether ``wedge plan`` is right: time and memory that it tells, beside what the fit then takes.

    python examples/benchmarks/forecasts.py [--work DIR]

Each fit is planned, and run right after; both are processes of their own. Cases are for tuning, and for reporting.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from casefolder import Case
from commands import cost, table, wedge, write_results

CASES: list[tuple[str, tuple[int, int, int], dict[str, Any], list[str]]] = [
    ("spheres", (32, 128, 128), {}, []),
    ("spheres", (32, 128, 128), {"eta": 0.1}, []),
    ("spheres", (32, 128, 128), {"eta": 1.0}, []),
    ("spheres", (64, 256, 256), {}, []),
    ("spheres", (32, 128, 128), {}, ["--network", "feature-grid"]),
    ("spheres", (32, 128, 128), {}, ["--quality", "fast"]),
    ("proteins", (64, 64, 160), {}, []),
    ("proteins", (64, 64, 160), {"snr": 0.25}, []),
    ("cryo", (64, 64, 128), {"snr": 0.1}, []),
]


def row(work: Path, name: str, shape: tuple[int, int, int], noise: dict[str, Any], options: list[str], seed: int) -> dict[str, Any]:
    case = Case(work / "-".join([name, *map(str, shape), *map(str, noise.values())]), name, shape, seed=seed, **noise)
    case.make()
    told = wedge("plan", case.tilts, *options)
    taken = cost(wedge("reconstruct", case.tilts, "-o", work / "out.zarr", *options, "--overwrite"))
    planned_mib = told["memory_bytes"] / 2**20
    return {
        "case": " ".join([name, "x".join(map(str, shape)), *(f"{key} {value}" for key, value in noise.items()), *options]),
        "method": told["method"],
        "planned seconds": round(told["seconds"], 1),
        "seconds": taken["seconds"],
        "ratio of seconds": round(told["seconds"] / taken["seconds"], 2),
        "planned MiB": round(planned_mib),
        "MiB": taken["peak_mib"],
        "ratio of MiB": round(planned_mib / taken["peak_mib"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))), metavar="NUMBER")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Z", "Y", "X"), help="of every case, in place of its own")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="wedge-forecasts-"))
    chosen = [(name, tuple(args.shape) if args.shape else shape, *rest) for name, shape, *rest in (CASES[n] for n in args.cases)]
    rows = [row(work, *each, args.seed) for each in chosen]
    kind = "forecasts" if args.seed < 100 else "tuning_forecasts"
    path = write_results(kind, {"case": "what wedge plan tells, and what the fit takes", "rows": rows})
    print(table(rows))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
