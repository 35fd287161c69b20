"""Every network with its default settings against FBP, on hollow spheres projected from analytic chords.

    python examples/benchmarks/networks.py [--networks NAME ...] [--shape Z Y X] [--eta E] [--seed S] [--work DIR]

Phantoms with seeds below 100 are for reporting; settings were chosen on seeds 100 and above. A network passes in FSC if it is at or above
FBP (within 0.002) in every shell of the whole volume, of the measured cone and of the missing wedge.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands import cost, table, wedge, write_results

NETWORKS = ["feature-grid", "voxel", "siren", "relu-pe"]
TIE = 0.002


def curves(path: Path) -> dict[str, dict[str, list[float]]]:
    """Return each volume's FSC series."""
    volumes = json.loads(path.read_text())["volumes"]
    return {volume["volume"]: volume["curves"]["fsc"]["series"] for volume in volumes}


def shells_below(network: dict[str, list[float]], fbp: dict[str, list[float]]) -> int:
    """Count shells where the network's FSC is below FBP's by more than a tie."""
    pairs = [(a, b) for name in ("whole", "cone", "wedge") for a, b in zip(network[name], fbp[name], strict=True)]
    return sum(a is not None and b is not None and a < b - TIE for a, b in pairs)


def row(name: str, values: dict[str, float], costs: dict[str, float], below: int) -> dict[str, Any]:
    columns = {"PSNR": "psnr.volume", "PSNR slices": "psnr", "SSIM": "ssim", "VIF": "vif", "FSC cone": "fsc.cone", "FSC wedge": "fsc.wedge"}
    shown = {title: round(values[key], 4) for title, key in columns.items()}
    bands = {f"wedge {band}": round(values[f"fsc.wedge-{band}"], 3) for band in ("0-0.125", "0.125-0.25", "0.25-0.5")}
    return {"method": name, **shown, **bands, "wedge energy": round(values["wedge-energy"], 3), "shells below FBP": below, **costs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--shape", type=int, nargs=3, default=[32, 128, 128])
    parser.add_argument("--eta", type=float, default=0.0, help="level of Poisson noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="wedge-networks-"))
    sizes = ["--shape", *args.shape, "--num-tilts", 60, "--tilt-range", -60, 60]
    noise = ["--noise", "poisson", "--eta", args.eta] if args.eta else []
    wedge("simulate-spheres", "-o", work, *sizes, *noise, "--seed", args.seed, "--overwrite")
    costs = {"fbp": cost(wedge("fbp", work / "tilts.zarr", "-o", work / "fbp.zarr", "--overwrite"))}
    for name in args.networks:
        out = work / f"{name}.zarr"
        costs[name] = cost(wedge("reconstruct", work / "tilts.zarr", "-o", out, "--network", name, "--overwrite"))
    volumes = [work / f"{name}.zarr" for name in costs]
    told = wedge("evaluate", *volumes, "--reference", work / "volume.zarr", "--curves", work / "curves.json", "--overwrite")
    series = curves(work / "curves.json")
    by_name = dict(zip(costs, told["volumes"], strict=True))
    fbp = series[by_name["fbp"]["volume"]]
    rows = [row(name, v["values"], costs[name], shells_below(series[v["volume"]], fbp)) for name, v in by_name.items()]
    shape = "x".join(map(str, args.shape))
    title = (
        f"hollow spheres {shape} (z, y, x), seed {args.seed}, 60 tilts in +-60, analytic chords, noise {args.eta:g}, affine intensity fit"
    )
    path = write_results(f"networks_{shape}" + (f"_eta{args.eta:g}" if args.eta else ""), {"case": title, "rows": rows})
    print(table(rows))
    print(f"{title}\nwritten to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
