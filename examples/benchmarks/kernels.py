"""The networks' fused kernels against plain torch and torch.compile, forward and backward, beside the least time that the device needs.

    python examples/benchmarks/kernels.py [--device cuda] [--kinds plain fused] [--sweep]

Without --device cuda there is nothing fused: plain torch is timed alone, on few points, to see that the script runs. The least time is the
larger of two: 6 operations for each weight and point (2 forward, 4 backward) at the rate of a large matrix product of the same precision,
and the values, their gradient and, where there are any, features (read twice, their gradient written) at the rate of a large copy. Both
rates are measured here. ``--sweep`` times the kernels alone, cut in other ways than wedge cuts them.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata

import torch
from commands import table, write_results

from wedge.lattice import FieldBox
from wedge.registry import Registry

NETWORKS = {
    "feature-grid 32 x 2": ("feature-grid", {"width": 32, "depth": 2}),
    "siren 64 x 4": ("siren", {"width": 64, "depth": 4}),
    "siren 128 x 4": ("siren", {"width": 128, "depth": 4}),
    "relu-pe 64 x 4": ("relu-pe", {"width": 64, "layers": 5}),
    "relu-pe 128 x 4": ("relu-pe", {"width": 128, "layers": 5}),
}
ON_CUDA, ON_CPU = (256, 16, 1024), (16, 2, 48)  # (z, y, x)
REPEATS = 20
KINDS = ["plain", "compiled", "fused"]


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> float:
    """Return the median, after two calls that load and compile."""
    for _ in range(2):
        work()
    found = []
    for _ in range(repeats):
        if device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end))
        else:
            start = time.perf_counter()
            work()
            found.append((time.perf_counter() - start) * 1e3)
    return statistics.median(found)


def measured_rates(device: torch.device) -> dict[str, float]:
    """Return operations and bytes a millisecond; of float32 the better of its own rate and a third of tf32's."""
    size, length = (8192, 1 << 30) if device.type == "cuda" else (256, 1 << 20)
    operations = 2 * size**3
    rates = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        first, second = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        rates[name] = operations / milliseconds(lambda first=first, second=second: first @ second, device, 5)
        if name == "float32" and device.type == "cuda":
            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("high")
            rates["tf32"] = operations / milliseconds(lambda first=first, second=second: first @ second, device, 5)
            torch.set_float32_matmul_precision(before)
            rates[name] = max(rates[name], rates["tf32"] / 3)
    source = torch.randn(length, device=device)
    target = torch.empty_like(source)
    rates["bytes"] = 8 * length / milliseconds(lambda: target.copy_(source), device, 5)
    return rates


def floor_ms(name: str, settings: dict, points: int, precision: str, rates: dict[str, float]) -> tuple[float, str]:
    """Return the least time, and what it is bound by."""
    width, hidden = settings["width"], settings.get("depth", settings.get("layers", 1) - 1)
    features = 20 if name == "feature-grid" else 0  # of its five levels; the first layer of the others is a sum of tables
    weights = (hidden - 1) * width * width + width + features * width
    times = {"operations": 6 * weights * points / rates[precision], "bytes": 4 * (2 + 3 * features) * points / rates["bytes"]}
    bound = max(times, key=times.__getitem__)
    return times[bound], bound


def timed(network: torch.nn.Module, box: FieldBox, half: bool, device: torch.device) -> tuple[float, float]:
    """Return milliseconds of forward and backward over all of the box, and the peak of the memory in MiB where that is known."""
    lattice = box.lattice(device=device)
    arriving = torch.randn(lattice.shape, generator=torch.Generator().manual_seed(0)).to(device)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            values = network(lattice)
        values.backward(arriving)

    step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found = milliseconds(step, device, REPEATS if device.type == "cuda" else 3)
    return found, torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else float("nan")


def measure(
    title: str, precision: str, shape: tuple[int, int, int], device: torch.device, rates: dict[str, float], kinds: list[str]
) -> dict:
    """Return one row of the table; what fails says why, and the others go on."""
    name, settings = NETWORKS[title]
    points = shape[0] * shape[1] * shape[2]
    floor, bound = floor_ms(name, settings, points, precision, rates)
    row = {"network": title, "precision": precision, "floor_ms": round(floor, 3), "bound by": bound}
    for kind in kinds if device.type == "cuda" else ["plain"]:
        kernel = "triton" if kind == "fused" else "torch"
        torch.manual_seed(0)
        network = Registry.load().resolve("network", name, {**settings, "kernel": kernel}).build(FieldBox(shape)).to(device)
        try:
            if kind == "compiled":
                torch._dynamo.reset()
                network = torch.compile(network)
            milli, mib = timed(network, FieldBox(shape), precision == "bfloat16", device)
            row |= {f"{kind}_ms": round(milli, 3)} | ({f"{kind}_mib": round(mib)} if device.type == "cuda" else {})
        except Exception as error:
            print(f"{title}, {precision}, {kind}: {' '.join(str(error).split())[:300]}", file=sys.stderr)
            row |= {f"{kind}_ms": None, f"{kind}_mib": None}
    if device.type == "cuda":
        fused, plain = row.get("fused_ms"), row.get("plain_ms")
        row |= {
            "plain / fused": round(plain / fused, 1) if fused and plain else None,
            "fused / floor": round(fused / floor, 1) if fused else None,
        }
    print(row, file=sys.stderr)
    return row


def sweep(title: str, precision: str, shape: tuple[int, int, int], device: torch.device) -> list[dict]:
    """Return the milliseconds of each kernel for blocks, warps, held weights and programs of a multiprocessor."""
    from wedge_networks.fused import Launch, Plan, Weights, run_backward, run_forward

    name, settings = NETWORKS[title]
    width, layers = settings["width"], settings.get("depth", settings.get("layers", 1) - 1) - 1
    features, sine = (20 if name == "feature-grid" else 0), name == "siren"
    num_z, rows, num_x = shape
    sizes = [
        (width,) if features else (rows * num_z, width), (rows, features, num_z, num_x) if features else (num_x, width),
        (width, features), (layers, width, width), (layers, width), (width + 1,),
    ]  # fmt: skip
    weights = Weights(*(0.1 * torch.randn(size, device=device) for size in sizes))
    arriving = torch.randn(rows * num_z, num_x, device=device)
    multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
    found = []
    for block, warps, hold, each in itertools.product((16, 32, 64, 128), (4, 8), (True, False), (1, 2, 4)):
        launch = Launch(block, warps, hold, each * multiprocessors)
        plan = Plan(sine, "bfloat16" if precision == "bfloat16" else "tf32x3", launch, launch)
        row = {"network": title, "precision": precision, "block": block, "warps": warps, "held": str(hold), "programs": each}
        for kind, work in (
            ("forward", lambda p=plan: run_forward(p, weights)),
            ("backward", lambda p=plan: run_backward(p, weights, arriving, True)),
        ):
            try:
                row[f"{kind}_ms"] = round(milliseconds(work, device, 5), 3)
            except Exception:  # of whatever does not fit
                row[f"{kind}_ms"] = None
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--shape", nargs=3, type=int, metavar=("Z", "Y", "X"), help="of the lattice; by default what the device is good for"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="compiling takes minutes")
    parser.add_argument("--sweep", action="store_true", help="other blocks and programs of the kernels, too")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA GPU here: leave --device cuda out to see that the script runs")
    if device.type == "cpu":
        torch.set_num_threads(1)
        print("No GPU: the fused kernels are not timed, plain torch is; that they compute the same is what the tests tell.\n")
    shape = tuple(args.shape or (ON_CUDA if device.type == "cuda" else ON_CPU))
    rates = measured_rates(device)
    print(", ".join(f"{name} {rate / 1e9:.3g} {'TB' if name == 'bytes' else 'T operations'}/s" for name, rate in rates.items()), "\n")
    pairs = [(title, precision) for title in args.networks for precision in ("float32", "bfloat16")]
    rows = [
        measure(title, precision, shape, device, rates, args.kinds)
        for title, precision in pairs
        if (title[:5], precision) != ("siren", "bfloat16")
    ]
    print(f"{shape} points (z, y, x), forward and backward\n\n{table(rows)}")
    swept = (
        [row for title, precision in pairs for row in sweep(title, precision, shape, device)]
        if args.sweep and device.type == "cuda"
        else []
    )
    if swept:
        print(f"\n{table(swept)}")
    if device.type == "cuda":
        what = "milliseconds of forward and backward, median; floors as the script says; peak memory of tensors"
        gpu = {"gpu": torch.cuda.get_device_name(device), "triton": metadata.version("triton")}
        data = {"what": what, **gpu, "shape": shape, "rates_per_ms": rates, "rows": rows, "sweep": swept}
        print(f"\n{write_results('kernels_cuda', data)}")


if __name__ == "__main__":
    main()
