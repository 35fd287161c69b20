"""The three first-party projectors, each model, under the laws of all projectors."""

import torch
from wedge_astra.options import AstraProjectorOptions
from wedge_astra.projector import AstraProjector
from wedge_odl.options import OdlProjectorOptions
from wedge_odl.projector import OdlProjector
from wedge_torch.projector import TorchProjector, TorchProjectorOptions

from wedge.geometry import TiltGeometry
from wedge.testing.projector_laws import ProjectorLaws


class TestTorchStrip(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> TorchProjector:
        return TorchProjector(geometry, TorchProjectorOptions(), device)


class TestTorchJoseph(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> TorchProjector:
        return TorchProjector(geometry, TorchProjectorOptions(model="joseph"), device)


class TestTorchDouble(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> TorchProjector:
        return TorchProjector(geometry, TorchProjectorOptions(precision="float64"), device)


class TestTorchWithoutStoredMatrices(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> TorchProjector:
        return TorchProjector(geometry, TorchProjectorOptions(matrix_gib=1e-5), device)


class TestOdlJoseph(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> OdlProjector:
        return OdlProjector(geometry, OdlProjectorOptions(), device)


class TestOdlStrip(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> OdlProjector:
        return OdlProjector(geometry, OdlProjectorOptions(model="strip"), device)


class TestAstraJoseph(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> AstraProjector:
        return AstraProjector(geometry, AstraProjectorOptions(), device)


class TestAstraStrip(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> AstraProjector:
        return AstraProjector(geometry, AstraProjectorOptions(model="strip"), device)
