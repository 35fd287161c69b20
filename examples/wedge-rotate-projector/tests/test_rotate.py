import pytest
import torch
from pydantic import ValidationError
from wedge_rotate.projector import RotateOptions, RotateProjector

from wedge.plugin_api import TiltGeometry
from wedge.testing import ProjectorLaws


class TestRotate(ProjectorLaws):
    def make(self, geometry: TiltGeometry, device: torch.device) -> RotateProjector:
        return RotateProjector(geometry, RotateOptions(), device)


def test_a_view_at_0_degrees_sums_along_z() -> None:
    geometry = TiltGeometry(tilt_angles_deg=(0.0,), detector_shape=(1, 6), volume_shape=(5, 1, 6))
    slices = torch.rand((1, 5, 6), generator=torch.Generator().manual_seed(0))
    projector = RotateProjector(geometry, RotateOptions(samples_per_voxel=1), torch.device("cpu"))
    torch.testing.assert_close(projector.project(slices)[:, 0], slices.sum(dim=1))


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError, match="samples_per_voxel"):
        RotateOptions(samples_per_voxel=0)
