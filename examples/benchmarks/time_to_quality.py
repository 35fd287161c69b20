"""How soon the default and the plain grid reach what FBP, and the grid tuned with the truth, reach.

    python examples/benchmarks/time_to_quality.py proteins [--snr 0.25] [--passes 10 20 40 80 160]
        [--target NAME ...] [--weight W --rolloff R] [--work DIR] [--reuse]

Every number of passes is a fit of its own with its own schedule. The grid has the weight and roll-off that tuning chose, so its figures
leave the time of the tuning out. The second table holds, by method and target, the seconds of the first fit that is as good, in
correlation and in PSNR of the whole volume; empty where none is. With ``--reuse`` targets are taken from the folder, of a run of
quality.py for example.
"""

import argparse
import sys
from dataclasses import replace
from typing import Any

from casefolder import Case, add_case_arguments, case_of
from commands import cost, table, wedge, write_results
from methods import Maker
from scores import score
from tuned import Setting, copy_signed, fit_voxel

TARGETS = ["fbp-ramp", "voxel-tuned"]
MEASURES = ("correlation", "PSNR")


def target_values(maker: Maker, names: list[str]) -> dict[str, dict[str, float]]:
    """Make what is to be reached, and measure it."""
    for name in names:
        maker.make(name)
    return {name: score(maker.volume(name), maker.case.truth).row for name in names}


def tuned_setting(maker: Maker) -> Setting:
    return Setting(**maker.make("voxel-tuned")["tuning"]["chosen"])


def fit_row(case: Case, method: str, passes: float, setting: Setting | None) -> dict[str, Any]:
    """Fit with some passes: the grid where there is a setting, else the default."""
    out = case.folder / f"passes-{method}-{passes:g}.zarr"
    if setting is None:
        costs = cost(wedge("reconstruct", case.tilts, "-o", out, "--passes", passes, "--overwrite"))
    else:
        bright = out.with_name(f"bright-{out.name}")
        costs = fit_voxel(case, replace(setting, passes=passes), bright)
        copy_signed(case, bright, out)
    found = score(out, case.truth).row
    return {"method": method, "passes": passes, **costs, **{key: found[key] for key in MEASURES}}


def reached(rows: list[dict[str, Any]], targets: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Return the seconds of the first fit of each method that is as good as each target."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        for target, values in targets.items():
            line: dict[str, Any] = {"method": method, "target": target}
            for key in MEASURES:
                good = [row for row in rows if row["method"] == method and row[key] >= values[key]]
                first = min(good, key=lambda row: row["passes"]) if good else {}
                line |= {f"target {key}": values[key], f"{key}: passes": first.get("passes"), f"{key}: seconds": first.get("seconds")}
            found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_case_arguments(parser)
    parser.add_argument("--passes", type=float, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--target", nargs="+", default=TARGETS, metavar="NAME")
    parser.add_argument("--weight", type=float, help="the grid's, instead of tuning it")
    parser.add_argument("--rolloff", type=float, help="the grid's, with --weight; by default none")
    parser.add_argument("--reuse", action="store_true", help="take volumes that are finished in the folder")
    args = parser.parse_args()
    case = case_of(args)
    case.make()
    maker = Maker(case, args.reuse)
    targets = target_values(maker, args.target)
    setting = Setting(args.weight, args.rolloff or "ramp", 0) if args.weight is not None else tuned_setting(maker)
    rolloff = setting.rolloff if isinstance(setting.rolloff, str) else f"roll-off {setting.rolloff:g}"
    grid = f"voxel (TV {setting.weight:g}, {rolloff})"
    settings = {"default": None, "voxel": setting}
    rows = [fit_row(case, method, passes, settings[method]) for method in settings for passes in sorted(args.passes)]
    rows = [row | {"method": grid} if row["method"] == "voxel" else row for row in rows]
    common = {
        "command": ["python", "examples/benchmarks/time_to_quality.py", *case.words, "--passes", *(f"{passes:g}" for passes in args.passes)]
    }
    path = write_results(case.name("time"), common | {"case": f"{case.title}, growing numbers of passes", "rows": rows})
    summary = reached(rows, targets)
    title = f"{case.title}, seconds and passes of the first fit that reaches a target"
    write_results(case.name("time_reached"), common | {"case": title, "rows": summary})
    print(f"{table(rows)}\n\n{table(summary)}")
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
