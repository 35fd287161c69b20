"""Several devices of one machine at one fit: each takes a share of the rows of every step, and gradients are summed.

Every process does the same, and only what it evaluates differs: so all hold the same field, and the first one alone writes. Who takes part
is `torch.distributed`'s to know; a process of its own is a team of one.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

_PATIENCE = timedelta(hours=1)  # the others wait while the first one filters and writes


@contextmanager
def membership(rank: int, size: int, store: Path, device: torch.device) -> Iterator[None]:
    """Be number ``rank`` of a team of ``size`` processes that meet at a file, while the block lasts."""
    if size == 1:
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, init_method=f"file://{store}", rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        # Who fails at once must not do so before the others have met it: they would wait.
        dist.barrier()
        yield
    except BaseException:
        # A follower is to say what went wrong, and then ends; with NCCL, leaving would wait for those that are still at their step.
        if rank == 0 and backend == "gloo":
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def size() -> int:
    """Return how many processes take part."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def leads() -> bool:
    """Return whether this process is the one that writes."""
    return rank() == 0


def share(segments: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the part of some ranges of rows ``(start, stop)`` that this process takes: all parts together are all rows, once each."""
    total = sum(stop - start for start, stop in segments)
    low, high = total * rank() // size(), total * (rank() + 1) // size()
    taken, before = [], 0
    for start, stop in segments:
        first, last = max(start, start + low - before), min(stop, start + high - before)
        if first < last:
            taken.append((first, last))
        before += stop - start
    return taken


def add_up(tensors: Iterable[torch.Tensor]) -> None:
    """Replace each tensor by its sum over the team."""
    if size() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def add_up_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over the team; one that some did not need is 0 there, one that nobody needed stays None."""
    if size() == 1:
        return
    fitted = [parameter for parameter in parameters if parameter.requires_grad]
    # An optimizer leaves alone what has no gradient, and moves on what has one of 0.
    needed = torch.tensor([parameter.grad is not None for parameter in fitted], dtype=torch.int32, device=fitted[0].device)
    dist.all_reduce(needed, dist.ReduceOp.MAX)
    for parameter, by_some in zip(fitted, needed.tolist(), strict=True):
        if by_some and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    add_up(parameter.grad for parameter in fitted if parameter.grad is not None)


def total(value: float, device: torch.device) -> float:
    """Return the sum of a number over the team."""
    if size() == 1:
        return value
    summed = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return float(summed)


def least(value: int, device: torch.device) -> int:
    """Return the smallest of a number over the team."""
    if size() == 1:
        return value
    found = torch.tensor([value], dtype=torch.int64, device=device)
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return int(found)


def collect(mine: torch.Tensor | None, shapes: Sequence[Sequence[int]], device: torch.device) -> list[torch.Tensor]:
    """Return, to the one that leads, what each of the first processes has, in order; to the others nothing.

    ``shapes`` has one for each process that has something.
    """
    if not leads():
        if mine is not None:
            dist.send(mine.contiguous(), 0)
        return []
    found = [] if mine is None else [mine]
    for other in range(1, len(shapes)):
        received = torch.empty(tuple(shapes[other]), device=device)
        dist.recv(received, other)
        found.append(received)
    return found
