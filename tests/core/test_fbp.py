import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import DeviceError, InputError, UsageError
from wedge.fbp import default_edges, fbp, fbp_slices, filter_response, filter_sinograms
from wedge.fourier import frequency_grid, missing_mask
from wedge.geometry import TiltGeometry
from wedge.noise import add_poisson
from wedge.registry import Registry, unavailable
from wedge.spheres import chords, make_spheres, rasterize

FILTERS = ("ramp", "hamming", "hann", "sirt-like", "overlap")
PROJECTORS = [
    entry.component.name for entry in Registry.load({"WEDGE_PLUGINS": ""}).entries("projector") if unavailable(entry) is None
]  # a GPU may be missing
SIXTY = tuple(np.linspace(-60, 60, 60))


def make_projector(geometry, device="cpu", name="torch"):
    settings = {"cache": "false"} if name == "torch" else {}
    return Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", name, settings).build(geometry, torch.device(device))


def gaussians(angles, voxel=1.0, volume=128, detector=128, sigma=3.0):
    """Three off-centre Gaussians: geometry, slice and sinogram in closed form; lengths in detector pixels."""
    geometry = TiltGeometry(tuple(angles), (1, detector), (volume, 1, volume), voxel_size_in_pixels=voxel)
    axis = (np.arange(volume) - (volume - 1) / 2) * voxel
    s, theta = np.arange(detector) - (detector - 1) / 2, geometry.tilt_angles_rad[:, None]
    truth, sinogram = np.zeros((volume, volume)), np.zeros((len(theta), detector))
    for z, x, weight in ((-25.0, 19.0, 1.0), (13.0, -32.0, 0.7), (30.0, 25.0, -0.5)):
        truth += weight * np.exp(-((axis[:, None] - z) ** 2 + (axis - x) ** 2) / (2 * sigma**2))
        shadow = np.exp(-((s - x * np.cos(theta) - z * np.sin(theta)) ** 2) / (2 * sigma**2))
        sinogram += weight * math.sqrt(2 * math.pi) * sigma * shadow
    return geometry, torch.from_numpy(truth[None]).float(), torch.from_numpy(sinogram[None]).float()


def amplitude(reconstruction, truth, geometry):
    """Ratio of the reconstruction to the truth inside the measured cone."""
    kz, kx = frequency_grid(truth.shape[1:])
    cone = ~missing_mask(truth.shape[1:], geometry.tilt_angles_deg) & (torch.sqrt(kz**2 + kx**2) > 0.015)
    found, true = (torch.fft.fft2(image[0])[cone] for image in (reconstruction, truth))
    return float((found * true.conj()).real.sum() / (true.abs() ** 2).sum())


@pytest.fixture(scope="module")
def phantom():
    shape = (32, 64, 128)
    spheres = make_spheres(shape, seed=1)
    geometry = TiltGeometry(SIXTY, (64, 128), shape)
    truth, sinograms = torch.from_numpy(rasterize(spheres, 0, 64)), chords(spheres, geometry, 0, 64)
    mean = spheres.total_density / (64 * 128)
    noisy = torch.from_numpy(add_poisson(sinograms, 0, mean_projection=mean, eta=0.3, seed=1))
    return SimpleNamespace(
        geometry=geometry, truth=truth, sinograms=torch.from_numpy(sinograms), noisy=noisy, projector=make_projector(geometry)
    )


def error(found, truth):
    return float((found - truth).norm() / truth.norm())


@pytest.mark.parametrize("views", [31, 60, 121])
def test_amplitude_in_the_cone_does_not_depend_on_the_number_of_views(views):
    geometry, truth, sinogram = gaussians(np.linspace(-60, 60, views))
    found = fbp_slices(sinogram, make_projector(geometry), geometry)
    assert amplitude(found, truth, geometry) == pytest.approx(0.99, abs=0.015)


@pytest.mark.parametrize("name", PROJECTORS)
@pytest.mark.parametrize("filter", ["ramp", "overlap"])
def test_amplitude_is_right_through_any_projector(name, filter):
    geometry, truth, sinogram = gaussians(SIXTY)
    found = fbp_slices(sinogram, make_projector(geometry, name=name), geometry, filter)
    assert amplitude(found, truth, geometry) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("voxel", [0.5, 2.0])
def test_amplitude_does_not_depend_on_voxel_size(voxel):
    geometry, truth, sinogram = gaussians(SIXTY, voxel=voxel, volume=round(128 / voxel), sigma=4.0)
    found = fbp_slices(sinogram, make_projector(geometry), geometry)
    assert amplitude(found, truth, geometry) == pytest.approx(0.99, abs=0.03)


@pytest.mark.parametrize(
    "angles",
    [
        np.concatenate([np.arange(-60, 10, 1.0), np.arange(10, 61, 3.0)]),
        np.concatenate([np.arange(-60, 61, 2.0), np.arange(-20, 41, 2.0)]),
        np.arange(-40, 66, 1.5),
        np.arange(-90, 90, 2.0),
    ],
    ids=["two increments", "views taken twice", "asymmetric", "half turn"],
)
@pytest.mark.parametrize("filter", ["ramp", "overlap"])
def test_amplitude_is_right_for_true_angular_weights(angles, filter):
    angles = np.random.default_rng(0).permutation(angles)
    geometry, truth, sinogram = gaussians(angles)
    found = fbp_slices(sinogram, make_projector(geometry), geometry, filter)
    assert amplitude(found, truth, geometry) == pytest.approx(0.99, abs=0.02)


def test_filtering_is_convolution_with_the_ramp_kernel():
    width = 21
    geometry = TiltGeometry((-30.0, 0.0, 30.0), (2, width), (8, 2, width))
    sinograms = torch.randn(2, 3, width, generator=torch.Generator().manual_seed(0))
    distance = np.subtract.outer(np.arange(width), np.arange(width))
    odd = distance % 2 == 1
    kernel = np.where(odd, -1 / (np.pi * np.where(odd, distance, 1)) ** 2, 0.0) + 0.25 * np.eye(width)
    expected = np.deg2rad(30.0) * sinograms.numpy() @ kernel
    np.testing.assert_allclose(filter_sinograms(sinograms, geometry), expected, atol=1e-6)


def test_filters_run_from_sharp_to_smooth():
    geometry = TiltGeometry(SIXTY, (1, 128), (32, 1, 128))
    power = {name: float((filter_response(geometry, name)[30] ** 2).sum()) for name in FILTERS}
    assert power["ramp"] > power["hamming"] > power["hann"]
    shares = [float(filter_response(geometry, "sirt-like", iterations=n)[30].sum()) for n in (1, 5, 20, 100, 100000)]
    assert shares == sorted(shares)
    np.testing.assert_allclose(
        filter_response(geometry, "sirt-like", iterations=100000), filter_response(geometry, "ramp"), rtol=1e-4, atol=1e-7
    )


def test_overlap_filter_is_the_ramp_where_views_overlap():
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 241)), (1, 128), (32, 1, 128))
    ramp, overlap = filter_response(geometry, "ramp")[120], filter_response(geometry, "overlap")[120]
    np.testing.assert_allclose(overlap[16:60], ramp[16:60], rtol=0.05)
    # Beyond the Crowther frequency a view stands for its own slab alone.
    sparse = TiltGeometry((-60.0, -30.0, 0.0, 30.0, 60.0), (1, 128), (32, 1, 128))
    np.testing.assert_allclose(filter_response(sparse, "overlap")[2, 30:], 1 / 32)


def test_overlap_filter_is_closest_on_clean_spheres_and_smooth_filters_win_on_noise(phantom):
    clean = {f: error(fbp_slices(phantom.sinograms, phantom.projector, phantom.geometry, f), phantom.truth) for f in FILTERS}
    assert clean["overlap"] < clean["ramp"] < clean["hamming"] < clean["hann"] < 0.7
    severe = torch.from_numpy(add_poisson(phantom.sinograms.numpy(), 0, mean_projection=2.0, eta=1.0, seed=2))
    noisy = {f: error(fbp_slices(severe, phantom.projector, phantom.geometry, f), phantom.truth) for f in FILTERS}
    assert max(noisy["hamming"], noisy["hann"], noisy["sirt-like"]) < noisy["ramp"]


@pytest.mark.parametrize("iterations", [5, 20])
def test_iterations_of_the_sirt_like_filter_are_those_of_sirt(phantom, iterations):
    projector, data = phantom.projector, phantom.noisy
    rays = projector.project(torch.ones_like(phantom.truth))
    voxels = projector.backproject(torch.ones_like(data))
    sirt = torch.zeros_like(phantom.truth)
    for _ in range(iterations):
        residual = torch.where(rays > 1, (data - projector.project(sirt)) / rays, 0.0)
        sirt += projector.backproject(residual) / voxels
    apart = {
        n: error(fbp_slices(data, projector, phantom.geometry, "sirt-like", iterations=n), sirt)
        for n in (iterations // 4, iterations, iterations * 4)
    }
    assert min(apart, key=apart.get) == iterations


@pytest.mark.parametrize("filter", FILTERS)
def test_taper_leaves_nothing_of_a_background(phantom, filter):
    plain = filter_sinograms(phantom.sinograms, phantom.geometry, filter, edges="taper")
    shifted = filter_sinograms(phantom.sinograms + 100.0, phantom.geometry, filter, edges="taper")
    torch.testing.assert_close(plain, shifted, atol=1e-4, rtol=0)


def test_taper_helps_truncated_views(phantom):
    middle = slice(32, 96)
    geometry = TiltGeometry(SIXTY, (64, 64), (32, 64, 64))
    projector, cut = make_projector(geometry), phantom.sinograms[:, :, middle].contiguous()
    truth = phantom.truth[:, :, middle]

    def affine_error(found):
        found = found - found.mean()
        target = truth - truth.mean()
        return error(found * (found * target).sum() / (found * found).sum(), target)

    errors = {edges: affine_error(fbp_slices(cut, projector, geometry, edges=edges)) for edges in ("zero", "taper")}
    assert errors["taper"] < 0.97 * errors["zero"]


def test_edges_follow_what_is_known_of_the_zero():
    series = TiltSeries(np.zeros((60, 64, 128), np.float32), TiltGeometry(SIXTY, (64, 128), (32, 64, 128)))
    assert default_edges(series) == "taper"
    assert default_edges(TiltSeries(series.array, series.geometry, simulated=True)) == "zero"


class Rows:
    """Takes rows as a writer does."""

    def __init__(self, shape):
        self.volume = np.full(shape, np.nan, np.float32)

    def write_rows(self, y_start, block):
        self.volume[:, y_start : y_start + len(block)] = np.asarray(block).transpose(1, 0, 2)


@pytest.mark.parametrize("slab_rows", [None, 1, 9, 64])
def test_result_does_not_depend_on_slab_height(phantom, slab_rows):
    array = phantom.noisy.numpy().transpose(1, 0, 2)
    writer, told = Rows(phantom.geometry.volume_shape), []
    fbp(TiltSeries(array, phantom.geometry), writer, make_projector, filter="hamming", slab_rows=slab_rows, on_progress=told.append)
    whole = fbp_slices(phantom.noisy, phantom.projector, phantom.geometry, "hamming")
    np.testing.assert_allclose(writer.volume.transpose(1, 0, 2), whole, atol=1e-5)
    assert sum(told) == 64


def test_a_memory_limit_lowers_the_slab_and_one_below_a_slice_is_refused(phantom, monkeypatch):
    monkeypatch.setattr("wedge.fbp.resident_bytes", lambda: 300 * 2**20)
    series = TiltSeries(phantom.noisy.numpy().transpose(1, 0, 2), phantom.geometry)
    ample = fbp(series, Rows(phantom.geometry.volume_shape), make_projector)
    with pytest.raises(DeviceError, match=r"too small for one slice .* allow at least \d+ MiB") as refusal:
        fbp(series, Rows(phantom.geometry.volume_shape), make_projector, max_memory=2**20)
    least = int(str(refusal.value).split("at least ")[1].split()[0]) * 2**20
    writer = Rows(phantom.geometry.volume_shape)
    assert fbp(series, writer, make_projector, max_memory=least) == 1
    assert 1 < fbp(series, writer, make_projector, max_memory=least + 8 * 2**20) < ample
    assert not np.isnan(writer.volume).any()


def test_refuses_views_that_do_not_fit(phantom):
    series = TiltSeries(np.zeros((59, 64, 128), np.float32), phantom.geometry, name="short.zarr")
    with pytest.raises(InputError, match=r"short\.zarr"):
        fbp(series, Rows(phantom.geometry.volume_shape), make_projector)


@pytest.mark.parametrize("choice", [{"filter": "rampe"}, {"filter": "sirt-like", "iterations": 0}, {"edges": "sharp"}])
def test_refuses_unknown_choices(phantom, choice):
    with pytest.raises(UsageError):
        filter_response(phantom.geometry, **choice)
