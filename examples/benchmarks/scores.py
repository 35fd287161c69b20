"""How close a volume is to the truth: a row of a table, series over y and curves, all by ``wedge evaluate``."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import wedge

BANDS = ("0-0.125", "0.125-0.25", "0.25-0.5")
COLUMNS = {
    "PSNR": "psnr.volume",
    "SSIM": "ssim",
    "VIF": "vif",
    "correlation": "correlation",
    **{f"{region} {band}": f"fsc.{region}-{band}" for region in ("cone", "wedge") for band in BANDS},
    "wedge energy": "wedge-energy",
}
"""Columns and the values they show: PSNR and correlation of the whole volume, means over y-slices, FSC over bands in cycles per voxel."""
BETTER = {name: "one" if name == "wedge energy" else "higher" for name in COLUMNS}
METRICS = ("psnr", "ssim", "vif", "fsc", "wedge-energy")
SERIES = ("psnr", "ssim")
REGIONS = ("whole", "cone", "wedge")


@dataclass(frozen=True)
class Score:
    """What was found of one volume, rounded to four digits."""

    row: dict[str, float | None]
    series: dict[str, list[float | None]]
    curves: dict[str, list[float | None]]


def score(volume: Path, truth: Path) -> Score:
    """Evaluate a volume against the truth after the default affine fit of intensities; files go beside the volume."""
    rows_file, curves_file = (volume.with_name(f"{volume.stem}.{name}") for name in ("rows.csv", "curves.json"))
    metrics = [word for name in METRICS for word in ("--metric", name)]
    files = ["--per-slice", rows_file, "--curves", curves_file]
    told = wedge("evaluate", volume, "--reference", truth, *metrics, *files, "--overwrite")
    values = told["volumes"][0]["values"]
    with rows_file.open(newline="") as file:
        lines = list(csv.DictReader(file))
    curve = json.loads(curves_file.read_text())["volumes"][0]["curves"]["fsc"]
    return Score(
        row={name: _rounded(values.get(key)) for name, key in COLUMNS.items()},
        series={name: [_rounded(line[name]) for line in lines] for name in SERIES},
        curves={"frequency": _all_rounded(curve["x"])} | {r: _all_rounded(curve["series"][r]) for r in REGIONS if r in curve["series"]},
    )


def _rounded(value: Any) -> float | None:
    return None if value in (None, "") else round(float(value), 4)


def _all_rounded(values: list[Any]) -> list[float | None]:
    return [_rounded(value) for value in values]
