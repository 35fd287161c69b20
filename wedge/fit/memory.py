"""How many rows fit into memory at once. The plan is made and told before the run; it never changes the result."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from wedge.contracts import Projector
from wedge.errors import DeviceError
from wedge.fit import team
from wedge.fit.blur import reach_points
from wedge.fit.config import FitConfig
from wedge.geometry import TiltGeometry
from wedge.out_of_memory import with_fewer_rows
from wedge.provenance import resident_bytes
from wedge.slabs import available_memory_bytes

T = TypeVar("T")
_MIB = 2**20
_SHARE_OF_FREE = 0.8
PARAMETER_COPIES = 4  # value, gradient and Adam's two moments
_SLICE_COPIES = 10  # raw, density, their gradients, and what a regularizer keeps
_SINOGRAM_COPIES = 12  # measured, predicted, residual, two padded spectra and the gradients
_MOST_VOXELS = 2**25  # of a slab: more at once are no faster anywhere
FIRST_USE_BYTES = 40 * _MIB  # what the first steps load and keep: transforms, threads of the backward pass, the allocator's spare pages


@dataclass
class MemoryPlan:
    """Rows evaluated at once, and the bytes that this takes; fits that share a plan share what became of it.

    Parameters
    ----------
    slab_rows
        Rows that count in one slab.
    resident
        Whether all sinograms stay on the device.
    total_bytes, limit_bytes
        Expected peak and what was allowed.
    """

    slab_rows: int
    resident: bool
    total_bytes: int
    limit_bytes: int

    def __str__(self) -> str:
        """Say the plan in a line."""
        where = "kept in memory" if self.resident else "read slab by slab"
        return (
            f"memory plan: slabs of {self.slab_rows} y-rows, tilt series {where}, "
            f"about {self.total_bytes / 2**30:.2f} of {self.limit_bytes / 2**30:.2f} GiB"
        )

    def in_slabs(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns; where memory runs out, halve the slabs and call it again.

        A warning says that it went on so; with slabs of a single row the error is passed on.
        """

        def with_slabs(rows: int) -> T:
            self.slab_rows = rows
            return attempt()

        return with_fewer_rows(with_slabs, self.slab_rows)[0]


def memory_limit(device: torch.device, asked: int | None) -> int:
    """Return the allowed peak in bytes: as asked, or four fifths of what is free (of the process on a CPU, of the tensors on a GPU).

    Processes of a team that share a CPU share what is allowed.
    """
    if asked is not None:
        return asked // team.size() if device.type == "cpu" else asked
    if device.type == "cuda":
        return int(_SHARE_OF_FREE * torch.cuda.mem_get_info(device)[0])
    return resident_bytes() + int(_SHARE_OF_FREE * available_memory_bytes()) // team.size()


def plan_memory(
    network: torch.nn.Module,
    projector: Projector,
    geometry: TiltGeometry,
    config: FitConfig,
    halo_rows: int,
    device: torch.device,
    limit: int,
    finer: Projector | None = None,
    built_bytes: int = 0,
    weighted: bool = False,
) -> MemoryPlan:
    """Choose the largest slab, up to the logical batch and as many voxels as a large GPU is busy with, that stays below ``limit`` bytes.

    ``finer`` is the projector of the oversampled lattice, where the fit has one; ``built_bytes`` is what the process grew by while the
    projectors were built; less than nothing keeps that much room free. ``weighted`` rays have weights beside their values.

    Raises
    ------
    DeviceError
        If not even one row fits; the message gives the least that does.
    """
    num_z, num_rows, num_x = geometry.volume_shape
    rays = geometry.num_tilts * geometry.detector_shape[1]
    parameters = sum(p.numel() * p.element_size() for p in network.parameters())
    fixed = PARAMETER_COPIES * parameters
    if device.type == "cpu":
        # Operators that were built already are in memory, and in what the projectors say that they need: they count once.
        operators = projector.memory_bytes(0) + (finer.memory_bytes(0) if finer else 0)
        fixed += resident_bytes() + FIRST_USE_BYTES - min(built_bytes, operators)
    estimate = getattr(network, "memory_bytes", None)

    def slab_bytes(rows: int) -> int:
        # A blur needs the points around those that are projected.
        around = 2 * reach_points(config.blur_voxels, 1.0)
        evaluated = min(rows + 2 * halo_rows, num_rows) + around
        lattice = (evaluated, config.oversampling * (num_z + around), config.oversampling * (num_x + around))
        points = math.prod(lattice)
        field = estimate(lattice) if callable(estimate) else 4 * 64 * points
        projecting = finer.memory_bytes(rows) + projector.memory_bytes(0) if finer else projector.memory_bytes(rows)
        return int(field + projecting + 4 * (_SLICE_COPIES * points + (_SINOGRAM_COPIES + 3 * weighted) * rows * rays))

    series = 4 * rays * num_rows * (2 if weighted else 1)
    resident = fixed + series + slab_bytes(1) <= limit and series <= limit / 2
    base = fixed + (series if resident else 0)
    most = max(1, min(config.rows_per_step(num_rows), _MOST_VOXELS // (num_z * num_x)))
    for rows in range(most, 0, -1):
        if base + slab_bytes(rows) <= limit:
            return MemoryPlan(rows, resident, base + slab_bytes(rows), limit)
    least = base + slab_bytes(1)
    raise DeviceError(
        f"memory limit of {limit / _MIB:.0f} MiB is too small for one slice of {num_z} x {num_x} voxels: "
        f"allow at least {least / _MIB + 1:.0f} MiB (--max-memory) or choose a smaller network"
    )
