"""From the raw needle series, as the microscope wrote it, to an aligned import, a reconstruction, its quality, a report, and an MRC volume.

    python examples/real/needle.py [RAW.mrc] [-o DIR] [--passes N] [--bin K]

Without RAW.mrc the small copy in ``../data/needle`` is taken; the full one is ``HAADF.mrc`` of the etspy 1.3.0 source package. Its traps
are those of many series: the header's pixel size is wrong and that of the extended header right, the background lies near -30000, the tilt
axis runs along x, and nobody aligned it. The picture shows filtered backprojection before and after the alignment, and the fit.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from wedge import store
from wedge.picture import comparison_picture

RAW = Path(__file__).parents[1] / "data" / "needle" / "needle_raw_bin4.mrc"


def wedge(*words: object) -> str:
    """Run one command as a user would, and return what it prints."""
    return subprocess.run([sys.executable, "-m", "wedge", *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, nargs="?", default=RAW)
    parser.add_argument("-o", "--output", type=Path, default=Path("needle-out"))
    parser.add_argument("--passes", default="60")
    parser.add_argument("--bin", type=int, default=1, help="average K x K pixels first: a quick trial")
    args = parser.parse_args()
    out = args.output
    out.mkdir(parents=True, exist_ok=True)
    again = "--overwrite"
    wedge("import", args.raw, "-o", out / "raw.zarr", "--tilt-axis", 90, "--bin", args.bin, again)
    moved = json.loads(wedge("align", out / "raw.zarr", "-o", out / "aligned.zarr", "--alignment-out", out / "needle.xf", "--json", again))
    print(f"held-out error {moved['held_out_error_before']:.4f} as it was, {moved['held_out_error_after']:.4f} aligned")
    wedge("fbp", out / "raw.zarr", "-o", out / "before.zarr", again)
    seen = ["--exclude-views", "0,19,38,57,76"]
    wedge("fbp", out / "aligned.zarr", "-o", out / "fbp.zarr", *seen, again)
    wedge("reconstruct", out / "aligned.zarr", "-o", out / "fit.zarr", *seen, "--passes", args.passes, again)
    volumes = [out / "fbp.zarr", out / "fit.zarr"]
    print(wedge("evaluate", *volumes, "--tilts", out / "aligned.zarr", "--picture", out / "quality.png", again))
    report = ["--title", "Needle: FBP and fit", "-o", out / "needle.html", again]
    wedge("report", out / "fbp.zarr", out / "fit.zarr", out / "before.zarr", "--tilts", out / "aligned.zarr", *report)
    wedge("export", out / "fit.zarr", "-o", out / "fit.mrc", again)
    titles = {"FBP, not aligned": "before", "FBP, aligned": "fbp", "fit, aligned": "fit"}
    comparison_picture([(title, store.open_volume(out / f"{name}.zarr")) for title, name in titles.items()], out / "needle.png")
    print(f"report: {out / 'needle.html'}; pictures: {out / 'needle.png'}, {out / 'quality.png'}; volume: {out / 'fit.mrc'}")


if __name__ == "__main__":
    main()
