"""The memory of a network that restores: what it depends on, and how much is learned from for it."""

import pytest
import torch

from wedge.errors import DeviceError
from wedge.restore.memory import Footprint
from wedge.restore.network import slab_bytes
from wedge.restore.training import LEAST_CUBE

CPU = torch.device("cpu")
TALL = (1024, 64, 64)


def test_memory_of_the_network_is_bounded_by_its_slabs() -> None:
    assert slab_bytes((4096, 256, 256), 12, CPU) == slab_bytes((1024, 256, 256), 12, CPU) > slab_bytes((8, 256, 256), 12, CPU)
    assert slab_bytes((64, 64, 64), 24, CPU) == 2 * slab_bytes((64, 64, 64), 12, CPU)
    assert slab_bytes((64, 64, 64), 24, CPU, half_precision=True) == slab_bytes((64, 64, 64), 12, CPU)


def test_what_is_learned_from_fits_into_memory() -> None:
    footprint = Footprint(12, CPU)
    assert footprint.voxels_within((128, 16, 16), footprint.needed_bytes((128, 16, 16), 128)) == 128 * 256
    assert footprint.voxels_within((128, 16, 16), 10**6) == 0
    very_tall = (4096, 64, 64)
    assert 0 < footprint.voxels_within(very_tall, footprint.needed_bytes(very_tall, 256)) <= 256 * 64 * 64


def test_halved_in_two_ways_it_takes_more_and_the_same_memory_holds_fewer() -> None:
    once, twice = (Footprint(1, CPU, pairs=pairs) for pairs in (1, 2))
    needed = once.needed_bytes(TALL, 1024)
    assert twice.needed_bytes(TALL, 1024) > 1.2 * needed
    assert 0 < twice.voxels_within(TALL, needed) < once.voxels_within(TALL, needed)


def test_in_half_precision_the_same_memory_holds_more() -> None:
    whole, half = (Footprint(12, CPU, half_precision=halved) for halved in (False, True))
    needed = half.needed_bytes(TALL, 512)
    assert whole.voxels_within(TALL, needed) < half.voxels_within(TALL, needed) == 512 * 64 * 64


@pytest.mark.parametrize("held", [0, 2**30])
def test_what_a_refusal_asks_for_is_enough(held: int) -> None:
    """Whatever else is held."""
    footprint, limit = Footprint(12, CPU), held + 2**20
    assert footprint.voxels_within(TALL, limit - held) == 0
    error = footprint.refusal(TALL, limit, limit - held, "do without")
    assert isinstance(error, DeviceError)
    assert str(error).endswith(", or do without")
    asked = int(str(error).split("at least ")[1].split(" MiB")[0]) * 2**20
    assert footprint.voxels_within(TALL, asked - held) >= LEAST_CUBE * 64 * 64
    assert footprint.voxels_within(TALL, asked - held - 2 * 2**20) == 0
