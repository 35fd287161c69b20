"""Small series of spheres, whole or put out of place on purpose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.align.transforms import ViewTransforms
from wedge.align.warp import warp_views
from wedge.data import TiltSeries
from wedge.geometry import TiltGeometry
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres

SHAPE = (20, 40, 56)


@pytest.fixture(scope="session")
def build_projector() -> Callable:
    return Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False}).build


@pytest.fixture(scope="session")
def make_series() -> Callable[..., TiltSeries]:
    """Return spheres seen within 60 degrees, about an axis that lies elsewhere than the geometry says."""

    def make(offset: float = 0.0, count: int = 21, shape: tuple[int, int, int] = SHAPE, seed: int = 100) -> TiltSeries:
        geometry = TiltGeometry(tuple(np.linspace(-60, 60, count)), shape[1:], shape, axis_offset_pixels=offset)
        sinograms = chords(make_spheres(shape, seed), geometry, 0, shape[1])
        return TiltSeries(np.ascontiguousarray(sinograms.transpose(1, 0, 2)), replace(geometry, axis_offset_pixels=0.0))

    return make


@pytest.fixture(scope="session")
def spoil() -> Callable[..., TiltSeries]:
    """Move the views of a series, and add white noise."""

    def spoilt(series: TiltSeries, moves: ViewTransforms, snr: float | None = None) -> TiltSeries:
        views = warp_views(torch.from_numpy(np.asarray(series.array).transpose(1, 0, 2).copy()), moves).numpy()
        if snr:
            views = views + np.random.default_rng(1).normal(scale=views.std() / snr**0.5, size=views.shape).astype(np.float32)
        return replace(series, array=np.ascontiguousarray(views.transpose(1, 0, 2)))

    return spoilt
