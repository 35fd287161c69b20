"""Laws of the memory plan: it is honest, it never changes more than the slabs, and what it asks for suffices."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wedge.errors import DeviceError
from wedge.fit import memory as module
from wedge.fit.config import ComponentChoice, FitConfig
from wedge.fit.memory import MemoryPlan, memory_limit, plan_memory
from wedge.geometry import TiltGeometry
from wedge.provenance import resident_bytes

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SHAPE = (32, 40, 64)
GEOMETRY = TiltGeometry(tuple(range(-60, 61, 4)), SHAPE[1:], SHAPE)
SERIES_BYTES = 4 * GEOMETRY.num_tilts * SHAPE[1] * SHAPE[2]


class Projector:
    adjoint_tolerance = 0.0

    def memory_bytes(self, n_slices: int) -> int:
        return 1_000_000 + 1_000 * n_slices


class Network(torch.nn.Module):
    def __init__(self, bytes_per_point: int = 400) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(1000))
        self.bytes_per_point = bytes_per_point

    def memory_bytes(self, lattice_shape: tuple[int, int, int]) -> int:
        return self.bytes_per_point * lattice_shape[0] * lattice_shape[1] * lattice_shape[2]


def config(batch_rows: int = 16) -> FitConfig:
    return FitConfig(network=ComponentChoice(name="voxel"), projector=ComponentChoice(name="torch"), batch_rows=batch_rows)


def plan(limit: float, *, batch_rows: int = 16, halo_rows: int = 1, device=CUDA, network=None) -> MemoryPlan:
    """A plan for a GPU, where nothing is taken yet: the same figures on every machine."""
    return plan_memory(network or Network(), Projector(), GEOMETRY, config(batch_rows), halo_rows, device, int(limit))


def test_largest_slab_that_fits_is_chosen():
    whole = plan(1e9)
    assert whole.slab_rows == 16
    for limit in range(whole.total_bytes - 1, 5_000_000, -700_000):
        chosen = plan(limit)
        assert chosen.total_bytes <= limit
        # One row more would not have fitted.
        assert plan(chosen.total_bytes - 1).slab_rows < chosen.slab_rows or not plan(chosen.total_bytes - 1).resident
        assert chosen.slab_rows < 16 or not chosen.resident


def test_smaller_limit_gives_no_taller_slabs():
    plans = [plan(limit) for limit in range(8_000_000, 40_000_000, 500_000)]
    for resident in (True, False):
        rows = [made.slab_rows for made in plans if made.resident is resident]
        assert rows == sorted(rows)
    assert len({made.slab_rows for made in plans}) > 5


def test_slabs_are_no_taller_than_the_batch_or_the_volume():
    assert plan(1e12, batch_rows=5).slab_rows == 5
    assert plan(1e12, batch_rows=500).slab_rows == SHAPE[1]


def test_slabs_are_no_taller_than_a_large_gpu_is_busy_with(monkeypatch):
    assert plan(1e12, batch_rows=40).slab_rows == 40
    monkeypatch.setattr(module, "_MOST_VOXELS", 7 * SHAPE[0] * SHAPE[2] + 1)
    assert plan(1e12, batch_rows=40).slab_rows == 7
    monkeypatch.setattr(module, "_MOST_VOXELS", 1)
    assert plan(1e12, batch_rows=40).slab_rows == 1


def test_halo_costs_memory():
    assert plan(20e6, halo_rows=8).slab_rows < plan(20e6, halo_rows=0).slab_rows


def test_tilt_series_stays_where_it_takes_at_most_half():
    assert plan(1e9).resident
    assert plan(1e9).total_bytes - plan_memory_of_slabs_alone() == SERIES_BYTES


def plan_memory_of_slabs_alone() -> int:
    """Bytes of the same slabs with a series of no weight: the difference of two plans of equal slabs."""
    tiny = Network(0)
    rows = 16
    field = Network().memory_bytes((rows + 2, SHAPE[0], SHAPE[2]))
    return plan(1e9, network=tiny).total_bytes - SERIES_BYTES + field


def test_limit_too_small_names_the_least_and_the_least_suffices():
    with pytest.raises(DeviceError, match=r"32 x 64 voxels: allow at least \d+ MiB \(--max-memory\)") as refused:
        plan(1_000_000)
    least = int(re.search(r"at least (\d+) MiB", str(refused.value)).group(1))
    assert plan(least * 2**20).slab_rows >= 1
    with pytest.raises(DeviceError):
        plan((least - 2) * 2**20)


def test_network_that_says_nothing_is_planned_for():
    silent = torch.nn.Linear(3, 1)
    assert 1 <= plan(30e6, network=silent).slab_rows <= 16


def test_what_the_process_holds_counts_on_a_cpu():
    taken = resident_bytes()
    assert plan(1e12, device=CPU).total_bytes - plan(1e12).total_bytes >= taken - 50e6
    with pytest.raises(DeviceError, match="at least"):
        plan(taken // 2, device=CPU)


def test_limit_is_what_is_asked_or_below_what_is_free(monkeypatch):
    assert memory_limit(CPU, 12345) == 12345
    monkeypatch.setattr(module, "available_memory_bytes", lambda: 1_000_000_000)
    monkeypatch.setattr(module, "resident_bytes", lambda: 300_000_000)
    assert memory_limit(CPU, None) == 1_100_000_000


def test_plan_is_said_in_a_line():
    assert str(MemoryPlan(4, False, 2**29, 2**30)) == (
        "memory plan: slabs of 4 y-rows, tilt series read slab by slab, about 0.50 of 1.00 GiB"
    )


@pytest.fixture(scope="module")
def tilts(tmp_path_factory) -> Path:
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("phantom")
    sizes = ["--shape", "64", "48", "96", "--num-tilts", "41", "--tilt-range", "-60", "60"]
    assert run(["simulate-spheres", "-o", str(folder), *sizes]) == 0
    return folder / "tilts.zarr"


def fit(tilts: Path, out: Path, limit: str, network: str) -> subprocess.CompletedProcess:
    """Run a short fit, its last step with all that later steps do, in a process of its own, whose peak memory is its own."""
    options = ["--network", network, "--max-memory", limit, "--passes", "0.75", "--json", "--overwrite"]
    command = [sys.executable, "-m", "wedge", "reconstruct", str(tilts), "-o", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


@pytest.mark.parametrize("network", ["feature-grid", "voxel"])
def test_real_fit_stays_below_the_least_limit_that_it_names(tilts, tmp_path, network):
    refused = fit(tilts, tmp_path / "out.zarr", "100MB", network)
    assert refused.returncode == 6
    least = int(re.search(r"at least (\d+) MiB", refused.stderr).group(1))
    # Pages that other processes share come and go: a hundredth of room for them.
    limit_mib = int(1.01 * least)
    done = fit(tilts, tmp_path / "out.zarr", f"{limit_mib}MiB", network)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fit"]["slab_rows"] < 16
    assert told["fit"].get("network_kernel") == {"feature-grid": "torch"}.get(network)
    assert told["peak_memory_bytes"] <= limit_mib * 2**20
    assert told["fit"]["planned_memory_bytes"] <= limit_mib * 2**20
    # Nor is it so careful that it wastes what was allowed.
    assert told["peak_memory_bytes"] > 0.5 * told["fit"]["planned_memory_bytes"]
