"""Gold beads: what they do to a reconstruction, and what taking them out gives back, away from the beads.

    python examples/benchmarks/gold.py [--work DIR] [--seed N] [--tiny] [--methods fbp network]

A slab of protein densities as in cases.py, with noise, and balls of gold in it, many times as dense. Four series are reconstructed alike:
the slab without any gold, with it, with beads erased (``wedge preprocess --gold erase``) and with beads masked (``--gold mask``). All are
compared with the slab without gold, what lies within two radii of the beads left out: PSNR after an affine fit, and the Fourier shell
correlation over bands in cycles per voxel. All fits have the settings that trials chose for the slab without gold on a tuning seed.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import torch
from cases import FINE, FIRST_TUNING_SEED, REPORTED_DENSITIES, TUNING_DENSITIES, VOXEL_ANGSTROM, binned, draw_slab, project_fine
from commands import table, wedge, write_results

from wedge import store
from wedge.geometry import TiltGeometry
from wedge.slabs import read_slices

SHAPE, TINY_SHAPE = (48, 112, 112), (32, 48, 48)
NUM_TILTS = 41
NUM_BEADS, TINY_BEADS = 8, 2
RADIUS = 3.5  # voxels
DENSITY = 40.0  # times the largest of a particle
SNR = 2.0
BANDS = ((0.0, 0.125), (0.125, 0.25), (0.25, 0.5))
SERIES = {"without gold": "clean", "gold left": "gold", "gold erased": "erase", "gold masked": "mask"}
CHOSEN = ["--tune", "none", "--blur", "0.9", "--weighting", "plain", "--regularizer", "tv:weight=0.1", "--batch-rows", "48"]
OPTIONS = {
    "fbp": ["fbp", "--filter", "hamming"],
    "network": ["reconstruct", "--method", "network", "--passes", "120", "--learning-rate", "0.05", "--margin", "0", *CHOSEN],
}


def bead_places(shape: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    """Return ``(bead, 3)`` places z, y, x in voxels; beads do not touch."""
    random = np.random.default_rng([seed, 7])
    edge = RADIUS + 1
    places: list[np.ndarray] = []
    while len(places) < count:
        place = random.uniform([edge, edge, edge], np.array(shape) - 1 - edge)
        if all(np.linalg.norm(place - other) > 3 * RADIUS for other in places):
            places.append(place)
    return np.array(places)


def distances(shape: tuple[int, int, int], places: np.ndarray) -> np.ndarray:
    """Return the distance of each voxel from the nearest place, in the units of the places."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij", sparse=True)
    found = np.full(shape, np.inf)
    for place in places:
        found = np.minimum(found, np.sqrt((z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2))
    return found


def make(folder: Path, shape: tuple[int, int, int], num_beads: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Write both series; return the slab without gold and where it is compared, ``(z, y, x)``."""
    fine = draw_slab(shape, TUNING_DENSITIES if seed >= FIRST_TUNING_SEED else REPORTED_DENSITIES, seed)
    places = bead_places(shape, num_beads, seed)
    inside = distances(tuple(fine.shape), FINE * places + (FINE - 1) / 2) <= FINE * RADIUS
    with_gold = torch.where(torch.from_numpy(inside), torch.tensor(DENSITY), fine)
    # Under the beads there is nothing: what is compared is the same with and without them.
    fine = torch.where(torch.from_numpy(inside), torch.tensor(0.0), fine)
    angles = tuple(float(angle) for angle in np.linspace(-60, 60, NUM_TILTS))
    geometry = TiltGeometry(angles, shape[1:], shape, pixel_size_angstrom=VOXEL_ANGSTROM)
    views = {"clean": project_fine(fine, geometry).numpy(), "gold": project_fine(with_gold, geometry).numpy()}
    sigma = float(np.sqrt(views["clean"].var() / SNR))
    noise = np.random.default_rng([seed, 2]).normal(scale=sigma, size=views["clean"].shape).astype(np.float32)
    for name, array in views.items():
        with store.create_tilts(folder / f"{name}.zarr", geometry, overwrite=True) as out:
            out.write_rows(0, (array + noise).transpose(1, 0, 2))
            out.commit({"case": "gold", "seed": seed, "beads": places.tolist() if name == "gold" else []})
    return binned(fine).numpy(), distances(shape, places) > 2 * RADIUS


def scores(volume: Path, truth: np.ndarray, away: np.ndarray) -> dict[str, float]:
    """Return how close a volume is to the truth away from the beads."""
    opened = store.open_volume(volume)
    found = read_slices(opened, 0, opened.array.shape[1]).transpose(1, 0, 2).astype(np.float64)
    scale, offset = np.polyfit(found[away], truth[away], 1)
    error = float(np.mean((scale * found[away] + offset - truth[away]) ** 2))
    told = {"PSNR": 10 * np.log10(float(np.ptp(truth[away])) ** 2 / error)}
    # What is left out is the mean of what is not, in both.
    ours, theirs = (np.where(away, part - part[away].mean(), 0.0) for part in (found, truth))
    a, b = np.fft.fftn(ours), np.fft.fftn(theirs)
    z, y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in truth.shape), indexing="ij", sparse=True)
    frequency = np.sqrt(z**2 + y**2 + x**2)
    for low, high in BANDS:
        ring = (frequency > low) & (frequency <= high)
        product = float((a[ring] * b[ring].conj()).real.sum())
        told[f"FSC {low:g}-{high:g}"] = product / float(np.sqrt((np.abs(a[ring]) ** 2).sum() * (np.abs(b[ring]) ** 2).sum()))
    return {name: round(float(value), 4) for name, value in told.items()}


def picture(path: Path, volumes: list[Path], truth: np.ndarray) -> None:
    """Draw the slice in the middle of y of the truth and of each volume, one below the other, on the scale of the truth."""
    row = truth.shape[1] // 2
    slices = [truth[:, row]] + [read_slices(store.open_volume(volume), row, row + 1)[0] for volume in volumes]
    high = float(np.quantile(truth, 0.999))
    matplotlib.image.imsave(path, np.concatenate(slices), cmap="gray", vmin=0.0, vmax=high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder of the series and volumes; kept")
    parser.add_argument("--seed", type=int, default=0, help=f"from {FIRST_TUNING_SEED} on for tuning")
    parser.add_argument("--tiny", action="store_true", help="a small slab with few beads")
    parser.add_argument("--methods", nargs="+", choices=list(OPTIONS), default=list(OPTIONS))
    args = parser.parse_args()
    folder = args.work or Path(tempfile.mkdtemp(prefix="wedge-gold-"))
    folder.mkdir(parents=True, exist_ok=True)
    shape, num_beads = (TINY_SHAPE, TINY_BEADS) if args.tiny else (SHAPE, NUM_BEADS)
    truth, away = make(folder, shape, num_beads, args.seed)
    detected = {}
    for treatment in ("erase", "mask"):
        words = ["--gold", treatment, "--gold-diameter-pixels", 2 * RADIUS, "--overwrite"]
        told = wedge("preprocess", folder / "gold.zarr", "-o", folder / f"{treatment}.zarr", *words)
        detected[treatment] = told["gold"]
    rows: list[dict[str, Any]] = []
    for method in args.methods:
        for name, stem in SERIES.items():
            volume = folder / f"{stem}_{method}.zarr"
            wedge(OPTIONS[method][0], folder / f"{stem}.zarr", "-o", volume, *OPTIONS[method][1:], "--overwrite")
            rows.append({"series": name, "method": method, **scores(volume, truth, away)})
        picture(folder / f"{method}.png", [folder / f"{stem}_{method}.zarr" for stem in SERIES.values()], truth)
    better = dict.fromkeys(["PSNR", *(f"FSC {low:g}-{high:g}" for low, high in BANDS)], "higher")
    found = len(detected["mask"]["beads"])
    tuning = args.seed >= FIRST_TUNING_SEED
    case = (
        f"proteins {'x'.join(map(str, shape))} (z, y, x) with {num_beads} beads of gold, radius {RADIUS:g} voxels, "
        f"{DENSITY:g} times as dense as the densest of a particle, {NUM_TILTS} tilts in +-60, signal-to-noise {SNR:g} without the gold, "
        f"{'tuning' if tuning else 'reporting'} seed {args.seed}; {found} beads found; away from the beads"
    )
    parts = ["tuning"] * tuning + ["gold", "x".join(map(str, shape))] + ([f"seed{args.seed}"] if args.seed else [])
    path = write_results("_".join(parts), {"case": case, "better": better, "rows": rows})
    print(f"{table(rows)}\n")
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
