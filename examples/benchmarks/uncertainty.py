"""What several seeds are worth: metrics against their number, and whether their spread tells the error.

    python examples/benchmarks/uncertainty.py proteins --snr 0.25 [--seeds 8] [--options="--network voxel"] [--work DIR] [--reuse]
    python examples/benchmarks/uncertainty.py proteins --snr 0.25 --fits

Writes the table of averages over 1, 2, 4, ... seeds (the mean over as many groups of so many as there are), the calibration of the spread
over all of them, in ten bins of equally many voxels, and a picture of it; with ``--fits`` the calibration of the spread between the fits
of one stack (``wedge reconstruct --std``). Intensities are fitted to the truth first, and the spread by the same scale. ``rank
correlation`` is Spearman's, of spread and absolute error over all voxels: 1 where the spread orders voxels by their error.
"""

import argparse
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from casefolder import Case, add_case_arguments, case_of
from commands import cost, table, wedge, write_results
from scores import BETTER, score
from waves import fitted, load

BINS = 10


def fit_seeds(case: Case, folder: Path, count: int, options: list[str], reuse: bool) -> list[tuple[Path, dict[str, float]]]:
    """Fit each seed, and return volumes and costs."""
    fits = []
    for seed in range(count):
        out = folder / f"seed-{seed}.zarr"
        record = out.with_suffix(".cost.json")
        if not (reuse and record.exists()):
            told = wedge("reconstruct", case.tilts, "-o", out, "--seed", seed, *options, "--overwrite")
            record.write_text(json.dumps(cost(told)))
        fits.append((out, json.loads(record.read_text())))
    return fits


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0 of a flat array, equal values sharing the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    return (first + (counts - 1) / 2)[which]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def error_and_spread(mean: Path, spread: Path, truth: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return absolute errors and spreads of all voxels, in the truth's units."""
    expected = load(truth)
    slices, scale = fitted(load(mean), expected)
    return np.abs(slices - expected).ravel(), np.abs(scale) * load(spread).ravel()


def calibration(error: np.ndarray, spread: np.ndarray) -> list[dict[str, Any]]:
    """Return the mean error and what share of voxels lies within the spread and twice that, in bins of rising spread."""
    rows = []
    for number, part in enumerate(np.array_split(np.argsort(spread, kind="stable"), BINS), start=1):
        e, s = error[part], spread[part]
        row = {"mean spread": s.mean(), "mean error": e.mean(), "within 1": (e <= s).mean(), "within 2": (e <= 2 * s).mean()}
        rows.append({"tenth": number, **{key: float(f"{value:.4g}") for key, value in row.items()}})
    return rows


def of_fits(case: Case, folder: Path, options: list[str], reuse: bool) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return what the spread between the fits of one stack is like, and errors and spreads."""
    out, std = folder / "stack.zarr", folder / "spread.zarr"
    if not (reuse and out.exists() and std.exists()):
        wedge("reconstruct", case.tilts, "-o", out, "--std", std, *options, "--overwrite")
    error, spread = error_and_spread(out, std, case.truth)
    rms = {"rms error": np.sqrt(np.mean(error**2)), "rms spread": np.sqrt(np.mean(spread**2))}
    return (
        {key: float(f"{value:.4g}") for key, value in rms.items()}
        | {
            "rank correlation": round(rank_correlation(error, spread), 4),
            "within 2, of all": round(float((error <= 2 * spread).mean()), 4),
        },
        error,
        spread,
    )


def calibration_picture(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Write a PNG of mean error against mean spread; on the dotted line they are equal."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    spreads, errors = ([row[key] for row in rows] for key in ("mean spread", "mean error"))
    positive = [value for value in (*spreads, *errors) if value > 0]
    axis.plot([min(positive), max(positive)], [min(positive), max(positive)], linestyle=":", color="grey")
    axis.plot(spreads, errors, marker="o")
    axis.set(xscale="log", yscale="log", xlabel="mean spread", ylabel="mean absolute error", title=title)
    figure.savefig(path)


def average_rows(case: Case, fits: list[tuple[Path, dict[str, float]]]) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Return a row for each number of seeds, the mean over as many groups of so many as there are, and errors and spreads of the last."""
    rows, count, error, spread = [], 1, np.zeros(0), np.zeros(0)
    while count <= len(fits):
        groups, seconds = [], []
        for first in range(0, len(fits) - count + 1, count):
            members = [path for path, _ in fits[first : first + count]]
            mean, std = (members[0].parent / f"{name}-of-{count}-from-{first}.zarr" for name in ("mean", "spread"))
            wedge("average", *members, "-o", mean, *(["--std", std] if count > 1 else []), "--overwrite")
            values = dict(score(mean, case.truth).row)
            if count > 1:
                error, spread = error_and_spread(mean, std, case.truth)
                values |= {"mean error": error.mean(), "rms spread": np.sqrt(np.mean(spread**2))}
                values["rank correlation"] = rank_correlation(error, spread)
            groups.append(values)
            seconds.append(sum(told["seconds"] for _, told in fits[first : first + count]))
        row = {"seeds": count, "groups": len(groups)}
        for name in (*groups[0], "mean error", "rms spread", "rank correlation"):
            row[name] = float(f"{np.mean([values[name] for values in groups]):.4g}") if name in groups[0] else None
        rows.append(row | {"seconds": round(float(np.mean(seconds)), 1)})
        count *= 2
    return rows, error, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_case_arguments(parser)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--fits", action="store_true", help="the spread between the fits of a stack, in place of seeds")
    parser.add_argument("--options", default="", help="given to wedge reconstruct, in one word: --options='--passes 20'")
    parser.add_argument("--reuse", action="store_true", help="take fits that are finished in the folder")
    args = parser.parse_args()
    if args.seeds < 2:
        raise SystemExit("a spread needs two seeds or more")
    case, options = case_of(args), shlex.split(args.options)
    suffix = "".join(f"_{part}" for part in re.findall(r"[\w.]+", args.options))
    name = case.name("uncertainty") + suffix + ("_fits" if args.fits else "")
    folder = case.folder / f"seeds{suffix}"
    case.make()
    folder.mkdir(exist_ok=True)
    title = f"{case.title}, {f'wedge reconstruct {args.options}' if options else 'the default'}, affine intensity fit"
    words = [*case.words, *(["--fits"] if args.fits else ["--seeds", str(args.seeds)])]
    words += [f"--options={shlex.join(options)}"] if options else []
    common = {"command": ["python", "examples/benchmarks/uncertainty.py", *words]}
    if args.fits:
        row, error, spread = of_fits(case, folder, options, args.reuse)
        rows, better, what, of = [row], {}, "spread between the fits of a stack", "the fits of a stack"
    else:
        rows, error, spread = average_rows(case, fit_seeds(case, folder, args.seeds, options, args.reuse))
        better, what, of = BETTER, "means of seeds", f"{rows[-1]['seeds']} seeds"
    path = write_results(name, common | {"case": f"{title}: {what}", "better": better, "rows": rows})
    tenths = calibration(error, spread)
    write_results(f"{name}_calibration", common | {"case": f"{title}: voxels by their spread over {of}", "rows": tenths})
    calibration_picture(tenths, f"{case.case}, {of}", path.with_name(f"{name}.png"))
    print(f"{table(rows, better)}\n\n{table(tenths)}")
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
