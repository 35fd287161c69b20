"""``wedge demo``: the whole pipeline on a small phantom, by the commands that a user would type."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import JsonOption, OverwriteOption, emit
from wedge.cli.steps import Cost, cost_of, run_step
from wedge.errors import InputError, OutputExistsError

_STORES = ("volume.zarr", "tilts.zarr", "fbp.zarr", "seed-0.zarr", "seed-1.zarr", "average.zarr", "spread.zarr")
_FILES = (*_STORES, "demo.png", "demo.html", "demo.json")
_METHODS = (
    ("fbp.zarr", "FBP (ramp)"),
    ("seed-0.zarr", "network, seed 0"),
    ("seed-1.zarr", "network, seed 1"),
    ("average.zarr", "average of both"),
)
_COLUMNS = (
    ("psnr", "PSNR", ".2f"),
    ("ssim", "SSIM", ".3f"),
    ("vif", "VIF", ".3f"),
    ("fsc.cone", "FSC cone", ".4f"),
    ("fsc.wedge", "FSC wedge", ".4f"),
)


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("wedge-demo"),
    shape: Annotated[tuple[int, int, int], typer.Option("--shape", metavar="Z Y X", help="Voxels of the phantom.")] = (32, 128, 128),
    num_tilts: Annotated[int, typer.Option("--num-tilts", min=5, help="Views in -60..60 degrees.")] = 60,
    passes: Annotated[
        float | None, typer.Option("--passes", help="Passes of each reconstruction; by default those of reconstruct.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the phantom.")] = 0,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Simulate hollow spheres, reconstruct them by FBP and twice by a network, average, evaluate, draw the results, and report on them."""
    present = [name for name in _FILES if (output / name).exists()]
    if present and not overwrite:
        raise OutputExistsError(f"output exists: {output / present[0]}; choose another folder with -o or give --overwrite")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}; choose another folder with -o") from error
    costs = _run_pipeline(output, shape, num_tilts, passes, seed)
    evaluation = run_step(
        "evaluate", *(output / name for name, _ in _METHODS), "--reference", output / "volume.zarr", "--json", step="evaluate"
    )
    rows = _rows(evaluation, costs)
    _draw(output)
    _report(output)
    result = {"shape": list(shape), "num_tilts": num_tilts, "rows": rows}
    result |= {"picture": str(output / "demo.png"), "report": str(output / "demo.html")}
    (output / "demo.json").write_text(json_module.dumps(result | {"evaluation": evaluation}, indent=1))
    emit(result, as_json=json, text=f"{format_table(rows)}\n\npicture: {output / 'demo.png'}\nreport: {output / 'demo.html'}")


def _run_pipeline(output: Path, shape: tuple[int, int, int], num_tilts: int, passes: float | None, seed: int) -> dict[str, Cost]:
    """Run the commands one by one; return what each output cost."""
    tilts = output / "tilts.zarr"
    sizes = ["--shape", *shape, "--num-tilts", num_tilts, "--tilt-range", -60, 60]
    run_step("simulate-spheres", "-o", output, *sizes, "--seed", seed, "--overwrite", "--json", step="simulate")
    costs = {"fbp.zarr": cost_of(run_step("fbp", tilts, "-o", output / "fbp.zarr", "--overwrite", "--json", step="fbp"))}
    extra = ["--passes", passes] if passes is not None else []
    for index in (0, 1):
        target = output / f"seed-{index}.zarr"
        told = run_step(
            "reconstruct", tilts, "-o", target, "--seed", index, *extra, "--overwrite", "--json", step=f"reconstruct {index + 1} of 2"
        )
        costs[target.name] = cost_of(told)
    seeds = [output / "seed-0.zarr", output / "seed-1.zarr"]
    told = run_step(
        "average", *seeds, "-o", output / "average.zarr", "--std", output / "spread.zarr", "--overwrite", "--json", step="average"
    )
    own = cost_of(told)
    both = [costs["seed-0.zarr"], costs["seed-1.zarr"], own]
    # An average costs what it averages.
    costs["average.zarr"] = Cost(sum(cost.seconds for cost in both), max(cost.peak_memory_bytes for cost in both))
    return costs


def _rows(evaluation: dict[str, Any], costs: dict[str, Cost]) -> list[dict[str, Any]]:
    rows = []
    for (name, title), volume in zip(_METHODS, evaluation["volumes"], strict=True):
        values = {key: volume["values"][key] for key, _, _ in _COLUMNS}
        rows.append({"method": title, **values, "seconds": costs[name].seconds, "peak_memory_bytes": costs[name].peak_memory_bytes})
    return rows


def format_table(rows: list[dict[str, Any]]) -> str:
    """Return the demo's table as Markdown."""
    head = ["method", *(title for _, title, _ in _COLUMNS), "seconds", "peak MiB"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in rows:
        values = [format(row[key], spec) for key, _, spec in _COLUMNS]
        lines.append([row["method"], *values, f"{row['seconds']:.1f}", f"{row['peak_memory_bytes'] / 2**20:.0f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines)


def _report(output: Path) -> None:
    spread = ["--std", output / "spread.zarr", "--std-of", output / "average.zarr"]
    compared = [*(output / name for name, _ in _METHODS), "--reference", output / "volume.zarr"]
    told = ["--title", "Hollow spheres: truth, FBP and two fits", "--overwrite", "--json"]
    run_step("report", *compared, *spread, "-o", output / "demo.html", *told, step="report")


def _draw(output: Path) -> None:
    from wedge import store
    from wedge.picture import comparison_picture

    titles = [("truth", "volume.zarr"), ("FBP", "fbp.zarr"), ("network, one seed", "seed-0.zarr"), ("average of two", "average.zarr")]
    comparison_picture([(title, store.open_volume(output / name)) for title, name in titles], output / "demo.png")
