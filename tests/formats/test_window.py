"""A part of a tilt series, coarser or not, shows the same specimen at the same place."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from wedge import formats, store
from wedge.data import TiltSeries
from wedge.errors import UsageError
from wedge.formats.views import select_views
from wedge.formats.window import Window, trimmed, window
from wedge.geometry import TiltGeometry

ANGLES = (-50.0, -20.0, 5.0, 40.0)
KEYS = [np.s_[:], np.s_[2], np.s_[1:3, 2], np.s_[:, 1:4, ::2], np.s_[..., 1], np.s_[::-1, ::2, 1:], np.s_[0, 1, 2], np.s_[:, 3:3]]


def series(rows: int = 13, columns: int = 22, depth: int = 6) -> TiltSeries:
    values = np.random.default_rng(3).normal(size=(len(ANGLES), rows, columns)).astype(np.float32)
    geometry = TiltGeometry(ANGLES, (rows, columns), (depth, rows, columns), 4.0, axis_offset_pixels=1.25)
    return TiltSeries(values, geometry.with_volume((depth, rows, columns), 1.0, (0.5, -0.75)))


@pytest.mark.parametrize(("key", "factor"), list(itertools.product(KEYS, (1, 2, 3))))
def test_a_window_reads_what_the_cropped_and_averaged_array_holds(key: object, factor: int) -> None:
    whole = np.asarray(series().array)
    part = whole[:, 2:12, 4:21]
    rows, columns = 10 // factor, 17 // factor
    kept = part[:, : rows * factor, : columns * factor].reshape(4, rows, factor, columns, factor)
    expected = kept.mean(axis=(2, 4), dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(Window(whole, (2, 12), (4, 21), factor)[key], expected[key])


def detector_index(geometry: TiltGeometry, z: int, x: int) -> np.ndarray:
    """Return where each view of the series sees the centre of a voxel, as an index of its columns."""
    centre_z, centre_x = geometry.volume_centre_pixels
    depth, _, width = geometry.volume_shape
    place_z = (z - (depth - 1) / 2) * geometry.voxel_size_in_pixels + centre_z
    place_x = (x - (width - 1) / 2) * geometry.voxel_size_in_pixels + centre_x
    angles = geometry.tilt_angles_rad
    return place_x * np.cos(angles) + place_z * np.sin(angles) + geometry.axis_offset_pixels + (geometry.detector_shape[1] - 1) / 2


def test_columns_of_a_cropped_volume_are_those_of_the_file_at_zero_degrees() -> None:
    whole = series()
    whole = TiltSeries(whole.array, whole.geometry.with_views([2]).with_volume((6, 13, 22)))
    flat = TiltSeries(whole.array, TiltGeometry((0.0,), (13, 22), (6, 13, 22), axis_offset_pixels=1.25))
    part = window(flat, crop_x=(5, 14))
    assert part.geometry.volume_shape == (6, 13, 9)
    for x in range(9):
        np.testing.assert_allclose(detector_index(part.geometry, 3, x), 5 + x)


@pytest.mark.parametrize("span", [(0, 9), (7, 15), (16, 22)])
def test_a_trimmed_series_keeps_every_ray_through_the_volume_and_its_place(span: tuple[int, int]) -> None:
    part = window(series(columns=60), crop_x=(2 * span[0], 2 * span[1]))
    narrow = trimmed(part)
    assert narrow.array.shape[2] == narrow.geometry.detector_shape[1] < 60
    shift = detector_index(part.geometry, 0, 0) - detector_index(narrow.geometry, 0, 0)
    np.testing.assert_allclose(shift, shift[0])
    first = round(float(shift[0]))
    np.testing.assert_array_equal(narrow.array[:], np.asarray(part.array)[:, :, first : first + narrow.array.shape[2]])
    depth, _, width = part.geometry.volume_shape
    for z, x in itertools.product((0, depth - 1), (0, width - 1)):
        seen = detector_index(narrow.geometry, z, x)
        on_detector = (detector_index(part.geometry, z, x) >= 0) & (detector_index(part.geometry, z, x) <= 59)
        assert (seen[on_detector] > -0.5).all()
        assert (seen[on_detector] < narrow.array.shape[2] - 0.5).all()


def test_trimming_a_volume_as_wide_as_the_detector_changes_nothing() -> None:
    whole = series()
    assert trimmed(whole) is whole


def test_rows_and_binning_compose_with_the_geometry_of_binning() -> None:
    part = window(series(), crop_y=(3, 12), factor=2)
    assert part.array.shape == (4, 4, 11)
    assert part.geometry.detector_shape == (4, 11)
    assert part.geometry.volume_shape == (3, 4, 11)
    assert part.geometry.pixel_size_angstrom == 8.0
    fine, coarse = series().geometry, part.geometry
    pair = (detector_index(fine, 2, 4) + detector_index(fine, 3, 5)) / 2
    # The middle of two voxels is the centre of the coarse one, and the middle of columns 2k and 2k + 1 that of column k.
    np.testing.assert_allclose(2 * detector_index(coarse, 1, 2) + 0.5, pair)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"crop_x": (4, 4)}, "--crop-x 4 4"),
        ({"crop_y": (-1, 4)}, "--crop-y -1 4"),
        ({"crop_y": (0, 14)}, "within 0 to 13"),
        ({"factor": 7}, "--bin 7"),
    ],
)
def test_a_window_without_pixels_is_refused(options: dict, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        window(series(), **options)


def test_even_and_odd_views_alternate_by_angle_and_make_up_the_series() -> None:
    geometry = TiltGeometry((0.0, 30.0, -30.0, 15.0, -15.0), (4, 4), (4, 4, 4))
    whole = TiltSeries(np.arange(80, dtype=np.float32).reshape(5, 4, 4), geometry)
    even, odd = (select_views(whole, views=name).geometry.tilt_angles_deg for name in ("even", "odd"))
    assert even == (0.0, 30.0, -30.0)
    assert odd == (15.0, -15.0)
    assert select_views(whole, views="4,0-1", exclude_views=[1]).geometry.tilt_angles_deg == (0.0, -15.0)
    with pytest.raises(UsageError, match="--views names view 5"):
        select_views(whole, views="3-5")


def test_thickness_counts_voxels_of_the_binned_series(tmp_path: Path) -> None:
    whole = series()
    with store.create_tilts(tmp_path / "t.zarr", whole.geometry) as writer:
        writer.write_rows(0, np.asarray(whole.array).transpose(1, 0, 2))
        writer.commit({})
    assert formats.open_tilts(tmp_path / "t.zarr", bin=2).geometry.volume_shape == (3, 6, 11)
    assert formats.open_tilts(tmp_path / "t.zarr", bin=2, thickness=8).geometry.volume_shape == (8, 6, 11)
    centres = [formats.open_tilts(tmp_path / "t.zarr", bin=2, thickness=depth).geometry.volume_centre_pixels for depth in (3, 8)]
    assert centres[0] == centres[1]
