"""What a step and the use of the restoring network take, with its own halving and doubling of features and with torch's.

    python examples/benchmarks/network_step.py [--cube N] [--channels C] [--batch B] [--rounds N] [--device cuda]

A step is forward and backward through the network of a batch of cubes, of the default size; ``applied`` is forward alone through a slab of
one cube by four. Both ways run in turn, and the least time of each counts. Both compute the same values.
"""

import argparse
import contextlib
from collections.abc import Iterator
from unittest.mock import patch

import torch
from commands import table, write_results
from floors import best_ms

from wedge.fit.config import RestoreConfig
from wedge.restore import network
from wedge.restore.network import Restorer, half_precision_pays


@contextlib.contextmanager
def torchs_own() -> Iterator[None]:
    """Let the network halve and double its features by torch's pooling and interpolation."""
    functional = torch.nn.functional
    halved = patch.object(network, "halved", lambda features: functional.avg_pool3d(features, 2))
    linear = {"scale_factor": 2, "mode": "trilinear", "align_corners": False}
    with halved, patch.object(network, "doubled", lambda features: functional.interpolate(features, **linear)):
        yield


def measure(config: RestoreConfig, half_precision: bool, rounds: int, device: torch.device) -> list[dict]:
    torch.manual_seed(0)
    restorer = Restorer(config.channels, half_precision).to(device)
    cubes = torch.randn(config.batch, 1, *[config.cube] * 3, device=device)
    slab = torch.randn(1, 1, config.cube, config.cube, 4 * config.cube, device=device)

    def step() -> None:
        restorer.zero_grad()
        restorer(cubes).square().mean().backward()

    @torch.no_grad()
    def applied() -> torch.Tensor:
        return restorer(slab)

    rows = []
    for part, work in (("step", step), ("applied", applied)):
        ms, torch_ms = best_ms([work, torchs_own()(work)], rounds, device)
        precision = "bfloat16" if half_precision else "float32"
        rows.append(
            {"part": part, "precision": precision, "ms": round(ms, 1), "torch_ms": round(torch_ms, 1), "times": round(torch_ms / ms, 2)}
        )
    with torchs_own():
        other = applied()
    off = float((applied() - other).norm() / (other - slab).norm())
    print(f"{rows[0]['precision']}: what is added differs by {off:.1g} of its norm")
    return rows


def main() -> None:
    given = RestoreConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cube", type=int, default=given.cube)
    parser.add_argument("--channels", type=int, default=given.channels)
    parser.add_argument("--batch", type=int, default=given.batch)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here: --device cpu")
    torch.set_num_threads(1)
    device = torch.device(args.device)
    config = given.model_copy(update={"cube": args.cube, "channels": args.channels, "batch": args.batch})
    rows = [
        row for half in ([False, True] if half_precision_pays(device) else [False]) for row in measure(config, half, args.rounds, device)
    ]
    print(table(rows))
    case = f"{config.batch} cubes of {config.cube} voxels, {config.channels} channels" + (", one thread" if args.device == "cpu" else "")
    print(write_results("network_step" + ("_cuda" if args.device == "cuda" else ""), {"case": case, "rows": rows}))


if __name__ == "__main__":
    main()
