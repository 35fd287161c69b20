"""Speed and accuracy of the projector plugins, side by side in one run.

    python examples/benchmarks/projectors.py

Projects 16 slices and backpropagates through them, 60 tilts in -60..60 degrees, one thread; the best of several rounds in turn counts, so
that a busy machine slows all alike. Ratios travel between machines, milliseconds do not. Errors are against exact chords of a phantom.
"""

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from wedge.geometry import TiltGeometry
from wedge.projection import project
from wedge.registry import Registry
from wedge.testing.phantom import analytic_sinogram, rasterized_slice

CHOICES = (("odl", "joseph"), ("odl", "strip"), ("astra", "joseph"), ("astra", "strip"), ("torch", "joseph"), ("torch", "strip"))
NUM_SLICES, NUM_TILTS = 16, 60


def geometry_of(nz: int, nx: int) -> TiltGeometry:
    return TiltGeometry(tuple(np.linspace(-60, 60, NUM_TILTS)), (NUM_SLICES, nx), (nz, NUM_SLICES, nx))


def forward_and_backward_ms(projector, slices: torch.Tensor) -> float:
    slices = slices.clone().requires_grad_()
    start = time.perf_counter()
    project(projector, slices).sum().backward()
    return (time.perf_counter() - start) * 1e3


def measure(nz: int, nx: int, rounds: int) -> list[dict]:
    geometry, device = geometry_of(nz, nx), torch.device("cpu")
    slices = torch.randn(NUM_SLICES, nz, nx, generator=torch.Generator().manual_seed(0))
    registry, projectors, rows = Registry.load(), [], []
    for name, model in CHOICES:
        # the cache is off: the matrix is built here
        settings = {"model": model, "cache": "false"} if name == "torch" else {"model": model}
        start = time.perf_counter()
        projectors.append(registry.resolve("projector", name, settings).build(geometry, device))
        rows.append({"projector": name, "model": model, "setup_s": round(time.perf_counter() - start, 2), "ms": float("inf")})
    for _ in range(rounds):
        for row, projector in zip(rows, projectors, strict=True):
            row["ms"] = min(row["ms"], forward_and_backward_ms(projector, slices))
    for row, projector in zip(rows, projectors, strict=True):
        row["times_odl"] = round(rows[0]["ms"] / row["ms"], 1)
        row["mib"] = round(projector.memory_bytes(NUM_SLICES) / 2**20)
        projector.close()
    return rows


def chord_errors() -> dict[str, float]:
    geometry = geometry_of(64, 128)
    image, expected = rasterized_slice(geometry)[None], analytic_sinogram(geometry)
    errors = {}
    for name, model in CHOICES:
        projector = Registry.load().resolve("projector", name, {"model": model}).build(geometry, torch.device("cpu"))
        errors[f"{name} {model}"] = round(float((projector.project(image)[0] - expected).norm() / expected.norm()), 4)
    return errors


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small slices alone, two rounds")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "projectors.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [(64, 256, 2)] if arguments.quick else [(64, 256, 15), (256, 1024, 3)]
    errors = chord_errors()
    result = {
        "what": f"forward + backward of {NUM_SLICES} slices, {NUM_TILTS} tilts, one thread, best of the rounds; "
        "times_odl against odl joseph; error against chords averaged over pixels at 64x128",
        "cpu": cpu_model(),
        "versions": {name: version(name) for name in ("wedge-tomo", "torch", "odl", "astra-toolbox", "numpy")},
        "chord_error": errors,
        "sizes": {},
    }
    for nz, nx, rounds in sizes:
        rows = result["sizes"][f"{nz}x{nx}"] = measure(nz, nx, rounds)
        print(f"{NUM_SLICES} slices of {nz}x{nx} (z, x)")
        print(f"{'projector':<14}{'ms':>9}{'times odl':>11}{'set-up s':>10}{'MiB':>6}{'chord error':>13}")
        for row in rows:
            name = f"{row['projector']} {row['model']}"
            row["ms"] = round(row["ms"], 2)
            print(f"{name:<14}{row['ms']:>9.2f}{row['times_odl']:>11.1f}{row['setup_s']:>10.2f}{row['mib']:>6}{errors[name]:>13.4f}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
