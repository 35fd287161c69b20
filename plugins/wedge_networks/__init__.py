"""First-party networks: grids and coordinate networks, all evaluated axis by axis on lattices."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_networks() -> list[Component]:
    """Offer ``voxel``, ``feature-grid``, ``siren``, ``siren-slices`` and ``relu-pe``."""
    return [
        Component(
            name="voxel",
            summary="Plain grid with linear interpolation; the honest rival of every network",
            target="wedge_networks.voxel:Voxel",
            options="wedge_networks.voxel:VoxelOptions",
        ),
        Component(
            name="feature-grid",
            summary="Dense feature grids of several resolutions read by a small MLP",
            target="wedge_networks.feature_grid:FeatureGrid",
            options="wedge_networks.feature_grid:FeatureGridOptions",
        ),
        Component(
            name="siren",
            summary="MLP of sines",
            target="wedge_networks.siren:Siren",
            options="wedge_networks.siren:SirenOptions",
        ),
        Component(
            name="siren-slices",
            summary="An MLP of sines for every few y-rows, two by default",
            target="wedge_networks.siren_bank:SirenSlices",
            options="wedge_networks.siren_bank:SirenSlicesOptions",
        ),
        Component(
            name="relu-pe",
            summary="Five-layer ReLU MLP on positionally encoded coordinates",
            target="wedge_networks.relu_pe:ReluPositional",
            options="wedge_networks.relu_pe:ReluPositionalOptions",
        ),
    ]
