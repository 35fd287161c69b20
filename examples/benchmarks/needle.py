"""A real tilt series: reconstructions from the views within +-60 degrees against references from all of them (+-76).

    python examples/benchmarks/needle.py [--stack needle.mrc] [--networks NAME ...] [--work DIR]

Three references are made from all views: by FBP, by SIRT with positivity and by the fit; each favours its own kind. Agreement is the
correlation over all voxels, in the whole volume and, band-limited to them, in the frequencies that +-60 does not measure. Also compared are
the views that the reconstructions have not seen (beyond +-60), by the correlation of their projections.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from commands import cost, table, wedge, write_results
from rivals import sirt

from wedge import store
from wedge.fit.background import estimate_offset
from wedge.fit.normalization import sample_rows
from wedge.fourier import missing_mask
from wedge.picture import comparison_picture
from wedge.registry import Registry
from wedge.slabs import read_sinograms, read_slices

CARRIED = Path(__file__).parents[1] / "data" / "needle" / "needle_bin4.mrc"
KEPT = (-60.0, 60.0)
SIRT_ITERATIONS = 100


def write_sirt(tilts_path: Path, out: Path) -> None:
    """Write a SIRT reconstruction of all views, background removed as the fit removes it."""
    tilts = store.open_tilts(tilts_path)
    projector = Registry.load().resolve("projector", "torch").build(tilts.geometry, torch.device("cpu"))
    offset = estimate_offset(sample_rows(tilts))
    with store.create_volume(out, tilts.geometry.volume_shape, tilt_angles_deg=tilts.geometry.tilt_angles_deg, overwrite=True) as writer:
        for y in range(0, tilts.geometry.volume_shape[1], 16):
            stop = min(y + 16, tilts.geometry.volume_shape[1])
            sinograms = torch.from_numpy(read_sinograms(tilts, y, stop)) - offset
            writer.write_rows(y, sirt(sinograms, projector, SIRT_ITERATIONS, positive=True))
        writer.commit({"method": f"SIRT, {SIRT_ITERATIONS} iterations, positivity, offset {offset}"})


def load(path: Path) -> torch.Tensor:
    volume = store.open_volume(path)
    return torch.from_numpy(read_slices(volume, 0, volume.array.shape[1])).double()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def wedge_part(slices: torch.Tensor, angles_deg: tuple[float, ...]) -> torch.Tensor:
    """Return ``(y, z, x)`` slices with only the frequencies that views in +-60 do not measure."""
    mask = missing_mask(tuple(slices.shape[1:]), angles_deg, real=True)
    return torch.fft.irfft2(torch.fft.rfft2(slices) * mask, s=slices.shape[1:])


def unseen_views(tilts_path: Path, slices: torch.Tensor) -> float:
    """Return the correlation of projections with the views beyond +-60."""
    tilts = store.open_tilts(tilts_path)
    beyond = [i for i, angle in enumerate(tilts.geometry.tilt_angles_deg) if not KEPT[0] <= angle <= KEPT[1]]
    geometry = tilts.geometry.with_views(beyond)
    projector = Registry.load().resolve("projector", "torch").build(geometry, torch.device("cpu"))
    measured = torch.from_numpy(read_sinograms(tilts, 0, tilts.geometry.detector_shape[0]))[:, beyond]
    return correlation(projector.project(slices.float()).double(), measured.double())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", type=Path, default=CARRIED)
    parser.add_argument("--networks", nargs="+", default=["feature-grid", "voxel"])
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="wedge-needle-"))
    work.mkdir(parents=True, exist_ok=True)
    tilts = work / "tilts.zarr"
    wedge("import", args.stack, "-o", tilts, "--overwrite")
    references = {name: work / f"reference-{name}.zarr" for name in ("fbp", "sirt", "fit")}
    wedge("fbp", tilts, "-o", references["fbp"], "--overwrite")
    write_sirt(tilts, references["sirt"])
    wedge("reconstruct", tilts, "-o", references["fit"], "--overwrite")
    limited = ["--tilt-range", *KEPT, "--overwrite"]
    outputs = {"fbp": work / "fbp.zarr"}
    costs = {"fbp": cost(wedge("fbp", tilts, "-o", outputs["fbp"], *limited))}
    for name in args.networks:
        outputs[name] = work / f"{name}.zarr"
        costs[name] = cost(wedge("reconstruct", tilts, "-o", outputs[name], "--network", name, *limited))
    angles = store.open_volume(outputs["fbp"]).tilt_angles_deg or ()
    truths = {name: load(path) for name, path in references.items()}
    rows = []
    for name, path in outputs.items():
        slices = load(path)
        whole = {f"{key}": round(correlation(slices, truth), 4) for key, truth in truths.items()}
        inside = wedge_part(slices, angles)
        parts = {f"{key}, wedge": round(correlation(inside, wedge_part(truth, angles)), 4) for key, truth in truths.items()}
        rows.append({"from +-60": name, **whole, **parts, "unseen views": round(unseen_views(tilts, slices), 4), **costs[name]})
    shape = "x".join(map(str, store.open_volume(outputs["fbp"]).array.shape))
    path = write_results(f"needle_{shape}", {"case": f"{args.stack.name}, {shape} (z, y, x), correlation with references", "rows": rows})
    titles = [("FBP, +-76", references["fbp"]), ("FBP, +-60", outputs["fbp"]), *((f"{n}, +-60", outputs[n]) for n in args.networks)]
    picture = path.with_suffix(".png")
    comparison_picture([(title, store.open_volume(p)) for title, p in [*titles, ("fit, +-76", references["fit"])]], picture)
    print(table(rows))
    print(f"written to {path} and {picture}", file=sys.stderr)


if __name__ == "__main__":
    main()
