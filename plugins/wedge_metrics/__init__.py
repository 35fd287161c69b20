"""How close a volume is to a reference, in space and in Fourier space."""

from wedge.plugin_api import Component, hookimpl

_FOLDER = "wedge_metrics"


@hookimpl
def wedge_metrics() -> list[Component]:
    """Offer the metrics."""
    return [
        Component(
            name="psnr",
            summary="Peak signal-to-noise ratio in dB, mean over y-slices and of the whole volume",
            target=f"{_FOLDER}.psnr:Psnr",
        ),
        Component(
            name="ssim",
            summary="Structural similarity (Gaussian 11, sigma 1.5), mean over y-slices and of the whole volume",
            target=f"{_FOLDER}.ssim:Ssim",
        ),
        Component(
            name="vif",
            summary="Visual information fidelity in the pixel domain, mean over y-slices; variant=standard|study",
            target=f"{_FOLDER}.vif:Vif",
            options=f"{_FOLDER}.vif:VifOptions",
        ),
        Component(
            name="frc",
            summary="Fourier ring correlation of each y-slice: whole, measured cone and missing wedge, and resolutions",
            target=f"{_FOLDER}.frc:Frc",
        ),
        Component(
            name="fsc",
            summary="Fourier shell correlation of the volume: whole, measured cone and missing wedge, bands and resolutions",
            target=f"{_FOLDER}.fsc:Fsc",
        ),
        Component(
            name="wedge-energy",
            summary="Fourier energy inside the missing wedge over the reference's; 1 is right",
            target=f"{_FOLDER}.wedge_energy:WedgeEnergy",
        ),
    ]
