"""Matrix-free projector: strip and Joseph footprints computed where they are needed, by kernels in Triton."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_projectors() -> list[Component]:
    """Offer the ``triton`` projector."""
    return [
        Component(
            name="triton",
            summary="Strip or Joseph footprints without a stored matrix, exact transpose, on CUDA",
            target="wedge_triton.projector:TritonProjector",
            options="wedge_triton.options:TritonProjectorOptions",
            requires=("triton",),
            probe="wedge_triton.options:probe",
        )
    ]
