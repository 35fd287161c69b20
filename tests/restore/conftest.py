"""A specimen that a network can learn something of."""

import numpy as np
import pytest
import torch

SHAPE = (32, 24, 40)  # y, z, x


@pytest.fixture(scope="session")
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
