"""A specimen that goes on beyond the field of view, and the same part of it alone: edges, middle, and what the wider field is worth.

    python examples/benchmarks/lamella.py [--shape Z Y X] [--seed S] [--snr SNR] [--work DIR]

``lamella``: densities in a slab three times as wide as the detector. ``island``: what of it lies below the detector, with nothing beside
it: a specimen that fits. The truth is the same. ``edges`` are the outer eighths in x, ``middle`` is the inner half; brightness is the mean
density there relative to the truth's, after one affine fit of the middle.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cases import FIRST_TUNING_SEED, REPORTED_DENSITIES, TUNING_DENSITIES, VOXEL_ANGSTROM, binned, draw_slab, project_fine
from commands import cost, table, wedge, write_results

from wedge import store
from wedge.geometry import TiltGeometry
from wedge.slabs import read_slices

SHAPE = (32, 64, 128)
NUM_TILTS = 41
METHODS: dict[str, tuple[str, ...]] = {
    "fbp": ("fbp",),
    "default": ("reconstruct",),
    "margin 0": ("reconstruct", "--margin", "0"),
}
BETTER = {"PSNR middle": "higher", "PSNR edges": "higher", "seconds": "lower"}


def make(folder: Path, shape: tuple[int, int, int], seed: int, snr: float | None) -> np.ndarray:
    """Write the views of both specimens and return the truth, ``(z, y, x)``."""
    names = REPORTED_DENSITIES if seed < FIRST_TUNING_SEED else TUNING_DENSITIES
    depth, rows, width = shape
    wide = draw_slab((depth, rows, 3 * width), names, seed)
    truth = binned(wide).numpy()[:, :, width : 2 * width]
    alone = wide.clone()
    alone[:, :, : 2 * width] = 0
    alone[:, :, 4 * width :] = 0
    angles = tuple(float(a) for a in np.linspace(-60, 60, NUM_TILTS))
    geometry = TiltGeometry(angles, (rows, width), shape, pixel_size_angstrom=VOXEL_ANGSTROM)
    for name, fine in (("lamella", wide), ("island", alone)):
        views = project_fine(fine, geometry).numpy()
        if snr is not None:
            sigma = float(np.sqrt(views.var() / snr))
            views = views + np.random.default_rng([seed, 7]).normal(scale=sigma, size=views.shape).astype(np.float32)
        with store.create_tilts(folder / f"{name}.zarr", geometry, overwrite=True) as out:
            out.write_rows(0, views.transpose(1, 0, 2))
            out.commit({"case": name, "seed": seed, "snr": snr})
    return truth


def measured(volume: Path, truth: np.ndarray) -> dict[str, float]:
    """Return how near a volume is to the truth in its middle and at its edges in x."""
    opened = store.open_volume(volume)
    found = read_slices(opened, 0, opened.array.shape[1]).transpose(1, 0, 2).astype(np.float64)
    width = truth.shape[2]
    middle = np.s_[:, :, width // 4 : width - width // 4]
    slope, offset = np.polyfit(found[middle].ravel(), truth[middle].ravel(), 1)
    fitted = slope * found + offset
    edge = width // 8
    sides = np.concatenate([fitted[:, :, :edge], fitted[:, :, -edge:]], axis=2)
    true_sides = np.concatenate([truth[:, :, :edge], truth[:, :, -edge:]], axis=2)
    peak = float(truth.max() - truth.min())
    return {
        "PSNR middle": _psnr(fitted[middle] - truth[middle], peak),
        "PSNR edges": _psnr(sides - true_sides, peak),
        "brightness of edges": round(float(sides.mean() / true_sides.mean()), 3),
        "of the outermost columns": round(float(sides[:, :, [0, -1]].mean() / true_sides[:, :, [0, -1]].mean()), 3),
    }


def _psnr(error: np.ndarray, peak: float) -> float:
    return round(float(10 * np.log10(peak**2 / np.mean(error**2))), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("Z", "Y", "X"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snr", type=float)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    folder = args.work or Path(tempfile.mkdtemp(prefix="wedge-lamella-"))
    shape = (args.shape[0], args.shape[1], args.shape[2])
    truth = make(folder, shape, args.seed, args.snr)
    rows: list[dict[str, Any]] = []
    for specimen in ("island", "lamella"):
        for method, words in METHODS.items():
            out = folder / f"{specimen}-{method.replace(' ', '-')}.zarr"
            told = wedge(words[0], folder / f"{specimen}.zarr", "-o", out, *words[1:], "--overwrite")
            margin = told.get("fit", {}).get("margin")
            rows.append({"specimen": specimen, "method": method, "margin": margin, **measured(out, truth), **cost(told)})
    size = "x".join(map(str, shape))
    noise = "no noise" if args.snr is None else f"SNR {args.snr:g}"
    title = f"A slab of proteins that goes on beyond the field of view, and the part in view alone, {size}, {noise}, seed {args.seed}"
    name = f"{'tuning_' if args.seed >= FIRST_TUNING_SEED else ''}lamella_{size}" + ("" if args.snr is None else f"_snr{args.snr:g}")
    words = ["--shape", *map(str, shape), "--seed", str(args.seed), *(["--snr", f"{args.snr:g}"] if args.snr is not None else [])]
    command = ["python", "examples/benchmarks/lamella.py", *words]
    path = write_results(name, {"command": command, "case": title, "better": BETTER, "rows": rows})
    print(table(rows, BETTER))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
