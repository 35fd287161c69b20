"""The laws of projectors on a GPU."""

import pytest
import torch
from wedge_torch.projector import TorchProjector, TorchProjectorOptions

from wedge.geometry import TiltGeometry
from wedge.testing.projector_laws import ProjectorLaws


class TestStoredStrip(ProjectorLaws):
    device = "cuda"

    def make(self, geometry: TiltGeometry, device: torch.device) -> TorchProjector:
        return TorchProjector(geometry, TorchProjectorOptions(cache=False), device)


class TestStoredJoseph(ProjectorLaws):
    device = "cuda"

    def make(self, geometry: TiltGeometry, device: torch.device) -> TorchProjector:
        return TorchProjector(geometry, TorchProjectorOptions(model="joseph", cache=False), device)


class TestAstra(ProjectorLaws):
    device = "cuda"

    def make(self, geometry: TiltGeometry, device: torch.device) -> object:
        pytest.importorskip("astra")
        from wedge_astra.options import AstraProjectorOptions, probe_cuda
        from wedge_astra.projector import AstraProjector

        if reason := probe_cuda():
            pytest.skip(reason)
        return AstraProjector(geometry, AstraProjectorOptions(), device)
