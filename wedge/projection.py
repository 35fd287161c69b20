"""Automatic differentiation around any projector. Projectors themselves know nothing of gradients."""

from typing import Any

import torch

from wedge.contracts import Projector


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projector: Projector, slices: torch.Tensor) -> torch.Tensor:
        ctx.projector = projector
        with torch.autocast(slices.device.type, enabled=False):
            return projector.project(slices.detach())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, _Backproject.apply(ctx.projector, gradient)


class _Backproject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projector: Projector, sinograms: torch.Tensor) -> torch.Tensor:
        ctx.projector = projector
        with torch.autocast(sinograms.device.type, enabled=False):
            return projector.backproject(sinograms.detach())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, _Project.apply(ctx.projector, gradient)


def project(projector: Projector, slices: torch.Tensor) -> torch.Tensor:
    """Project slices so that gradients flow back through `Projector.backproject`, to any order; in single precision under autocast too.

    Parameters
    ----------
    projector
        Any projector.
    slices
        ``(y, z, x)`` density; other floating-point types are cast to float32.

    Returns
    -------
    torch.Tensor
        ``(y, tilt, x)`` float32 on the same device.
    """
    return _Project.apply(projector, slices.float())


def backproject(projector: Projector, sinograms: torch.Tensor) -> torch.Tensor:
    """Apply the transpose so that gradients flow back through `Projector.project`, to any order.

    Parameters
    ----------
    projector
        Any projector.
    sinograms
        ``(y, tilt, x)``; other floating-point types are cast to float32.

    Returns
    -------
    torch.Tensor
        ``(y, z, x)`` float32 on the same device.
    """
    return _Backproject.apply(projector, sinograms.float())
