"""Laws of the Gaussian that bounds a field's detail."""

import pytest
import torch
from wedge_networks.voxel import Voxel, VoxelOptions

from wedge.fit.blur import Blur, reach_points
from wedge.fit.model import Field
from wedge.lattice import FieldBox, Lattice

BOX = FieldBox((9, 14, 12))


def field(sigma: float, positive: bool = True) -> Field:
    network = Voxel(BOX, VoxelOptions())
    with torch.no_grad():
        network.values.copy_(torch.randn(network.values.shape, generator=torch.Generator().manual_seed(1)))
    return Field(network, positive, False, Blur(sigma, max(BOX.shape)))


def test_a_constant_stays_what_it_is():
    network = Voxel(BOX, VoxelOptions())
    with torch.no_grad():
        network.values.fill_(2.0)
    blurred = Field(network, False, False, Blur(1.3, max(BOX.shape)))(BOX.lattice())
    assert torch.allclose(blurred, torch.full(blurred.shape, 2.0), atol=1e-5)


@pytest.mark.parametrize("sigma", [0.4, 0.9, 1.6])
def test_sub_lattice_is_crop_of_whole(sigma):
    whole = field(sigma)(BOX.lattice())
    assert torch.allclose(field(sigma)(BOX.lattice(4, 9)), whole[4:9], atol=1e-5)
    part = Lattice(BOX.axis(0, 2, 7), BOX.axis(1, 3, 4), BOX.axis(2, 5, 12))
    assert torch.allclose(field(sigma)(part), whole[3:4, 2:7, 5:12], atol=1e-5)


def test_a_point_becomes_a_gaussian_of_this_width_and_of_the_same_mass():
    box = FieldBox((41, 41, 41))
    network = Voxel(box, VoxelOptions())
    with torch.no_grad():
        network.values[20, 20, 20] = 1.0
    blurred = Field(network, False, False, Blur(1.5, 41))(box.lattice()).detach().double()
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
    place = torch.arange(41.0, dtype=torch.float64) - 20
    for axis in range(3):
        profile = blurred.sum(dim=[other for other in range(3) if other != axis])
        # Cut off at three standard deviations, a Gaussian is a little narrower.
        assert float((profile * place.square()).sum().sqrt()) == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize("factor", [2, 3])
def test_finer_lattice_shows_the_same_field(factor):
    # Of a field that is itself smooth: both kernels are sums over points of one Gaussian.
    def waves(lattice: Lattice) -> torch.Tensor:
        return torch.sin(4 * lattice.y)[:, None, None] * torch.cos(3 * lattice.z + 1)[:, None] * torch.sin(5 * lattice.x) + 2

    blur = Blur(1.2, max(BOX.shape))
    coarse, fine = (blur(waves(blur.widened(lattice)), lattice) for lattice in (BOX.lattice(), BOX.lattice(spacing=1 / factor)))
    pooled = torch.nn.functional.avg_pool3d(fine[None], factor)[0]
    assert float((pooled - coarse).abs().max()) < 0.02


def test_positive_stays_positive_and_smooth():
    sharp, blurred = (field(sigma)(BOX.lattice()).detach() for sigma in (1e-6, 1.0))
    assert float(blurred.min()) > 0
    assert float(blurred.diff(dim=2).abs().mean()) < 0.5 * float(sharp.diff(dim=2).abs().mean())


def test_gradient_reaches_every_value():
    built = field(0.9)
    built(BOX.lattice()).square().sum().backward()
    (values,) = built.network.parameters()
    assert bool((values.grad != 0).all())


def test_reach_follows_the_spacing():
    assert reach_points(0.0, 1.0) == 0
    assert reach_points(1.0, 1.0) == 3
    assert reach_points(1.0, 0.5) == 6
