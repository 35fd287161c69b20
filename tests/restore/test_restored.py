"""A restored tomogram: nearer to the truth, seamless, and still what was measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.errors import DeviceError, InputError
from wedge.fourier import missing_mask
from wedge.restore import run
from wedge.restore.cubes import Cubes
from wedge.restore.halves import pair_of
from wedge.restore.network import REACH, Restorer, applied, slab_bytes
from wedge.restore.run import require_memory, restored
from wedge.restore.training import RestoreConfig, _loss, cube_size

ANGLES = tuple(range(-50, 51, 2))
SHAPE = (32, 24, 40)  # y, z, x
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rods() -> torch.Tensor:
    """Short rods that lie in all directions."""
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1)
    density = np.zeros(SHAPE)
    for _ in range(26):
        axis = random.normal(size=3)
        away = grid - random.uniform(2, np.array(SHAPE) - 2)
        along = away @ (axis / np.linalg.norm(axis))
        across = (away**2).sum(-1) - along**2
        density += np.exp(-across / 2 / 1.2**2) * (np.abs(along) < 6)
    return torch.from_numpy(density.astype(np.float32))


@pytest.fixture(scope="module")
def halves(rods: torch.Tensor) -> list[torch.Tensor]:
    """The rods without what views miss, twice with noise."""
    rows, num_z, num_x = SHAPE
    measured = ~missing_mask((num_z, rows, num_x), ANGLES, real=True).transpose(0, 1)
    seen = torch.fft.irfftn(torch.fft.rfftn(rods) * measured, s=SHAPE)
    return [seen + 0.25 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


CONFIG = RestoreConfig(steps=120, cube=16, channels=4)


@pytest.fixture(scope="module")
def found(halves: list[torch.Tensor]) -> torch.Tensor:
    return restored(halves[0], halves[1], ANGLES, CONFIG)


def missing_part(density: torch.Tensor) -> torch.Tensor:
    rows, num_z, num_x = SHAPE
    missing = missing_mask((num_z, rows, num_x), ANGLES, real=True).transpose(0, 1)
    return torch.fft.irfftn(torch.fft.rfftn(density) * missing, s=SHAPE)


def test_noise_goes_and_the_wedge_is_filled(rods: torch.Tensor, halves: list[torch.Tensor], found: torch.Tensor) -> None:
    """Judged by the truth, which the network has not seen: as a whole, and in the wedge, where there was nothing but noise."""
    mean = (halves[0] + halves[1]) / 2
    assert likeness(found, rods) > likeness(mean, rods) + 0.2
    assert likeness(missing_part(found), missing_part(rods)) > 0.4 > likeness(missing_part(mean), missing_part(rods)) + 0.3


def test_result_follows_the_seed_alone_and_keeps_the_units(halves: list[torch.Tensor], found: torch.Tensor) -> None:
    again = restored(halves[0], halves[1], ANGLES, CONFIG)
    assert torch.equal(again, found)
    scaled = restored(4 * halves[0], 4 * halves[1], ANGLES, CONFIG)
    assert torch.allclose(scaled / 4, found, atol=1e-2 * float(found.std()))


def test_offset_stays(halves: list[torch.Tensor]) -> None:
    quick = RestoreConfig(steps=1, cube=16, channels=2)
    found, moved = (restored(offset + halves[0], offset + halves[1], ANGLES, quick) for offset in (0.0, 5.0))
    assert torch.allclose(moved - 5, found, atol=1e-2 * float(found.std()))


def test_steps_are_told(halves: list[torch.Tensor]) -> None:
    told: list[float] = []
    restored(halves[0], halves[1], ANGLES, RestoreConfig(steps=5, cube=16, channels=2), told.append)
    assert len(told) == 5
    assert all(0.5 < loss < 10 for loss in told), "in units of the noise, which is what a perfect network leaves"


def test_slabs_leave_no_seam() -> None:
    torch.manual_seed(0)
    network, density = Restorer(3), torch.randn(3 * REACH + 5, 10, 14)
    whole = applied(network, density)
    assert whole.shape == density.shape
    assert torch.allclose(applied(network, density, voxels_at_once=1), whole, atol=1e-5)


def test_memory_of_the_network_is_bounded_by_its_slabs() -> None:
    assert slab_bytes((4096, 256, 256), 12) == slab_bytes((1024, 256, 256), 12) > slab_bytes((8, 256, 256), 12)
    assert slab_bytes((64, 64, 64), 24) == 2 * slab_bytes((64, 64, 64), 12)


def test_thin_and_large_volumes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cube_size(RestoreConfig(), (64, 30, 64)) == 28
    with pytest.raises(InputError, match="too thin"):
        cube_size(RestoreConfig(), (64, 15, 64))
    monkeypatch.setattr(run, "available_memory_bytes", lambda: 10**6)
    with pytest.raises(DeviceError, match="GiB"):
        require_memory((64, 64, 64), 12, CPU)


def test_what_the_other_half_misses_is_not_asked_for(halves: list[torch.Tensor]) -> None:
    """A wave that no view could have measured changes the loss by little, one within the cone by much."""
    pair = pair_of(halves[0], halves[1], ANGLES)
    network = Restorer(2)
    torch.nn.init.zeros_(network.last.weight)
    cubes = Cubes(16, ANGLES, 0, CPU)
    weight = torch.ones(16, 16, 9)

    def loss(wave: torch.Tensor) -> float:
        changed = replace(pair, halves=(pair.halves[0] + wave, pair.halves[1] + wave))
        return float(_loss(network, changed, pair.filtered, cubes, weight, range(6)).detach())

    waves = [3 * torch.cos(2 * torch.pi * 0.2 * torch.arange(float(n))) for n in SHAPE]
    seen, missed = waves[2].expand(SHAPE), waves[1][:, None].expand(SHAPE)
    base = loss(torch.zeros(SHAPE))
    assert loss(missed) - base < 0.2 * (loss(seen) - base)
