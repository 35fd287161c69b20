"""Laws of previews: they show the volume where it is, at any size, and survive being sent."""

import math

import numpy as np
import pytest

from wedge.data import Volume
from wedge.errors import InputError
from wedge.preview import Preview, preview_of, preview_of_slices
from wedge.pyramid import halve
from wedge.store import create_volume, open_volume


def ramp(shape):
    z, y, x = np.meshgrid(*(np.arange(count, dtype=np.float32) for count in shape), indexing="ij")
    return x + 2 * y + 4 * z


@pytest.mark.parametrize("side", [256, 192, 100])
@pytest.mark.parametrize("shape", [(32, 300, 301), (1, 40, 600), (64, 128, 128), (9, 1030, 5)])
def test_a_preview_is_the_mean_over_blocks_of_its_spacing(tmp_path, shape, side):
    data = ramp(shape)
    with create_volume(tmp_path / "v.zarr", shape, voxel_size_angstrom=2.5) as writer:
        writer.write_rows(0, np.ascontiguousarray(data.transpose(1, 0, 2)))
        writer.commit({})
    stored, plain = (preview_of(volume, side) for volume in (open_volume(tmp_path / "v.zarr"), Volume(data, 2.5)))
    for preview in (stored, plain):
        assert side / 3 < max(preview.codes.shape) <= side or max(preview.codes.shape) == max(shape)
        density = preview.low + preview.codes / 255 * (preview.high - preview.low)
        # A linear density has its own value at the centre of every block.
        centres = [np.arange(n) * s + (s - 1) / 2 for n, s in zip(preview.codes.shape, preview.spacing_voxels, strict=True)]
        z, y, x = np.meshgrid(*centres, indexing="ij")
        expected = np.clip(x + 2 * y + 4 * z, preview.low, preview.high)
        assert np.abs(density - expected).max() <= (preview.high - preview.low) / 255
        assert all(math.floor(n / s) == m for n, s, m in zip(shape, preview.spacing_voxels, preview.codes.shape, strict=True))
        assert preview.voxel_size_angstrom == 2.5


def test_copies_that_are_too_coarse_are_not_shown():
    levels = [ramp((8, 8, 256))]
    while len(levels) < 6:
        levels.append(halve(levels[-1]))
    preview = preview_of(Volume(levels[0], coarser=tuple(levels[1:])), 100)
    assert preview.codes.shape == (2, 2, 64)
    assert preview.spacing_voxels == (4.0, 4.0, 4.0)


def test_a_message_gives_the_preview_back():
    preview = preview_of_slices(ramp((5, 6, 7)), (2.0, 2.0, 2.0), None)
    again = Preview.from_bytes(preview.to_bytes())
    assert np.array_equal(again.codes, preview.codes)
    assert (again.low, again.high, again.window, again.spacing_voxels, again.voxel_size_angstrom) == (
        preview.low, preview.high, preview.window, (2.0, 2.0, 2.0), None
    )  # fmt: skip


def test_slices_are_put_in_the_order_of_volumes():
    slices = ramp((5, 6, 7))
    codes = preview_of_slices(slices, (1.0, 1.0, 1.0), None).codes
    assert codes.shape == (6, 5, 7)

    assert codes[0, 4, 0] > codes[4, 0, 0]


@pytest.mark.parametrize("header", [b"3", b"null", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_a_message_with_another_header_is_refused(header):
    with pytest.raises(InputError, match="damaged preview"):
        Preview.from_bytes(b"WEDGEPV1" + len(header).to_bytes(4, "little") + header)


@pytest.mark.parametrize("cut", [0, 4, 11, 40, -1])
def test_a_damaged_message_is_refused(cut):
    with pytest.raises(InputError, match="damaged preview"):
        Preview.from_bytes(preview_of_slices(ramp((5, 6, 7)), (1.0, 1.0, 1.0), None).to_bytes()[:cut])


def test_a_hot_voxel_and_holes_leave_the_grey_values_of_all_others():
    data = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    data[0, 0, 0], data[1, 1, 1], data[2, 2, 2] = 1e9, np.nan, np.inf
    preview = preview_of(Volume(data))
    assert preview.high < 10
    assert preview.codes[0, 0, 0] == 255
    assert preview.codes[1, 1, 1] == 0


def test_a_constant_volume_has_a_preview():
    preview = preview_of(Volume(np.full((3, 4, 5), 7.0, np.float32)))
    assert preview.low == 7
    assert not preview.codes.any()
