"""A real tilt series from the stack to an MRC volume, with a look at it: the metal needle in `data/needle`.

    python examples/needle.py [-o DIR] [--passes N]

Only views within +-60 degrees are used; the others judge the results. Prints how well FBP and the fit predict those unseen views.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from wedge import store
from wedge.picture import comparison_picture

STACK = Path(__file__).parent / "data" / "needle" / "needle_bin4.mrc"


def wedge(*words: object) -> str:
    """Run one command as a user would, and return what it prints."""
    return subprocess.run([sys.executable, "-m", "wedge", *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("needle-out"))
    parser.add_argument("--passes", default="60")
    args = parser.parse_args()
    out = args.output
    out.mkdir(parents=True, exist_ok=True)
    wedge("import", STACK, "-o", out / "tilts.zarr", "--overwrite")
    limited = ["--tilt-range", -60, 60, "--overwrite"]
    wedge("fbp", out / "tilts.zarr", "-o", out / "fbp.zarr", *limited)
    wedge("reconstruct", out / "tilts.zarr", "-o", out / "fit.zarr", *limited, "--passes", args.passes)
    wedge("export", out / "fit.zarr", "-o", out / "fit.mrc", "--overwrite")
    volumes = [out / "fbp.zarr", out / "fit.zarr"]
    told = [json.loads(wedge("evaluate", *volumes, "--tilts", out / "tilts.zarr", *where, "--json")) for where in unseen()]
    for index, volume in enumerate(volumes):
        low, high = (values["volumes"][index]["values"]["tilts.correlation"] for values in told)
        print(f"{volume.name}: correlation with unseen views {low:.4f} (-76..-62 degrees), {high:.4f} (62..76 degrees)")
    titles = ["FBP, +-60", "fit, +-60"]
    comparison_picture([(title, store.open_volume(path)) for title, path in zip(titles, volumes, strict=True)], out / "needle.png")
    print(f"picture: {out / 'needle.png'}, volume: {out / 'fit.mrc'}")


def unseen() -> list[list[object]]:
    """Return the options that choose the views below -60 and above 60 degrees."""
    return [["--tilt-range", -90, -61], ["--tilt-range", 61, 90]]


if __name__ == "__main__":
    main()
