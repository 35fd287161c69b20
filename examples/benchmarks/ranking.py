"""Whether scores that know no truth rank reconstructions as the hidden truth does.

    python examples/benchmarks/ranking.py [--seed S] [--tiny] [--work DIR] [--reuse]

Of each phantom some dozens of reconstructions are made with different filters, networks, passes, blurs, weights and methods, all without a
tenth of the views and the outermost two. ``wedge evaluate`` scores them by views and by halves alone, and by the truth; the tables hold
Spearman's rank correlation between both, over reconstructions: 1 where a score puts them in the truth's order. Seeds from 100 on are for
choosing a score, below for reporting.
"""

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cases import FIRST_TUNING_SEED, make_proteins
from commands import table, write_results
from uncertainty import rank_correlation

from wedge.cli import run
from wedge.fit.hold_out import views_to_hold_out
from wedge.store import open_tilts

HOLD_OUT = 0.1
WITH_SEEDS = "spheres-0"
SINGLE = ["--method", "network", "--tune", "none"]
VOXEL = [*SINGLE, "--passes", "30"]
FBP: dict[str, list[str]] = {
    **{f"fbp {name}": ["--filter", name] for name in ("ramp", "hamming", "hann", "overlap")},
    **{f"fbp sirt-like {count}": ["--filter", "sirt-like", "--iterations", str(count)] for count in (5, 20, 80)},
}
FITS: dict[str, list[str]] = {
    **{f"voxel TV {weight}": [*VOXEL, "--regularizer", f"tv:weight={weight}"] for weight in ("0.0003", "0.003", "0.03", "0.3", "3")},
    "voxel no TV": [*VOXEL, "--regularizer", "none"],
    "voxel 4 passes": [*SINGLE, "--passes", "4"],
    "voxel 12 passes": [*SINGLE, "--passes", "12"],
    "voxel blur 0": [*VOXEL, "--blur", "0"],
    "voxel blur 1.5": [*VOXEL, "--blur", "1.5"],
    "voxel plain": [*VOXEL, "--weighting", "plain"],
    "voxel both signs": [*VOXEL, "--positivity", "off"],
    "voxel L1": [*VOXEL, "--loss", "l1"],
    "feature-grid": ["--network", "feature-grid", "--passes", "6"],
    "feature-grid TV 0.3": ["--network", "feature-grid", "--passes", "6", "--regularizer", "tv:weight=0.3"],
    "siren": ["--network", "siren", "--passes", "6", "--batch-rows", "4", "--network-opt", "width=32"],
    "adaptive 0.5": ["--method", "adaptive", "--strength", "0.5", "--tune", "none"],
    "adaptive 2": ["--method", "adaptive", "--strength", "2", "--tune", "none"],
    "adaptive 8": ["--method", "adaptive", "--strength", "8", "--tune", "none"],
}
TINY = ("fbp ramp", "fbp sirt-like 5", "voxel 4 passes")
SCORES = {
    "score": ("score", -1),
    "unseen error": ("unseen.error", -1),
    "unseen error, ramp": ("unseen.ramp-error", -1),
    "inner unseen error": ("inner.error", -1),
    "outermost error": ("outermost.error", -1),
    "outermost error, ramp": ("outermost.ramp-error", -1),
    "unseen FRC": ("unseen.frc", 1),
    "outermost FRC": ("outermost.frc", 1),
    "FSC of halves": ("halves", 1),
    "FSC of halves in the wedge": ("halves.wedge", 1),
    "spread over 2 seeds": ("spread", -1),
    "seen error": ("seen.error", -1),
}
"""Candidates: their names in ``wedge evaluate --json``, and whether more is better."""
PHANTOMS = ("spheres", "noisy spheres", "noisy proteins")
TRUTHS = {"PSNR": "psnr.volume", "FSC": "fsc", "FSC in cone": "fsc.cone", "FSC in wedge": "fsc.wedge"}


def quick(*words: object) -> dict[str, Any]:
    """Run one command in this process and return what it says as JSON: a process for each would take longer than the fits."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in (*words, "--json")])
    if code:
        raise SystemExit(f"wedge {' '.join(map(str, words))}: {err.getvalue()}")
    return json.loads(out.getvalue())


def phantoms(seed: int, tiny: bool, work: Path, reuse: bool) -> dict[str, tuple[Path, Path]]:
    """Make the phantoms, and return truth and tilt series of each."""
    made = {}
    spheres = (12, 24, 32) if tiny else (16, 48, 64)
    for name, eta in (("spheres", 0.0), ("noisy spheres", 0.3)):
        folder = work / f"spheres-{eta:g}"
        noise = ["--noise", "poisson", "--eta", eta] if eta else []
        sizes = ["--shape", *spheres, "--num-tilts", 41, "--tilt-range", -60, 60]
        if not (reuse and (folder / "tilts.zarr").exists()):
            quick("simulate-spheres", "-o", folder, *sizes, *noise, "--seed", seed, "--overwrite")
        made[name] = (folder / "volume.zarr", folder / "tilts.zarr")
    if not tiny:
        folder = work / "proteins"
        if not (reuse and (folder / "tilts.zarr").exists()):
            make_proteins(folder, (32, 48, 64), snr=0.25, seed=seed)
        made["noisy proteins"] = (folder / "truth.zarr", folder / "tilts.zarr")
    return made


def make(tilts: Path, name: str, out: Path, reuse: bool) -> list[Path]:
    """Make one reconstruction and its halves without the held-out views, and another seed's where there are seeds; return the volumes."""
    halves = [out.with_name(f"{out.stem}-{half}.zarr") for half in ("even", "odd")]
    other = out.with_name(f"{out.stem}-seed.zarr")
    # Only where there are seeds, and on one phantom: it costs as much as the halves.
    seeds = [other] if name in FITS and "adaptive" not in name and out.parent.name == WITH_SEEDS else []
    volumes = [out, *halves, *seeds]
    if reuse and all(volume.exists() for volume in volumes):
        return volumes
    common = ["--halves", *halves, "--overwrite"]
    if name in FBP:
        series = open_tilts(tilts)
        held = ",".join(map(str, views_to_hold_out(series, HOLD_OUT, "extremes")))
        quick("fbp", tilts, "-o", out, *FBP[name], "--exclude-views", held, *common)
        return volumes
    held_out = ["--hold-out", HOLD_OUT, "--hold-out-views", "extremes"]
    quick("reconstruct", tilts, "-o", out, *FITS[name], *held_out, *common)
    for volume in seeds:
        quick("reconstruct", tilts, "-o", volume, *FITS[name], *held_out, "--seed", 1, "--overwrite")
    return volumes


def scored(tilts: Path, truth: Path, name: str, out: Path, reuse: bool) -> dict[str, Any]:
    """Return a row: what is found without and with the truth."""
    volume, even, odd, *other = make(tilts, name, out, reuse)
    told = quick("evaluate", volume, *other, "--tilts", tilts, "--halves", even, odd)
    found = told["volumes"][0]["values"] | told["halves"]["values"]
    known = quick("evaluate", volume, "--reference", truth, "--metric", "psnr", "--metric", "fsc")["volumes"][0]["values"]
    row = {"reconstruction": name, **{title: _rounded(known[key]) for title, key in TRUTHS.items()}}
    return row | {title: _rounded(found.get(key)) for title, (key, _) in SCORES.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def agreements(phantom: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each score: its rank correlation with each truth."""
    found = []
    for title, (_, sign) in SCORES.items():
        known = [row for row in rows if row[title] is not None]
        line: dict[str, Any] = {"phantom": phantom, "score": title, "volumes": len(known)}
        for truth in TRUTHS:
            values = [np.array([row[key] for row in known]) for key in (title, truth)]
            line[truth] = round(rank_correlation(sign * values[0], values[1]), 3) if len(known) > 2 else None
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help=f"of the phantoms; from {FIRST_TUNING_SEED} on for choosing a score")
    parser.add_argument("--tiny", action="store_true", help="a few reconstructions of small spheres, in seconds")
    parser.add_argument("--phantom", help=f"one of {', '.join(PHANTOMS)}; default: all")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--reuse", action="store_true", help="take the volumes that are in the folder")
    args = parser.parse_args()
    if args.phantom not in (None, *PHANTOMS):
        raise SystemExit(f"unknown phantom {args.phantom!r}: choose from {', '.join(PHANTOMS)}")
    work = args.work or Path(tempfile.mkdtemp(prefix="wedge-ranking-"))
    names = TINY if args.tiny else (*FBP, *FITS)
    ranks, volumes, started = [], [], time.monotonic()
    for phantom, (truth, tilts) in phantoms(args.seed, args.tiny, work, args.reuse).items():
        if args.phantom not in (None, phantom):
            continue
        rows = []
        for name in names:
            rows.append(scored(tilts, truth, name, tilts.parent / f"{re.sub(r'[^.A-Za-z0-9_]+', '-', name)}.zarr", args.reuse))
            print(f"{time.monotonic() - started:.0f} s: {phantom}, {name}", file=sys.stderr, flush=True)
        ranks += agreements(phantom, rows)
        volumes += [{"phantom": phantom, **row} for row in rows]
    suffix = (
        ("_tiny" if args.tiny else "")
        + (f"_{args.phantom.replace(' ', '_')}" if args.phantom else "")
        + (f"_seed{args.seed}" if args.seed else "")
    )
    prefix = "tuning_" if args.seed >= FIRST_TUNING_SEED else ""
    kind = "tuning" if args.seed >= FIRST_TUNING_SEED else "reporting"
    of = f"{kind} seed {args.seed}, {len(names)} reconstructions of each phantom, 41 tilts in +-60, a tenth and the outermost two unseen; "
    of += "Poisson noise 0.3 of spheres, signal-to-noise 0.25 of proteins"
    better = dict.fromkeys(TRUTHS, "higher")
    path = write_results(f"{prefix}ranking{suffix}", {"case": f"rank correlation with the truth: {of}", "rows": ranks})
    write_results(f"{prefix}ranking{suffix}_volumes", {"case": f"scores of each reconstruction: {of}", "rows": volumes})
    print(table(ranks, better if len({row["phantom"] for row in ranks}) == 1 else None))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
