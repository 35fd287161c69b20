"""How well ``wedge align`` finds shifts and rotations that were made on purpose, and leaves an aligned series alone.

    python examples/benchmarks/alignment.py [--seed 0] [--cases spheres proteins] [--shape Z Y X] [--work DIR]

Every view of a series is shifted by up to 5 pixels along x and y and turned by up to 1 degree, at random; white noise comes after. Errors
are root mean squares over views, less the translation of the specimen that explains most of them; one column of the rotation leaves out
what a lean of the specimen explains as well. ``matched`` is ``wedge align --matching-only``. PSNR is of a filtered backprojection, its
specimen moved back to where the truth has it.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from casefolder import Case
from commands import table, write_results

from wedge import store
from wedge.align.refine import align
from wedge.align.resample import moved_series
from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.data import TiltSeries
from wedge.evaluate import evaluate
from wedge.fbp import fbp
from wedge.registry import Registry
from wedge.slabs import read_sinograms

SHAPES = {"spheres": (32, 96, 128), "proteins": (64, 64, 160)}
LARGEST_PIXELS, LARGEST_DEG = 5.0, 1.0


def spoilt(series: TiltSeries, moves: ViewTransforms, snr: float | None, seed: int) -> TiltSeries:
    """Return a series with its views moved, and white noise of the power of the views over ``snr``."""
    views = torch.from_numpy(read_sinograms(series, 0, series.geometry.detector_shape[0]))
    moved = warp_views(views, moves).numpy()
    if snr is not None:
        noise = np.random.default_rng([seed, 3]).normal(scale=moved.std() / np.sqrt(snr), size=moved.shape)
        moved = (moved + noise).astype(np.float32)
    return replace(series, array=np.stack([moved[:, view] for view in range(moved.shape[1])]))


def random_moves(count: int, seed: int) -> ViewTransforms:
    random = np.random.default_rng([seed, 4])
    shifts = random.uniform(-LARGEST_PIXELS, LARGEST_PIXELS, (2, count))
    return ViewTransforms(shifts[0], shifts[1], random.uniform(-LARGEST_DEG, LARGEST_DEG, count))


def moved_back(found: ViewTransforms, made: ViewTransforms, angles: tuple[float, ...]) -> ViewTransforms:
    """Return transforms that leave the specimen where the truth has it."""
    total = made.then(found)
    fixed = total.gauge_fixed(angles)
    none = np.zeros_like(found.rotation_deg)
    return found.then(ViewTransforms(total.dx_pixels - fixed.dx_pixels, total.dy_pixels - fixed.dy_pixels, none), -1.0)


def psnr(series: TiltSeries, moves: ViewTransforms, truth: Path, work: Path) -> float:
    """Return the PSNR of a filtered backprojection of a series, its views resampled by ``moves``."""
    registry, path = Registry.load({"WEDGE_PLUGINS": ""}), work / "fbp.zarr"
    geometry = series.geometry
    with store.create_volume(path, geometry.volume_shape, tilt_angles_deg=geometry.tilt_angles_deg, overwrite=True) as writer:
        fbp(moved_series(series, moves), writer, registry.resolve("projector", "torch").build, filter="hamming")
        writer.commit({})
    metrics = [("psnr", registry.resolve("metric", "psnr").build())]
    told = evaluate(store.open_volume(path), store.open_volume(truth), metrics)
    return round(float(told.values["psnr.volume"]), 2)


def row(case: Case, snr: float | None, shaken: bool, seed: int, work: Path) -> dict[str, Any]:
    whole = store.open_tilts(case.tilts)
    angles = whole.geometry.tilt_angles_deg
    none = ViewTransforms.identity(len(angles))
    made = random_moves(len(angles), seed) if shaken else none
    series = spoilt(whole, made, snr, seed)
    projector = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False})
    begun = time.perf_counter()
    found = align(series, projector.build, say=lambda note: print(note, file=sys.stderr))
    seconds = time.perf_counter() - begun
    before, after = made.gauge_fixed(angles), made.then(found.transforms).gauge_fixed(angles)
    stages = (("before", before), ("matched", made.then(found.matched).gauge_fixed(angles)), ("after", after))
    columns: dict[str, Any] = {"case": case.case, "SNR": "none" if snr is None else snr, "views": "moved" if shaken else "aligned"}
    for name, part in (("x", "dx_pixels"), ("y", "dy_pixels"), ("rotation", "rotation_deg")):
        for label, moves in stages:
            columns[f"{name} {label}"] = round(float(np.sqrt(np.mean(getattr(moves, part) ** 2))), 3)
    columns["rotation after, less lean"] = round(after.without_lean(angles).rms_rotation(), 3)
    columns |= {"applied": "yes" if found.applied else "no"}
    columns |= {"held-out error before": round(found.error_before, 4), "after": round(found.error_after, 4)}
    columns["PSNR of aligned views"] = psnr(spoilt(whole, none, snr, seed), none, case.truth, work)
    columns["PSNR before"] = psnr(series, none, case.truth, work)
    for label, moves in (("matched", found.matched), ("after", found.transforms)):
        columns[f"PSNR {label}"] = psnr(series, moved_back(moves, made, angles), case.truth, work)
    return columns | {"seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Z", "Y", "X"), help="of every case, in place of its own")
    parser.add_argument("--snr", nargs="+", default=["none", "1", "0.25"], help="signal to noise, or none")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    work = args.work or Path(tempfile.mkdtemp(prefix="wedge-alignment-"))
    rows = []
    for name in args.cases:
        case = Case(work / name, name, tuple(args.shape) if args.shape else SHAPES[name], seed=args.seed)
        case.make()
        for text in args.snr:
            rows += [row(case, None if text == "none" else float(text), shaken, args.seed, work) for shaken in (True, False)]
    sizes = ", ".join(f"{name} {'x'.join(map(str, args.shape or SHAPES[name]))}" for name in args.cases)
    kind, name = ("reporting", "alignment") if args.seed < 100 else ("tuning", "tuning_alignment")
    what = (
        f"{sizes} (z, y, x), {kind} seed {args.seed}; every view moved by up to 5 pixels and 1 degree; pixels and degrees, rms over views"
    )
    path = write_results(name, {"case": what, "rows": rows})
    print(table(rows))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
