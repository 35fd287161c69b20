"""What a fit costs at growing sizes: seconds and memory, of the whole and by million voxels.

    python examples/benchmarks/sizes.py [--eta E] [--options="--quality fast"] [--work DIR]

Hollow spheres, 60 tilts. ``fit seconds`` leave out the search for settings, which takes the same few rows at every height.
"""

import argparse
import math
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from casefolder import Case
from commands import cost, table, wedge, write_results

SIZES = [(16, 64, 64), (32, 64, 128), (32, 128, 128), (64, 128, 256), (64, 256, 256)]


def row(case: Case, options: list[str]) -> dict[str, Any]:
    case.make()
    told = wedge("reconstruct", case.tilts, "-o", case.folder / "out.zarr", *options, "--overwrite")
    taken, voxels = cost(told), math.prod(case.shape) / 1e6
    fit_seconds = told["fit"]["fit_seconds"]
    return {
        "size": "x".join(map(str, case.shape)),
        "million voxels": round(voxels, 3),
        **taken,
        "fit seconds": round(fit_seconds, 1),
        "seconds a million": round(taken["seconds"] / voxels, 1),
        "fit seconds a million": round(fit_seconds / voxels, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(range(len(SIZES))), metavar="NUMBER")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Z", "Y", "X"), help="one size, in place of these")
    parser.add_argument("--eta", type=float, default=0.0, help="level of Poisson noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="", help="given to wedge reconstruct, in one word: --options='--quality fast'")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work, options = args.work or Path(tempfile.mkdtemp(prefix="wedge-sizes-")), shlex.split(args.options)
    shapes = [tuple(args.shape)] if args.shape else [SIZES[number] for number in args.sizes]
    rows = [row(Case(work / "x".join(map(str, s)), "spheres", s, eta=args.eta, seed=args.seed), options) for s in shapes]
    name = "sizes" + (f"_eta{args.eta:g}" if args.eta else "") + ("_" + "_".join(w.strip("-") for w in options) if options else "")
    case = f"hollow spheres, 60 tilts, noise {args.eta:g}, {f'wedge reconstruct {args.options}' if options else 'the default'}"
    path = write_results(name, {"case": case, "rows": rows})
    print(table(rows))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
