"""A projector that turns the specimen and sums along the beam."""

from wedge.plugin_api import Component, hookimpl

WEDGE_API = (1, 0)


@hookimpl
def wedge_projectors() -> list[Component]:
    """Offer the ``rotate`` projector."""
    return [
        Component(
            name="rotate",
            summary="Turn each slice by bilinear interpolation and sum along the beam",
            target="wedge_rotate.projector:RotateProjector",
            options="wedge_rotate.projector:RotateOptions",
        )
    ]
