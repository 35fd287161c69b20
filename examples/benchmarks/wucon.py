"""WUCON as its authors publish it: a network of sines for every two y-rows, the middle one from nothing, the others from their neighbour.

Settings are those of the published program: 5 layers of 256 sines of 30 times their argument, coordinates from 0 to 1 on every axis, the
mean absolute residual of views that are scaled to 1, AMSGrad with one step a pass on both rows, 2001 passes at 1e-3 for the middle, 401 at
1e-4 for each other pair, the second half of them falling to a tenth, values clipped to 0..1. What is finished of a run is kept.

References
----------
Van Veen et al. (2024), doi:10.3390/ijms25105473
"""

import itertools
import time
from pathlib import Path
from typing import Any

import torch
from rivals import write_volume

from wedge import store
from wedge.contracts import Projector
from wedge.registry import Registry
from wedge.slabs import read_sinograms

ROWS = 2
WIDTH, HIDDEN, OMEGA = 256, 4, 30.0
FIRST = (2001, 1e-3)
OTHERS = (401, 1e-4)
"""Passes and learning rate."""


class Sines(torch.nn.Module):
    """``(point, 3)`` coordinates to ``(point,)`` densities."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [3, *[WIDTH] * (HIDDEN + 1), 1]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        with torch.no_grad():
            for number, layer in enumerate(self.layers):
                bound = 1 / 3 if number == 0 else (6 / layer.in_features) ** 0.5 / OMEGA
                layer.weight.uniform_(-bound, bound)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            points = torch.sin(OMEGA * layer(points))
        return self.layers[-1](points)[:, 0]


def fit(network: Sines, points: torch.Tensor, measured: torch.Tensor, projector: Projector, passes: int, rate: float) -> torch.Tensor:
    """Fit ``(y, tilt, x)`` views and return the density ``(y, z, x)``."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, amsgrad=True, weight_decay=0)
    for done in range(passes):
        optimizer.param_groups[0]["lr"] = rate * 0.1 ** max(0.0, 2 * done / passes - 1)
        optimizer.zero_grad(set_to_none=True)
        density = _evaluate(network, points)
        residual = projector.project(density.detach()) - measured
        density.backward(projector.backproject(residual.sign() / residual.numel()))
        optimizer.step()
    with torch.no_grad():
        return _evaluate(network, points)


def _evaluate(network: Sines, points: torch.Tensor) -> torch.Tensor:
    # As published: products in half precision.
    with torch.autocast("cpu", torch.bfloat16):
        values = network(points.view(-1, 3))
    return values.float().view(points.shape[:3])


def fit_wucon(tilts_path: Path, out: Path, offset: float, sign: float) -> dict[str, Any]:
    """Write, times ``sign``, what WUCON makes of a series less ``offset``; pairs of rows that are finished beside ``out`` are taken."""
    tilts = store.open_tilts(tilts_path)
    geometry = tilts.geometry
    num_z, num_y, num_x = geometry.volume_shape
    kept = out.with_suffix(".pairs")
    kept.mkdir(parents=True, exist_ok=True)
    projector = Registry.load().resolve("projector", "torch").build(geometry, torch.device("cpu"))
    views = torch.from_numpy(read_sinograms(tilts, 0, num_y)) - offset
    scale = float(views.max())
    axes = [torch.linspace(0, 1, n) for n in (ROWS, num_z, num_x)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    middle = num_y // 2 // ROWS * ROWS
    # As published: the middle begins, its neighbour goes on from it, and then the middle is done anew.
    order = [("first", middle, None), (middle - ROWS, middle - ROWS, "first"), (middle, middle, middle - ROWS)]
    order += [(row, row, row - ROWS) for row in range(middle + ROWS, num_y - ROWS + 1, ROWS)]
    order += [(row, row, row + ROWS) for row in range(middle - 2 * ROWS, -1, -ROWS)]
    for name, row, before in order:
        path = kept / f"{name}.pt"
        if path.exists():
            continue
        torch.manual_seed(0)
        network, begun = Sines(), time.perf_counter()
        if before is not None:
            network.load_state_dict(torch.load(kept / f"{before}.pt")["network"])
        density = fit(network, points, views[row : row + ROWS] / scale, projector, *(FIRST if before is None else OTHERS))
        found = {"network": network.state_dict(), "density": density, "seconds": time.perf_counter() - begun}
        torch.save(found, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    projector.close()
    seconds = sum(float(torch.load(kept / f"{name}.pt")["seconds"]) for name, *_ in order)
    volume = torch.cat([torch.load(kept / f"{row}.pt")["density"] for row in range(0, num_y - ROWS + 1, ROWS)])
    write_volume(out, tilts, sign * scale * volume.clamp(0, 1), {"method": "WUCON", "offset": offset})
    return {"seconds": round(seconds, 1), "note": f"{FIRST[0]} passes over the middle, {OTHERS[0]} over each pair of rows"}
