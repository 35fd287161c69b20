"""``wedge benchmark``: a small table of quality, time and memory on this machine, beside a stored one."""

from __future__ import annotations

import json as json_module
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import DeviceOption, JsonOption, emit
from wedge.cli.steps import cost_of, run_step
from wedge.cli.table import table
from wedge.errors import InputError

_NOISES = (0.0, 0.3)
_METHODS = ("fbp", "reconstruct")
_METRICS = {"psnr.volume": "PSNR", "ssim": "SSIM", "fsc.wedge": "FSC wedge"}
_COMPARED = {"psnr.volume": "their PSNR", "seconds": "their s", "peak_memory_bytes": "their MiB"}


def command(
    shape: Annotated[tuple[int, int, int], typer.Option("--shape", metavar="Z Y X", help="Voxels of the phantom.")] = (32, 128, 128),
    num_tilts: Annotated[int, typer.Option("--num-tilts", min=12, help="Views in -60..60 degrees.")] = 60,
    passes: Annotated[float | None, typer.Option("--passes", help="Passes of each fit; by default those of reconstruct.")] = None,
    device: DeviceOption = "auto",
    work: Annotated[Path | None, typer.Option("--work", help="Folder to keep the volumes in; by default they are dropped.")] = None,
    json: JsonOption = False,
) -> None:
    """Reconstruct hollow spheres, clean and noisy, on this machine, and show quality, time and memory beside stored ones.

    The columns on the right are of the machine that is named below the table. Compare on a machine that has nothing else to do.
    """
    extra = ["--passes", passes] if passes is not None else []
    if work is not None:
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {work}: {error.strerror}; choose another folder with --work") from error
        rows = _measure(work, shape, num_tilts, device, extra)
    else:
        with tempfile.TemporaryDirectory(prefix="wedge-benchmark-") as folder:
            rows = _measure(Path(folder), shape, num_tilts, device, extra)
    # With other options the stored ones are of another thing.
    stored = stored_table(shape, num_tilts) if passes is None else None
    result = {"machine": machine(device), "shape": list(shape), "num_tilts": num_tilts, "rows": rows, "stored": stored}
    emit(result, as_json=json, text=_text(result))


def _measure(folder: Path, shape: tuple[int, int, int], num_tilts: int, device: str, extra: list[Any]) -> list[dict[str, Any]]:
    rows = []
    sizes = ["--shape", *shape, "--num-tilts", num_tilts, "--tilt-range", -60, 60, "--seed", 0]
    for eta in _NOISES:
        place = folder / f"noise-{eta:g}"
        noise = ["--noise", "poisson", "--eta", eta] if eta else []
        run_step("simulate-spheres", "-o", place, *sizes, *noise, "--overwrite", "--json", step=f"noise {eta:g}")
        costs = {}
        for name in _METHODS:
            options = ["--device", device, *(extra if name == "reconstruct" else [])]
            out = place / f"{name}.zarr"
            costs[name] = cost_of(run_step(name, place / "tilts.zarr", "-o", out, *options, "--overwrite", "--json", step=name))
        metrics = ["--metric", "psnr", "--metric", "ssim", "--metric", "fsc"]
        volumes = [place / f"{name}.zarr" for name in costs]
        told = run_step("evaluate", *volumes, "--reference", place / "volume.zarr", *metrics, "--json", step="evaluate")
        for (name, cost), volume in zip(costs.items(), told["volumes"], strict=True):
            values = {key: volume["values"][key] for key in _METRICS}
            spent = {"seconds": cost.seconds, "peak_memory_bytes": cost.peak_memory_bytes}
            rows.append({"method": name, "noise": eta, **values, **spent})
    return rows


def machine(device: str) -> dict[str, Any]:
    """Return what a result was measured on."""
    import os
    import platform

    import torch

    from wedge.cli.common import resolve_device
    from wedge.provenance import device_name

    used = resolve_device(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {"device": str(used), "name": device_name(str(used)), "cores": cores, **versions}


def stored_table(shape: tuple[int, int, int], num_tilts: int) -> dict[str, Any] | None:
    """Return the stored result of this size; None where there is none. ``wedge benchmark --json`` on a quiet machine made it."""
    tables = json_module.loads(files("wedge").joinpath("benchmark.json").read_text(encoding="utf-8"))
    return next((each for each in tables if each["shape"] == list(shape) and each["num_tilts"] == num_tilts), None)


def _text(result: dict[str, Any]) -> str:
    stored = {(row["method"], row["noise"]): row for row in (result["stored"] or {}).get("rows", [])}
    lines = []
    for row in result["rows"]:
        theirs = stored.get((row["method"], row["noise"]), {})
        numbers = [row[key] for key in _METRICS] + [row["seconds"], row["peak_memory_bytes"] / 2**20]
        compared = [theirs.get(key) for key in _COMPARED]
        compared[-1] = compared[-1] / 2**20 if compared[-1] is not None else None
        lines.append([f"{row['method']}, noise {row['noise']:g}", *numbers, *compared])
    told = table(["", *_METRICS.values(), "s", "MiB", *_COMPARED.values()], lines)
    of = result["stored"]["machine"] if result["stored"] else None
    below = f"theirs: {of['name']}, {of['cores']} cores, torch {of['torch']}" if of else "nothing is stored for these options"
    return f"{told}\n{below}"
