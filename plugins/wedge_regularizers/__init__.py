"""First-party regularizers."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_regularizers() -> list[Component]:
    """Offer ``tv`` and ``crowther``."""
    return [
        Component(
            name="tv",
            summary="Isotropic total variation in three dimensions",
            target="wedge_regularizers.tv:TotalVariation",
            options="wedge_regularizers.tv:TotalVariationOptions",
        ),
        Component(
            name="crowther",
            summary="Fourier energy beyond the Crowther frequency in the missing wedge; D is the volume's z size unless given",
            target="wedge_regularizers.crowther:Crowther",
            options="wedge_regularizers.crowther:CrowtherOptions",
        ),
    ]
