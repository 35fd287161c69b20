"""The default projector: sparse strip and Joseph matrices in torch, with the transpose stored."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_projectors() -> list[Component]:
    """Offer the ``torch`` projector."""
    return [
        Component(
            name="torch",
            summary="Sparse strip or Joseph matrix with its transpose, CPU and CUDA, cached on disk",
            target="wedge_torch.projector:TorchProjector",
            options="wedge_torch.projector:TorchProjectorOptions",
        )
    ]
