"""Projector through the ASTRA Toolbox (GPLv3): its CPU kernels, and its CUDA kernels where there is a GPU."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_projectors() -> list[Component]:
    """Offer the ``astra`` projector."""
    return [
        Component(
            name="astra",
            summary="ASTRA's kernels: CPU slice by slice, CUDA whole slabs",
            target="wedge_astra.projector:AstraProjector",
            options="wedge_astra.options:AstraProjectorOptions",
            requires=("astra-toolbox",),
            probe="wedge_astra.options:probe",
        )
    ]
