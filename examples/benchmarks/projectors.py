"""Speed and accuracy of the projector plugins, side by side in one run.

    python examples/benchmarks/projectors.py [--device cuda]

Projects 16 slices and backpropagates through them, 60 tilts in -60..60 degrees, one thread; the best of several rounds in turn counts, so
that a busy machine slows all alike. Ratios travel between machines, milliseconds do not. Errors are against exact chords of a phantom.
"""

import argparse
import time
from importlib.metadata import version

import numpy as np
import torch
from commands import table, write_results

from wedge.geometry import TiltGeometry
from wedge.projection import project
from wedge.registry import Registry
from wedge.testing.phantom import analytic_sinogram, rasterized_slice

ON_CPU = (("odl", "joseph"), ("odl", "strip"), ("astra", "joseph"), ("astra", "strip"), ("torch", "joseph"), ("torch", "strip"))
ON_CUDA = (("astra", "joseph"), ("torch", "joseph"), ("torch", "strip"), ("triton", "joseph"), ("triton", "strip"))
NUM_SLICES, NUM_TILTS = 16, 60
WHAT = (
    f"forward and backward of {NUM_SLICES} slices (z, x), {NUM_TILTS} tilts, one thread, best of the rounds; times_{{first}} against "
    "{first} joseph; chord_error at 64x128 against chords averaged over pixels"
)


def geometry_of(nz: int, nx: int) -> TiltGeometry:
    return TiltGeometry(tuple(np.linspace(-60, 60, NUM_TILTS)), (NUM_SLICES, nx), (nz, NUM_SLICES, nx))


def forward_and_backward_ms(projector, slices: torch.Tensor) -> float:
    slices = slices.clone().requires_grad_()
    start = time.perf_counter()
    project(projector, slices).sum().backward()
    if slices.device.type == "cuda":
        torch.cuda.synchronize(slices.device)
    return (time.perf_counter() - start) * 1e3


def measure(nz: int, nx: int, rounds: int, choices: tuple, device: torch.device) -> list[dict]:
    geometry = geometry_of(nz, nx)
    slices = torch.randn(NUM_SLICES, nz, nx, generator=torch.Generator().manual_seed(0)).to(device)
    registry, projectors, rows = Registry.load(), [], []
    for name, model in choices:
        # the cache is off: the matrix is built here
        settings = {"model": model, "cache": "false"} if name == "torch" else {"model": model}
        start = time.perf_counter()
        projectors.append(registry.resolve("projector", name, settings).build(geometry, device))
        rows.append({"projector": name, "model": model, "setup_s": round(time.perf_counter() - start, 2), "ms": float("inf")})
    for _ in range(rounds):
        for row, projector in zip(rows, projectors, strict=True):
            row["ms"] = min(row["ms"], forward_and_backward_ms(projector, slices))
    reference_ms = rows[0]["ms"]
    for row, projector in zip(rows, projectors, strict=True):
        row[f"times_{choices[0][0]}"] = round(reference_ms / row["ms"], 1)
        row["ms"] = round(row["ms"], 2)
        row["mib"] = round(projector.memory_bytes(NUM_SLICES) / 2**20)
        projector.close()
    return rows


def chord_errors(choices: tuple, device: torch.device) -> dict[tuple[str, str], float]:
    geometry = geometry_of(64, 128)
    image, expected = rasterized_slice(geometry)[None].to(device), analytic_sinogram(geometry)
    errors = {}
    for name, model in choices:
        projector = Registry.load().resolve("projector", name, {"model": model}).build(geometry, device)
        errors[name, model] = round(float((projector.project(image)[0].cpu() - expected).norm() / expected.norm()), 4)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small slices alone, two rounds; keeps no results")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    quick, device, choices = args.quick, torch.device(args.device), ON_CUDA if args.device == "cuda" else ON_CPU
    torch.set_num_threads(1)
    errors, sizes = chord_errors(choices, device), {}
    for nz, nx, rounds in [(64, 256, 2)] if quick else [(64, 256, 15), (256, 1024, 3)]:
        rows = sizes[f"{nz}x{nx}"] = measure(nz, nx, rounds, choices, device)
        for row in rows:
            row["chord_error"] = errors[row["projector"], row["model"]]
        print(f"\n{NUM_SLICES} slices of {nz}x{nx} (z, x)\n\n{table(rows)}")
    if not quick:
        versions = {name: version(name) for name in ("odl", "astra-toolbox")}
        data = {"what": WHAT.format(first=choices[0][0]), "versions": versions, "sizes": sizes}
        print(f"\n{write_results('projectors' + ('_cuda' if device.type == 'cuda' else ''), data)}")


if __name__ == "__main__":
    main()
