import json

import numpy as np
import pytest

from wedge import formats, store
from wedge.cli import run


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    directory = tmp_path_factory.mktemp("spheres")
    options = ["--shape", "24", "40", "64", "--num-tilts", "41", "--seed", "2", "--voxel-size", "7.5"]
    assert run(["simulate-spheres", "-o", str(directory), *options]) == 0
    return directory


@pytest.fixture
def fbp(wedge):
    return lambda tilts, output, *options: wedge("fbp", tilts, "-o", output, *options)


def test_reconstructs_the_spheres(fbp, simulated, tmp_path):
    outcome = fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr")
    assert outcome.code == 0
    assert outcome.out == f"{tmp_path / 'fbp.zarr'}\n"
    truth, found = store.open_volume(simulated / "volume.zarr"), store.open_volume(tmp_path / "fbp.zarr")
    assert found.array.shape == truth.array.shape
    assert found.voxel_size_angstrom == 7.5
    assert found.tilt_angles_deg == store.open_tilts(simulated / "tilts.zarr").geometry.tilt_angles_deg
    assert np.corrcoef(found.array[:].ravel(), truth.array[:].ravel())[0, 1] > 0.75


def test_json_and_record_say_how_it_was_made(fbp, simulated, tmp_path):
    options = ["--filter", "sirt-like", "--iterations", "7", "--projector-opt", "model=joseph", "--json"]
    outcome = fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr", *options)
    assert outcome.code == 0
    told = json.loads(outcome.out)
    config = store.open_volume(tmp_path / "fbp.zarr").provenance["config"]
    for record in (told, config):
        assert (record["filter"], record["iterations"], record["edges"]) == ("sirt-like", 7, "zero")
        assert record["projector_options"]["model"] == "joseph"
    assert told["seconds"] > 0


@pytest.mark.parametrize("filter", ["hamming", "hann", "overlap"])
def test_every_filter_and_format_works(fbp, simulated, tmp_path, filter):
    assert fbp(simulated / "tilts.zarr", tmp_path / "fbp.mrc", "--filter", filter).code == 0
    volume = formats.open_volume(tmp_path / "fbp.mrc")
    assert volume.voxel_size_angstrom == pytest.approx(7.5)
    assert volume.array[:].std() > 0.1


def test_views_and_thickness_can_be_chosen(fbp, simulated, tmp_path):
    options = ["--tilt-range", "-30", "60", "--exclude-views", "20,25-27", "--thickness", "16"]
    assert fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr", *options).code == 0
    found = store.open_volume(tmp_path / "fbp.zarr")
    assert found.array.shape == (16, 40, 64)
    assert len(found.tilt_angles_deg) == 31 - 4
    assert min(found.tilt_angles_deg) == -30


def test_edges_of_data_that_was_not_simulated_are_tapered(fbp, simulated, tmp_path):
    tilts = store.open_tilts(simulated / "tilts.zarr")
    for name, background in (("plain", 0.0), ("counts", 50.0)):
        with store.create_tilts(tmp_path / f"{name}.zarr", tilts.geometry) as writer:
            writer.write_rows(0, tilts.array[:].transpose(1, 0, 2) + background)
            writer.commit({})
        assert fbp(tmp_path / f"{name}.zarr", tmp_path / f"{name}-fbp.zarr").code == 0
    plain, counts = (store.open_volume(tmp_path / f"{name}-fbp.zarr") for name in ("plain", "counts"))
    assert plain.provenance["config"]["edges"] == "taper"
    np.testing.assert_allclose(plain.array[:], counts.array[:], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--filter", "rampe"], 2, "hamming"),
        (["--edges", "sharp"], 2, "taper"),
        (["--projector", "torhc"], 2, "torch"),
        (["--projector-opt", "modle=strip"], 2, "model"),
        (["--max-memory", "lots"], 2, "8GB"),
        (["--max-memory", "1MiB"], 6, "too small for one slice"),
        (["--exclude-views", "99"], 2, "99"),
        (["--device", "tpu"], 2, "tpu"),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(fbp, simulated, tmp_path, options, code, named):
    outcome = fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr", *options)
    assert outcome.code == code
    assert named in outcome.error
    assert not list(tmp_path.glob("*.zarr*"))


def test_a_slice_beyond_all_memory_is_refused(fbp, simulated, tmp_path, monkeypatch):
    monkeypatch.setattr("wedge.fbp.available_memory_bytes", lambda: 1000)
    outcome = fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr")
    assert outcome.code == 6
    assert "too small for one slice" in outcome.error
    assert not list(tmp_path.glob("*.zarr*"))


def test_an_existing_output_is_refused(fbp, simulated, tmp_path):
    assert fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr").code == 0
    outcome = fbp(tmp_path / "missing.zarr", tmp_path / "fbp.zarr")
    assert outcome.code == 5
    assert "--overwrite" in outcome.error
    assert fbp(simulated / "tilts.zarr", tmp_path / "fbp.zarr", "--overwrite", "--filter", "hann").code == 0
    assert store.open_volume(tmp_path / "fbp.zarr").provenance["config"]["filter"] == "hann"


def test_refuses_a_missing_file_and_a_volume(fbp, simulated, tmp_path):
    for path, named in ((tmp_path / "missing.zarr", "missing.zarr"), (simulated / "volume.zarr", "is a volume")):
        outcome = fbp(path, tmp_path / "fbp.zarr")
        assert outcome.code == 3
        assert named in outcome.error
