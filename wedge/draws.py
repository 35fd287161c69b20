"""Random numbers as functions of (seed, purpose, index), so that no result depends on the order of work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_for(seed: int, purpose: str, index: int = 0) -> int:
    """Return a 63-bit seed for one purpose and one index (a step, a row, a pass) of a run."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return a CPU generator seeded by `seed_for`."""
    import torch

    return torch.Generator().manual_seed(seed_for(seed, purpose, index))
