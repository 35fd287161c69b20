"""All projectors against each other and against analytic chords, on an asymmetric phantom off the centre."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from wedge_astra.options import AstraProjectorOptions
from wedge_astra.projector import AstraProjector
from wedge_odl.options import OdlProjectorOptions
from wedge_odl.projector import OdlProjector
from wedge_torch.projector import TorchProjector, TorchProjectorOptions

from wedge.geometry import TiltGeometry
from wedge.testing.phantom import analytic_sinogram, rasterized_slice

PLUGINS = ((TorchProjector, TorchProjectorOptions), (OdlProjector, OdlProjectorOptions), (AstraProjector, AstraProjectorOptions))
PLAIN = TiltGeometry(tuple(np.linspace(-60, 60, 60)), (1, 128), (64, 1, 128))
SKEW = replace(PLAIN.with_volume((43, 1, 87), 1.5, (0.75, -2.0)), tilt_angles_deg=(*np.linspace(-48, 66, 41)[::-1], 3.0, 3.0))


def apply_all(geometry: TiltGeometry, model: str, call: Callable) -> list[torch.Tensor]:
    return [call(cls(geometry, options(model=model), torch.device("cpu"))) for cls, options in PLUGINS]


@pytest.mark.parametrize(("model", "bound"), [("joseph", 0.0217), ("strip", 0.0246)])
def test_errors_against_analytic_chords_are_within_the_published_figures(model: str, bound: float) -> None:
    image, expected = rasterized_slice(PLAIN)[None], analytic_sinogram(PLAIN)
    for found in apply_all(PLAIN, model, lambda projector: projector.project(image)[0]):
        assert float((found - expected).norm() / expected.norm()) < bound


@pytest.mark.parametrize("geometry", [PLAIN, SKEW, replace(SKEW, axis_offset_pixels=-4.25)], ids=["plain", "skew", "off the axis"])
@pytest.mark.parametrize("model", ["joseph", "strip"])
def test_plugins_agree_with_each_other(geometry: TiltGeometry, model: str) -> None:
    image, sinogram = rasterized_slice(geometry)[None], analytic_sinogram(geometry)[None]
    for call in (lambda projector: projector.project(image), lambda projector: projector.backproject(sinogram)):
        ours, *theirs = apply_all(geometry, model, call)
        for other in theirs:
            assert float((ours - other).norm() / ours.norm()) < 5e-5
