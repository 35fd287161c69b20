import numpy as np
import pytest
import zarr

from wedge.pyramid import LONGEST_SIDE, halve, level_scale, level_shapes
from wedge.store import create_volume, open_volume


@pytest.mark.parametrize("shape", [(256, 1024, 1000), (3, 1, 2000), (32, 128, 256)])
def test_coarsest_level_is_small_and_not_too_small(shape):
    shapes = level_shapes(shape)
    assert shapes[0] == shape
    assert LONGEST_SIDE / 2 < max(shapes[-1]) <= LONGEST_SIDE or len(shapes) == 1
    for level, coarse in enumerate(shapes):
        assert coarse == tuple(int(count // factor) for count, factor in zip(shape, level_scale(shape, level), strict=True))


def test_halving_takes_means_and_leaves_out_an_odd_plane():
    block = np.random.default_rng(0).normal(size=(4, 7, 2)).astype(np.float32)
    expected = block[:, :6].reshape(2, 2, 3, 2, 1, 2).mean(axis=(1, 3, 5))
    assert np.allclose(halve(block), expected, atol=1e-6)
    assert halve(np.ones((1, 1, 4), np.float32)).shape == (1, 1, 2)


@pytest.mark.parametrize("shape", [(3, 40, 600), (1, 531, 9), (9, 1, 1030)])
def test_stored_levels_are_means_where_the_metadata_says(tmp_path, shape):
    models = pytest.importorskip("ome_zarr_models.v05")
    # A linear density has its own value at the centre of every block, so it shows each level's place.
    z, y, x = np.meshgrid(*(np.arange(count, dtype=np.float32) for count in shape), indexing="ij")
    data = x + 2 * y + 4 * z
    with create_volume(tmp_path / "v.zarr", shape, voxel_size_angstrom=2.5) as writer:
        writer.write_rows(0, data.transpose(1, 0, 2))
        writer.commit({})
    assert np.array_equal(open_volume(tmp_path / "v.zarr").array[:], data)
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="r")
    datasets = models.Image.from_zarr(group).ome_attributes.multiscales[0].datasets
    assert len(datasets) == len(level_shapes(shape)) > 1
    for dataset in datasets[1:]:
        scale, translation = (
            np.array(t) for t in (dataset.coordinateTransformations[0].scale, dataset.coordinateTransformations[1].translation)
        )
        level = group[dataset.path]
        centres = [np.arange(count) * step / 2.5 + start / 2.5 for count, step, start in zip(level.shape, scale, translation, strict=True)]
        z, y, x = np.meshgrid(*centres, indexing="ij")
        assert np.allclose(level[:], x + 2 * y + 4 * z, rtol=1e-5)
