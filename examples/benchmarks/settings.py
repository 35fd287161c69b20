"""What each setting of the default fit is worth, on a tuning phantom: one setting changed at a time.

python examples/benchmarks/settings.py [--eta E] [--work DIR]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from commands import cost, table, wedge, write_results

SHAPE, SEED = (32, 64, 128), 100
VARIANTS = {
    "default": {},
    "no oversampling": {"oversampling": 1},
    "oversampling from the start": {"oversampling_start": 0.0},
    "learning rate falls all the time": {"decay": 1.0},
    "learning rate x 2": {"learning_rate": 0.012},
    "plain residual": {"data_term": {"weighting": "plain"}},
    "L1": {"data_term": {"loss": "l1"}},
    "no regularizer": {"regularizers": []},
    "TV x 4": {"regularizers": [{"name": "tv", "weight": 0.02}]},
    "ramp rolled off at 0.1, TV x 20": {"data_term": {"rolloff": 0.1}, "regularizers": [{"name": "tv", "weight": 0.1}]},
    "layers twice as wide": {"network": {"name": "feature-grid", "options": {"width": 64}}},
    "voxel": {"network": {"name": "voxel"}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--eta", type=float, default=0.0, help="level of Poisson noise")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="wedge-settings-"))
    noise = ["--noise", "poisson", "--eta", args.eta] if args.eta else []
    wedge("simulate-spheres", "-o", work, "--shape", *SHAPE, "--seed", SEED, *noise, "--overwrite")
    rows = []
    for index, name in enumerate(args.variants):
        settings, out = work / f"{index}.json", work / f"{index}.zarr"
        settings.write_text(json.dumps({"network": {"name": "feature-grid"}} | VARIANTS[name]))
        told = wedge("reconstruct", work / "tilts.zarr", "-o", out, "--config", settings, "--overwrite")
        metrics = ["--metric", "psnr", "--metric", "ssim", "--metric", "fsc"]
        values = wedge("evaluate", out, "--reference", work / "volume.zarr", *metrics)["volumes"][0]["values"]
        shown = {"PSNR": "psnr.volume", "SSIM": "ssim", "FSC cone": "fsc.cone", "FSC wedge": "fsc.wedge"}
        rows.append({"change": name, **{title: round(values[key], 4) for title, key in shown.items()}, **cost(told)})
    case = f"hollow spheres {'x'.join(map(str, SHAPE))} (z, y, x), tuning seed {SEED}, noise {args.eta:g}, feature-grid unless said"
    path = write_results("settings" + (f"_eta{args.eta:g}" if args.eta else ""), {"case": case, "rows": rows})
    print(table(rows))
    print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
