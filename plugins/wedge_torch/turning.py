"""Slices laid side by side, which is how a sparse matrix multiplies them fastest, and laid apart again."""

import torch

_LEAST = 2**20
"""Values from which on a kernel is worth its launch; torch moves them one by one on a GPU, at a tenth of what memory allows."""


def turned(batch: torch.Tensor) -> torch.Tensor:
    """Return ``(n, m)`` as ``(m, n)`` that lies so in memory."""
    if batch.device.type == "cuda" and batch.is_contiguous() and batch.dtype == torch.float32 and batch.numel() >= _LEAST:
        try:
            from wedge_torch.turning_kernel import turn
        except ImportError:
            # A build of torch without Triton.
            return batch.t().contiguous()
        return turn(batch)
    return batch.t().contiguous()
