"""Laws of the geometry: what no tilt series can be is refused, and binning leaves the specimen where it is."""

import json
from dataclasses import replace

import numpy as np
import pytest

from wedge.errors import InputError
from wedge.geometry import TiltGeometry

GEOMETRY = TiltGeometry((-40.0, 0.0, 20.0, 60.0), (6, 16), (8, 6, 16), 2.5, 0.5, (1.5, -3.0), 0.75, acquisition_order=(3, 0, 1, 2))


def built(**settings) -> TiltGeometry:
    return TiltGeometry(**{"tilt_angles_deg": (-30.0, 0.0, 30.0), "detector_shape": (4, 8), "volume_shape": (4, 4, 8)} | settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tilt_angles_deg": ()}, "no tilt angles"),
        ({"tilt_angles_deg": (0.0, float("nan"))}, "tilt angle 1 is nan"),
        ({"tilt_angles_deg": (0.0, 1.0, 181.0)}, "tilt angle 2 is 181"),
        ({"tilt_angles_deg": (5.0, 5.0, 5.0)}, "all 3 tilt angles equal 5"),
        ({"detector_shape": (0, 8)}, "empty shape"),
        ({"volume_shape": (4, -1, 8)}, "empty shape"),
        ({"voxel_size_in_pixels": 0.0}, "voxel size in pixels is 0"),
        ({"voxel_size_in_pixels": float("nan")}, "voxel size in pixels is nan"),
        ({"pixel_size_angstrom": -1.0}, "pixel size is -1"),
        ({"pixel_size_angstrom": float("inf")}, "pixel size is inf"),
        ({"acquisition_order": (0, 1)}, "permutation"),
        ({"acquisition_order": (1, 2, 3)}, "permutation"),
    ],
)
def test_impossible_geometries_are_refused_in_a_line(settings, words):
    with pytest.raises(InputError, match=words) as refused:
        built(**settings)
    assert "\n" not in str(refused.value)


def test_single_views_any_order_and_repeats_are_possible():
    assert built(tilt_angles_deg=(7.0,)).num_tilts == 1
    assert built(tilt_angles_deg=(30.0, -30.0, 30.0, 0.0)).tilt_angles_deg == (30.0, -30.0, 30.0, 0.0)
    assert built(tilt_angles_deg=(-180.0, 180.0)).num_tilts == 2


def test_numbers_are_plain_whatever_they_came_as():
    geometry = built(tilt_angles_deg=np.linspace(-30, 30, 3, dtype=np.float32), detector_shape=np.array([4, 8]))
    assert [type(angle) for angle in geometry.tilt_angles_deg] == [float] * 3
    assert [type(n) for n in geometry.detector_shape] == [int, int]
    assert json.dumps(geometry.to_json())


def test_radians_and_voxel_size_follow():
    assert np.allclose(GEOMETRY.tilt_angles_rad, np.array([-40, 0, 20, 60]) * np.pi / 180)
    assert GEOMETRY.voxel_size_angstrom == 1.25
    assert replace(GEOMETRY, pixel_size_angstrom=None).voxel_size_angstrom is None


def test_views_are_taken_in_the_order_asked_for():
    part = GEOMETRY.with_views([3, 0, 1])
    assert part.tilt_angles_deg == (60.0, -40.0, 0.0)
    # Places 2, 3 and 0 of the acquisition, ranked anew.
    assert part.acquisition_order == (1, 2, 0)
    assert replace(part, tilt_angles_deg=GEOMETRY.tilt_angles_deg, acquisition_order=GEOMETRY.acquisition_order) == GEOMETRY
    assert replace(GEOMETRY, acquisition_order=None).with_views(np.array([1, 2])).acquisition_order is None
    with pytest.raises(InputError, match="no tilt angles"):
        GEOMETRY.with_views([])


def test_another_box_keeps_the_views():
    other = GEOMETRY.with_volume((3, 6, 9), 2.0, (0.5, 0.25))
    assert (other.volume_shape, other.voxel_size_in_pixels, other.volume_centre_pixels) == ((3, 6, 9), 2.0, (0.5, 0.25))
    assert other.with_volume(GEOMETRY.volume_shape, 0.5, (1.5, -3.0)) == GEOMETRY


def shadows(geometry: TiltGeometry, points: np.ndarray) -> np.ndarray:
    """Project voxel indices ``(n, 2)`` (z, x) to ``(tilt, n)`` detector indices, by the conventions alone."""
    shape = np.array([geometry.volume_shape[0], geometry.volume_shape[2]])
    place = (points - (shape - 1) / 2) * geometry.voxel_size_in_pixels + np.array(geometry.volume_centre_pixels)
    angles = geometry.tilt_angles_rad[:, None]
    s = place[:, 1] * np.cos(angles) + place[:, 0] * np.sin(angles) + geometry.axis_offset_pixels
    return s + (geometry.detector_shape[1] - 1) / 2


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
@pytest.mark.parametrize(("depth", "width"), [(12, 24), (13, 24), (12, 25), (17, 29)])
def test_binned_voxels_cast_their_shadow_where_their_blocks_did(factor, depth, width):
    fine = replace(GEOMETRY, detector_shape=(6, width), volume_shape=(depth, 6, width + 2))
    coarse = fine.binned(factor)
    blocks = np.array([(z, x) for z in range(coarse.volume_shape[0]) for x in range(coarse.volume_shape[2])])
    centres = blocks * factor + (factor - 1) / 2
    # The index of a coarse pixel is that of its block's centre.
    assert np.allclose(shadows(coarse, blocks), (shadows(fine, centres) - (factor - 1) / 2) / factor)


@pytest.mark.parametrize("factor", [2, 3])
def test_projector_agrees_that_binning_leaves_things_in_place(factor):
    import torch

    from wedge.registry import Registry

    resolved = Registry.load({"WEDGE_PLUGINS": ""}).resolve("projector", "torch", {"cache": False})
    # Remainders of 1 and 2 everywhere; a smooth blob off the centre.
    fine = TiltGeometry((-50.0, -10.0, 35.0), (factor, 62), (26, factor, 56), volume_centre_pixels=(2.0, -1.5), axis_offset_pixels=3.0)
    coarse = fine.binned(factor)
    z, x = np.meshgrid(np.arange(26), np.arange(56), indexing="ij")
    blob = np.exp(-((z - 9.0) ** 2 + (x - 33.0) ** 2) / (2 * 5.0**2)).astype(np.float32)

    def binned(array: np.ndarray) -> np.ndarray:
        rows, columns = (n // factor for n in array.shape)
        return array[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean(axis=(1, 3))

    def projected(geometry: TiltGeometry, slices: np.ndarray) -> np.ndarray:
        projector = resolved.build(geometry, torch.device("cpu"))
        return projector.project(torch.from_numpy(slices[None].astype(np.float32)))[0].numpy()

    def centre(row: np.ndarray) -> float:
        return float((row * np.arange(len(row))).sum() / row.sum())

    small, large = projected(coarse, binned(blob)), projected(fine, blob)
    for one, other in zip(small, large, strict=True):
        assert centre(one) == pytest.approx((centre(other) - (factor - 1) / 2) / factor, abs=0.03)


def test_binning_multiplies_the_pixel_and_keeps_the_ratio():
    coarse = GEOMETRY.binned(2)
    assert coarse.pixel_size_angstrom == 5.0
    assert coarse.voxel_size_angstrom == 2.5
    assert (coarse.detector_shape, coarse.volume_shape) == ((3, 8), (4, 3, 8))
    assert replace(GEOMETRY, pixel_size_angstrom=None).binned(2).pixel_size_angstrom is None
    assert GEOMETRY.binned(1) == GEOMETRY


@pytest.mark.parametrize("factor", [0, -1, 7])
def test_impossible_binning_is_refused(factor):
    with pytest.raises(InputError, match="binning"):
        GEOMETRY.binned(factor)


def test_json_gives_the_same_geometry_back():
    assert TiltGeometry.from_json(json.loads(json.dumps(GEOMETRY.to_json()))) == GEOMETRY


@pytest.mark.parametrize("damage", [{"mood": "good"}, {"tilt_angles_deg": None}, {"detector_shape": [4]}, {"volume_shape": "4,4"}])
def test_damaged_json_is_refused(damage):
    with pytest.raises(InputError):
        TiltGeometry.from_json(json.loads(json.dumps(GEOMETRY.to_json())) | damage)


def test_missing_fields_are_refused():
    with pytest.raises(InputError, match="damaged tilt geometry"):
        TiltGeometry.from_json({"tilt_angles_deg": [0.0]})
