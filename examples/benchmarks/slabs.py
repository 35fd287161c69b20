"""Memory, time and quality against the rows of a step, beside the original study's figures, and against the memory limit.

    python examples/benchmarks/slabs.py [--batches 128 64 32 16] [--limits least 512MiB 1GB 4GB] [--options="--preset study"] [--work DIR]

Hollow spheres 32x128x128, as the study's own table: there batches of 128, 64, 32 and 16 rows took 500 passes on a GPU. Here every batch has
the passes of the fit that is asked for. The first table is of batches, with the rows that are in memory at once; the second of one batch,
the largest, under several memory limits, with few passes: of limits that do not allow the fit there is no row.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from casefolder import Case
from commands import cost, table, wedge, write_results
from limits import rows_of_limits
from scores import score

SHAPE = (32, 128, 128)
STUDY = {128: (500, 53, 6.3), 64: (1000, 66, 3.7), 32: (2000, 95, 2.4), 16: (4000, 160, 1.8)}
"""The study's steps, seconds and GB by the rows of a batch, on a Quadro RTX 8000."""
BETTER = {"PSNR": "higher", "SSIM": "higher", "correlation": "higher", "seconds": "lower", "peak_mib": "lower"}


def batch_row(case: Case, batch: int, options: list[str]) -> dict[str, Any]:
    """Fit with batches of some rows; study columns are empty where the study has no such batch."""
    out = case.folder / f"batch-{batch}.zarr"
    told = wedge("reconstruct", case.tilts, "-o", out, "--batch-rows", batch, *options, "--overwrite")
    found, fit = score(out, case.truth).row, told["fit"]
    steps, seconds, gigabytes = STUDY.get(batch, (None, None, None))
    shown = {key: found[key] for key in ("PSNR", "SSIM", "correlation")}
    study = {"study: steps": steps, "study: seconds": seconds, "study: GB": gigabytes}
    return {"batch": batch, "rows at once": fit["slab_rows"], "steps": fit["steps"], **cost(told), **shown, **study}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=list(STUDY))
    parser.add_argument("--limits", nargs="*", default=["least", "512MiB", "1GB", "4GB"], metavar="SIZE")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("Z", "Y", "X"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="", help="given to wedge reconstruct, in one word: --options='--preset study'")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    options = shlex.split(args.options)
    case = Case(args.work or Path(tempfile.mkdtemp(prefix="wedge-slabs-")), "spheres", tuple(args.shape), seed=args.seed)
    case.make()
    name = case.name("slabs") + ("_" + "_".join(word.strip("-") for word in options) if options else "")
    fit = f"wedge reconstruct {args.options}" if options else "the default fit"
    rows = [batch_row(case, batch, options) for batch in args.batches]
    words = [*case.words, "--batches", *map(str, args.batches), "--limits", *args.limits]
    words += [f"--options={args.options}"] if options else []
    common = {"command": ["python", "examples/benchmarks/slabs.py", *words[1:]]}
    path = write_results(name, common | {"case": f"{case.title}, {fit}, batches of rows", "better": BETTER, "rows": rows})
    print(f"{table(rows, BETTER)}\n")
    if args.limits:
        batch = max(args.batches)
        limited = rows_of_limits(case.tilts, args.limits, case.folder, "--batch-rows", batch, *options)
        title = f"{case.title}, {fit}, batch of {batch} rows; largest difference from the first, relative to its largest value"
        write_results(f"{name}_limits", common | {"case": title, "rows": limited})
        print(table(limited))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
