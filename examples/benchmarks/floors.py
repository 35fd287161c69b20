"""Where the time of a step goes, part by part, beside what the machine allows and what plain operations of torch take.

    python examples/benchmarks/floors.py [--size Z X] [--rows N] [--blur VOXELS] [--device cuda]

One step of the default fit on rows of a volume, 60 tilts in -60..60 degrees, lattice twice as fine as the voxels. The floor of a part is
the longer of two times: its operations at the rate of a large float32 matrix product, and the bytes that it must read and write at least
once at the rate of a large copy, both measured first. ``plain`` is the same part as torch records it operation by operation, with dense
matrices along the axes; it runs in turn with wedge's. ``a pass`` is what a pass over as many rows as the volume is wide takes at this rate.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from commands import table, write_results

from wedge.data import TiltSeries
from wedge.defaults import reconstruct_settings
from wedge.fit.build import build_fit, build_projectors
from wedge.fit.data_term import whole_part
from wedge.fit.filtered_power import FilteredPower
from wedge.fit.loop import Fit, take_step
from wedge.fit.memory import MemoryPlan
from wedge.fit.normalization import Normalization
from wedge.fit.settings import merge, resolve_plugins, validate
from wedge.geometry import TiltGeometry
from wedge.plugin_api import RegularizerContext
from wedge.projection import project
from wedge.registry import Registry

NUM_TILTS, FINER = 60, 2
Work = Callable[[], object]


def best_ms(works: list[Work], rounds: int, device: torch.device) -> list[float]:
    """Return the least milliseconds of each, taken in turn, so that a busy machine slows all alike."""
    found = [float("inf")] * len(works)
    for _ in range(rounds + 1):
        for index, work in enumerate(works):
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found[index] = min(found[index], (time.perf_counter() - start) * 1e3)
    return found


def rates(device: torch.device) -> tuple[float, float]:
    """Return operations and bytes a millisecond: of a matrix product and of a copy, float32."""
    size = 8192 if device.type == "cuda" else 2048
    square, long = torch.rand(size, size, device=device), torch.rand(size * size * 4, device=device)
    target = torch.empty_like(long)
    product, copy = best_ms([lambda: square @ square, lambda: target.copy_(long)], 3, device)
    return 2 * size**3 / product, 2 * 4 * len(long) / copy


def default_fit(nz: int, nx: int, rows: int, blur: float, device: torch.device) -> Fit:
    """Return the default fit of some rows to random views."""
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, NUM_TILTS)), (rows, nx), (nz, rows, nx))
    views = np.random.default_rng(0).uniform(size=(NUM_TILTS, rows, nx)).astype(np.float32)
    series = TiltSeries(views, geometry, "random views")
    config, plugins = resolve_plugins(validate(merge([reconstruct_settings(), reconstruct_settings("voxel")])), Registry.load())
    config = config.model_copy(update={"blur_voxels": blur, "batch_rows": rows, "hold_out": 0.0, "tune": ()})
    parts = build_projectors([whole_part(series)], plugins, {1, FINER}, device)
    plan = MemoryPlan(rows, True, 0, 0)
    return build_fit(series, plugins, config, Normalization(0.0, 1.0, True), parts, device, 0, 0, plan=plan)


def hats(points: int, nodes: int, device: torch.device) -> torch.Tensor:
    places = ((torch.arange(points, device=device) + 0.5) * nodes / points - 0.5).clamp(0, nodes - 1)
    return (1 - (places[:, None] - torch.arange(nodes, device=device)).abs()).clamp_min(0)


def plain_field(fit: Fit, blur: float, device: torch.device) -> Work:
    """Return the field and its gradient with dense products: interpolation, softplus, blur and pooling."""
    rows, nz, nx = (fit.box.shape[axis] for axis in (1, 0, 2))
    grid = torch.zeros(rows, nz, nx, device=device, requires_grad=True)
    along_z, along_x = hats(FINER * nz, nz, device), hats(FINER * nx, nx, device)

    def gaussian(points: int, sigma: float) -> torch.Tensor:
        distance = torch.arange(points, device=device)[:, None] - torch.arange(points, device=device)
        kernel = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance.abs() <= 3 * sigma)
        return kernel / kernel.sum(1, keepdim=True)

    filters = [gaussian(n, s) for n, s in ((rows, blur), (FINER * nx, FINER * blur), (FINER * nz, FINER * blur))] if blur else []
    outer = torch.ones(rows, FINER * nz, FINER * nx, device=device)

    def work() -> None:
        fine = torch.nn.functional.softplus(along_z @ (grid @ along_x.T) - 0.1, beta=10.0)
        if blur:
            fine = (filters[0] @ fine.flatten(1)).unflatten(1, fine.shape[1:])
            fine = filters[2] @ (fine @ filters[1].T)
        pooled = torch.nn.functional.avg_pool2d(fine[None], FINER)[0]
        torch.autograd.backward([fine, pooled], [outer, torch.ones_like(pooled)])

    return work


def plain_variation(density: torch.Tensor) -> None:
    squares = torch.full_like(density, 1e-6)
    for dim in range(3):
        difference = density.diff(dim=dim)
        squares.narrow(dim, 0, difference.shape[dim]).add_(difference.square())
    (squares.sqrt() - 1e-3).mean().backward()


def plain_power(residual: torch.Tensor, power: torch.Tensor) -> None:
    num_fft = 2 * (len(power) - 1)
    spectrum = torch.fft.rfft(residual, n=num_fft, dim=2) * power.sqrt()
    torch.fft.irfft(spectrum, n=num_fft, dim=2).square().sum().backward()


def parts_of(fit: Fit, blur: float, device: torch.device) -> dict[str, tuple[Work, Work | None, float, float]]:
    """Return wedge's and the plain way to each part of a step, its least bytes and its operations."""
    nz, rows, nx = fit.box.shape
    term, sampling = fit.fitted[0], fit.sampling(0)
    projector = term._projectors[FINER]
    fine = torch.rand(rows, FINER * nz, FINER * nx, device=device).requires_grad_()
    density = torch.rand(rows, nz, nx, device=device).requires_grad_()
    residual = torch.rand(rows, NUM_TILTS, nx, device=device).requires_grad_()
    views, power = torch.ones(1, NUM_TILTS, 1, device=device), term._power
    context = RegularizerContext(slice(0, rows), 1.0, 0, 1, torch.Generator(device), fit.field)
    variation = fit.regularizers[0][1]

    def field() -> None:
        values = fit.field(sampling.lattice(0, rows))
        pooled = sampling.pooled(values)
        torch.autograd.backward([values, pooled], [torch.ones_like(values), torch.ones_like(pooled)])

    voxels, points, rays = 4 * rows * nz * nx, 4 * rows * nz * nx * FINER**2, 4 * rows * NUM_TILTS * nx
    entries = sum(half.values().numel() for half in projector._pair)
    parameters = [torch.nn.Parameter(torch.zeros(rows, nz, nx, device=device))]
    parameters[0].grad = torch.ones_like(parameters[0])
    unfused = torch.optim.Adam(parameters, lr=1e-3)
    take_step(fit, 0)
    return {
        "field": (field, plain_field(fit, blur, device), 3 * voxels + 2 * points, 0),
        "projection": (lambda: project(projector, fine).sum().backward(), None, 8 * entries + 2 * points + 2 * rays, 2 * entries * rows),
        "ramp and norm": (
            lambda: FilteredPower.apply(residual, power, views).backward(),
            lambda: plain_power(residual, power),
            3 * rays,
            0,
        ),
        "total variation": (lambda: variation(density, context).backward(), lambda: plain_variation(density), 2 * voxels, 0),
        "Adam": (fit.optimizer.step, unfused.step, 7 * voxels, 0),
        "step": (lambda: take_step(fit, 1), None, 0, 0),
    }


def measure(size: tuple[int, int], rows: int, blur: float, rounds: int, device: torch.device) -> list[dict]:
    operations, byte_rate = rates(device)
    print(f"matrix product {operations / 1e6:.0f} GFLOP/s, copy {byte_rate / 1e6:.1f} GB/s")
    fit, found, total = default_fit(*size, rows, blur, device), [], 0.0
    for name, (work, plain, least_bytes, least_operations) in parts_of(fit, blur, device).items():
        floor = max(least_bytes / byte_rate, least_operations / operations)
        total += floor
        floor = total if name == "step" else floor
        mine, *other = best_ms([work, *([plain] if plain else [])], rounds, device)
        row = {"part": name, "ms": round(mine, 3), "floor_ms": round(floor, 3), "times_floor": round(mine / floor, 1)}
        found.append(row | {"plain_ms": round(other[0], 3) if other else None, "plain_times": round(other[0] / mine, 2) if other else None})
    found.append({"part": "a pass", "ms": round(found[-1]["ms"] * size[1] / rows, 1), "floor_ms": round(total * size[1] / rows, 1)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs=2, type=int, default=[64, 256], metavar=("Z", "X"))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--blur", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here: --device cpu")
    torch.set_num_threads(1)
    rows = measure(tuple(args.size), args.rows, args.blur, args.rounds, torch.device(args.device))
    print(table(rows))
    case = (
        f"a step on {args.rows} slices of {args.size[0]}x{args.size[1]} (z, x), {NUM_TILTS} tilts, blur of {args.blur} voxels, one thread"
    )
    on = "_cuda" if args.device == "cuda" else ""
    print(write_results(f"floors_{args.size[0]}x{args.size[1]}_blur{args.blur:g}{on}", {"case": case, "rows": rows}))


if __name__ == "__main__":
    main()
