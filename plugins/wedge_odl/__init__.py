"""Projector through ODL, the Operator Discretization Library (MPL-2.0), with ASTRA's CPU kernels behind it."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_projectors() -> list[Component]:
    """Offer the ``odl`` projector."""
    return [
        Component(
            name="odl",
            summary="ODL's RayTransform over ASTRA's CPU kernels, one slice at a time",
            target="wedge_odl.projector:OdlProjector",
            options="wedge_odl.options:OdlProjectorOptions",
            requires=("odl", "astra-toolbox"),
            probe="wedge_odl.options:probe",
        )
    ]
