"""Whether results wave or have seams along y: for the volumes of a finished run of quality.py, and of a fit under two memory limits.

    python examples/benchmarks/waves.py spheres [--eta E] --work DIR [the options that quality.py had] [--methods NAME ...]
    python examples/benchmarks/waves.py spheres --limits least 8GB [--limits-only] [--options="--passes 20"]

``PSNR std`` and ``SSIM std`` are the standard deviations over y-rows; in ``own`` each row's mean over all compared methods is subtracted
first: what the row's content does to all alike cancels, and no truth enters but through the metric.

``period P`` is the power along y of the error, ``mean over (z, x) of |FFT_y(f - truth)|^2`` after the affine intensity fit, at period P
and its harmonics, over the median of the frequencies around each: 1 where nothing repeats every P rows. The row ``truth`` is of the truth
itself.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from casefolder import Case, add_case_arguments, case_of
from commands import table, write_results
from limits import rows_of_limits
from methods import Maker
from scores import score

from wedge import store
from wedge.intensity import fit_intensities
from wedge.slabs import read_slices

PERIODS = (2, 4, 8, 16, 32)
NEIGHBOURS = 4
LIMITS_SHAPE = (32, 64, 128)


def load(path: Path) -> np.ndarray:
    """Return ``(y, z, x)`` float64 slices."""
    volume = store.open_volume(path)
    return read_slices(volume, 0, volume.array.shape[1]).astype(np.float64)


def fitted(slices: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """Return slices with intensities fitted to the truth, and the scale that did it."""
    moments = [float(part.sum()) for part in (slices, truth, slices * slices, slices * truth)]
    fit = fit_intensities("affine", slices.size, moments)
    return fit.scale * slices + fit.offset, fit.scale


def power_along_y(slices: np.ndarray) -> np.ndarray:
    """Return the mean over (z, x) of the power at each frequency along y."""
    return (np.abs(np.fft.rfft(slices, axis=0)) ** 2).mean(axis=(1, 2))


def excess(power: np.ndarray, num_rows: int, period: int) -> float | None:
    """Return the power at a period and its harmonics over the median around each, their mean; None where the rows are too few."""
    places = np.unique(np.round(np.arange(1, period // 2 + 1) * num_rows / period).astype(int))
    places = places[(places > 0) & (places < len(power))]
    ratios = []
    for place in places:
        around = [i for i in range(place - NEIGHBOURS, place + NEIGHBOURS + 1) if 0 < i < len(power) and i not in places]
        if around and (middle := float(np.median(power[around]))) > 0:
            ratios.append(power[place] / middle)
    return round(float(np.mean(ratios)), 3) if ratios else None


def periods_of(slices: np.ndarray) -> dict[str, float | None]:
    power = power_along_y(slices)
    return {f"period {period}": excess(power, len(slices), period) for period in PERIODS}


def wave_rows(case: Case, names: list[str]) -> list[dict[str, Any]]:
    """Return a row for each method, and one for the truth."""
    volumes = {name: case.folder / f"{name}.zarr" for name in names}
    series = {name: score(path, case.truth).series for name, path in volumes.items()}
    truth = load(case.truth)
    spreads: dict[str, dict[str, float]] = {name: {} for name in names}
    for metric in ("psnr", "ssim"):
        values = {name: np.array(found[metric], dtype=np.float64) for name, found in series.items()}
        common = np.mean(list(values.values()), axis=0)
        for name, found in values.items():
            spreads[name][f"{metric.upper()} std"] = round(float(np.nanstd(found)), 4)
            spreads[name][f"{metric.upper()} std, own"] = round(float(np.nanstd(found - common)), 4)
    rows = [{"method": name, **spreads[name], **periods_of(fitted(load(path), truth)[0] - truth)} for name, path in volumes.items()]
    return [*rows, {"method": "truth", **dict.fromkeys(spreads[names[0]]), **periods_of(truth)}]


def write_waves(case: Case, wanted: list[str] | None) -> None:
    case.make()
    maker = Maker(case, reuse=True)
    names = wanted or maker.finished()
    for name in names:
        maker.make(name)
    if not names:
        raise SystemExit(f"no volumes of quality.py in {case.folder}: give its --work")
    rows = wave_rows(case, names)
    command = ["python", "examples/benchmarks/waves.py", *case.words, *(["--methods", *wanted] if wanted else [])]
    better = dict.fromkeys([key for key in rows[0] if "std" in key], "lower")
    path = write_results(case.name("waves"), {"command": command, "case": f"{case.title}, along y", "better": better, "rows": rows})
    print(f"{table(rows, better)}\n")
    print(f"written to {path}", file=sys.stderr)


def write_limits(case: Case, limits: list[str], options: list[str]) -> None:
    """Fit a small version of the case under each limit."""
    case.make()
    rows = rows_of_limits(case.tilts, limits, case.folder, *options)
    title = f"{case.title}, the same fit under several memory limits; largest difference from the first, relative to its largest value"
    words = [*case.words, "--limits-only", "--limits", *limits, *([f"--options={shlex.join(options)}"] if options else [])]
    command = ["python", "examples/benchmarks/waves.py", *words]
    path = write_results(case.name("waves_limits"), {"command": command, "case": title, "rows": rows})
    print(table(rows))
    print(f"written to {path}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_case_arguments(parser)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="by default all that the folder holds; what it lacks is made")
    parser.add_argument("--limits", nargs="+", metavar="SIZE", help="memory limits, such as: least 8GB")
    parser.add_argument("--limits-only", action="store_true", help="no spectra")
    parser.add_argument("--options", default="", help="what the fits under limits are given beside, in one word: --options='--passes 20'")
    args = parser.parse_args()
    if not args.limits_only:
        write_waves(case_of(args), args.methods)
    if args.limits or args.limits_only:
        args.work = args.work and args.work / "limits"
        args.shape = args.shape if args.limits_only and args.shape else LIMITS_SHAPE
        write_limits(case_of(args), args.limits or ["least", "8GB"], shlex.split(args.options))


if __name__ == "__main__":
    main()
