"""Some rows of a large phantom of hollow spheres: what its thickness, width and few views do, where all of it is too much to fit.

    python examples/benchmarks/cut.py -o DIR [--shape Z Y X] [--rows START STOP] [--num-tilts N] [--eta NOISE] [--seed N]
    python examples/benchmarks/cut.py -o DIR --compare VOLUME ...

The first writes ``DIR/volume.zarr`` and ``DIR/tilts.zarr``; by default sixteen rows from the middle of the full size. The second tells the
correlation of volumes of these rows with the truth in the measured cone, shell by shell: within a window along y, for where rows end there
is detail that is none.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from commands import table

from wedge import store
from wedge.fourier import is_missing
from wedge.geometry import TiltGeometry
from wedge.noise import add_poisson
from wedge.spheres import chords, make_spheres, rasterize

SHELL = 1 / 32  # cycles per voxel
NUM_SHELLS = 16


def write_cut(folder: Path, shape: tuple[int, int, int], rows: range, num_tilts: int, eta: float, seed: int) -> None:
    """Write rows of a phantom and of its views."""
    angles = tuple(float(angle) for angle in np.linspace(-60, 60, num_tilts))
    whole = TiltGeometry(angles, shape[1:], shape, pixel_size_angstrom=10.0)
    part = TiltGeometry(angles, (len(rows), shape[2]), (shape[0], len(rows), shape[2]), pixel_size_angstrom=10.0)
    spheres = make_spheres(shape, seed)
    mean = spheres.total_density / (shape[1] * shape[2])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        store.create_volume(folder / "volume.zarr", part.volume_shape, voxel_size_angstrom=10.0, overwrite=True) as volume,
        store.create_tilts(folder / "tilts.zarr", part, simulated=True, overwrite=True) as tilts,
    ):
        sinograms = chords(spheres, whole, rows.start, rows.stop)
        volume.write_rows(0, rasterize(spheres, rows.start, rows.stop))
        tilts.write_rows(0, add_poisson(sinograms, rows.start, mean_projection=mean, eta=eta, seed=seed))
        volume.commit({})
        tilts.commit({})


def correlations(folder: Path, path: Path) -> np.ndarray:
    """Return the correlation of a volume with the truth in shells of the measured cone, ``(shell,)``."""
    angles = store.open_tilts(folder / "tilts.zarr").geometry.tilt_angles_deg
    spectra = []
    for each in (path, folder / "volume.zarr"):
        density = store.open_volume(each)
        slices = np.asarray(density.array).transpose(1, 0, 2)
        window = np.hanning(len(slices) + 2)[1:-1, None, None]
        spectra.append(np.fft.rfftn((slices - slices.mean()) * window))
    along = [np.fft.fftfreq(slices.shape[0]), np.fft.fftfreq(slices.shape[1]), np.fft.rfftfreq(slices.shape[2])]
    shell = (np.sqrt(along[0][:, None, None] ** 2 + along[1][:, None] ** 2 + along[2] ** 2) / SHELL).astype(int)
    measured = ~is_missing(torch.from_numpy(along[1])[:, None], torch.from_numpy(along[2]), angles).numpy()
    chosen = np.broadcast_to(measured, shell.shape) & (shell < NUM_SHELLS)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell[chosen], values[chosen], NUM_SHELLS)

    one, other = spectra
    found: np.ndarray = summed((one * other.conj()).real) / np.sqrt(summed(np.abs(one) ** 2) * summed(np.abs(other) ** 2))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 1024, 1024], metavar=("Z", "Y", "X"), help="of the whole phantom")
    parser.add_argument("--rows", type=int, nargs=2, default=[500, 516], metavar=("START", "STOP"))
    parser.add_argument("--num-tilts", type=int, default=60)
    parser.add_argument("--eta", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--compare", type=Path, nargs="+", metavar="VOLUME")
    args = parser.parse_args()
    if not (args.compare and (args.output / "tilts.zarr").exists()):
        write_cut(args.output, tuple(args.shape), range(*args.rows), args.num_tilts, args.eta, args.seed)
    if not args.compare:
        return
    found = [correlations(args.output, path) for path in args.compare]
    names = [f"{shell * SHELL:.3f}-{(shell + 1) * SHELL:.3f}" for shell in range(NUM_SHELLS)]
    rows = [{"volume": path.stem} | dict(zip(names, each.round(3), strict=True)) for path, each in zip(args.compare, found, strict=True)]
    print(table(rows))


if __name__ == "__main__":
    main()
