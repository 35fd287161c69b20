"""First-party regularizers."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_regularizers() -> list[Component]:
    """Offer ``tv``."""
    return [
        Component(
            name="tv",
            summary="Isotropic total variation in three dimensions",
            target="wedge_regularizers.tv:TotalVariation",
            options="wedge_regularizers.tv:TotalVariationOptions",
        ),
    ]
