"""On a real tilt series, from views within +-60 degrees alone, the fit comes nearer than FBP to what all views (+-76) show."""

import numpy as np
import pytest
import torch

from wedge import formats, store
from wedge.registry import Registry
from wedge.slabs import read_sinograms

ROWS = slice(26, 30)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(scope="module")
def needle(tmp_path_factory, example_data):
    """Import four rows of the carried series, and reconstruct them from +-60 and from all views."""
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("needle")
    whole = formats.open_tilts(example_data / "needle" / "needle_bin4.mrc")
    geometry = type(whole.geometry)(whole.geometry.tilt_angles_deg, (4, 64), (64, 4, 64), whole.geometry.pixel_size_angstrom)
    with store.create_tilts(folder / "tilts.zarr", geometry) as writer:
        writer.write_rows(0, read_sinograms(whole, ROWS.start, ROWS.stop))
        writer.commit({})
    tilts, limited = str(folder / "tilts.zarr"), ["--tilt-range", "-60", "60"]
    assert run(["fbp", tilts, "-o", str(folder / "all.zarr")]) == 0
    assert run(["fbp", tilts, "-o", str(folder / "fbp.zarr"), *limited]) == 0
    assert run(["reconstruct", tilts, "-o", str(folder / "fit.zarr"), *limited, "--passes", "8", "--max-memory", "4GB"]) == 0
    assert run(["export", str(folder / "fit.zarr"), "-o", str(folder / "fit.mrc")]) == 0
    return folder


def slices(path) -> np.ndarray:
    return np.asarray(store.open_volume(path).array[:], dtype=np.float64)


def test_fit_is_nearer_to_fbp_of_all_views_than_fbp_is(needle):
    reference = slices(needle / "all.zarr")
    assert correlation(slices(needle / "fit.zarr"), reference) > correlation(slices(needle / "fbp.zarr"), reference)


def test_fit_predicts_views_that_it_has_not_seen(needle):
    tilts = store.open_tilts(needle / "tilts.zarr")
    unseen = [i for i, angle in enumerate(tilts.geometry.tilt_angles_deg) if abs(angle) > 60]
    measured = read_sinograms(tilts, 0, 4)[:, unseen]
    projector = Registry.load().resolve("projector", "torch").build(tilts.geometry.with_views(unseen), torch.device("cpu"))

    def predicted(name: str) -> float:
        rows = torch.from_numpy(slices(needle / name).astype(np.float32)).movedim(1, 0)
        return correlation(projector.project(rows.contiguous()).numpy(), measured)

    assert predicted("fit.zarr") > 0.95
    assert predicted("fbp.zarr") < 0.9


def test_needle_is_round_where_fbp_draws_it_out(needle):
    """Its extent along the beam over that across it, at half of the highest density."""

    def elongation(name: str) -> float:
        middle = slices(needle / name)[:, 2]
        dense = middle > 0.5 * np.percentile(middle, 99)
        return dense.any(axis=1).sum() / dense.any(axis=0).sum()

    assert elongation("fit.zarr") == pytest.approx(1, abs=0.1)
    assert elongation("fbp.zarr") > 1.1


def test_exported_volume_has_the_series_voxel_size(needle):
    import mrcfile

    with mrcfile.open(needle / "fit.mrc") as mrc:
        assert float(mrc.voxel_size.x) == pytest.approx(134.4, rel=1e-5)
        assert mrc.data.shape == (64, 4, 64)
