import json

import numpy as np
import pytest

from wedge import store

SMALL = ["--shape", "16", "24", "20", "--num-tilts", "7", "--tilt-range", "-50", "40"]


@pytest.fixture
def simulate(wedge):
    return lambda directory, *options: wedge("simulate-spheres", "-o", directory, *SMALL, *options)


def test_writes_the_volume_and_its_tilt_series(simulate, tmp_path):
    outcome = simulate(tmp_path / "made" / "here", "--seed", "3", "--voxel-size", "7.5", "--json")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    tilts, volume = store.open_tilts(told["tilts"]), store.open_volume(told["volume"])
    assert volume.array.shape == (16, 24, 20)
    assert tilts.array.shape == (7, 24, 20)
    assert tilts.simulated
    assert tilts.geometry.volume_shape == (16, 24, 20)
    assert tilts.geometry.tilt_angles_deg == tuple(np.linspace(-50, 40, 7))
    assert tilts.geometry.pixel_size_angstrom == volume.voxel_size_angstrom == 7.5
    assert volume.array[:].max() == pytest.approx(1.0)
    np.testing.assert_allclose(tilts.array[:].sum(axis=(1, 2)).max(), volume.array[:].sum(), rtol=2e-3)


def test_records_how_it_was_made(simulate, tmp_path):
    assert simulate(tmp_path, "--seed", "3", "--noise", "poisson", "--eta", "0.5").code == 0
    volume, tilts = store.open_volume(tmp_path / "volume.zarr"), store.open_tilts(tmp_path / "tilts.zarr")
    config = tilts.provenance["config"]
    assert (config["noise"], config["eta"], config["projections"], tilts.provenance["seed"]) == ("poisson", 0.5, "analytic chords", 3)
    assert config["mean_projection"] * 24 * 20 == pytest.approx(volume.array[:].sum(), rel=2e-3)
    positions = np.array(volume.provenance["config"]["spheres_zyx_outer_inner"])
    assert positions.shape == (config["num_spheres"], 5)
    # Half-way through a shell there is density.
    z, y, x, outer, inner = positions[0]
    at = np.round([z + 7.5, y + 11.5, x + (outer + inner) / 2 + 9.5]).astype(int)
    assert volume.array[tuple(at)] > 0.5


def test_the_seed_decides(simulate, tmp_path):
    noise = ("--noise", "poisson", "--eta", "0.3")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert simulate(tmp_path / name, "--seed", seed, *noise).code == 0
    a, b, c = (store.open_tilts(tmp_path / name / "tilts.zarr").array[:] for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_noise_level_refers_to_the_mean_projection(simulate, tmp_path):
    assert simulate(tmp_path / "clean").code == 0
    assert simulate(tmp_path / "noisy", "--noise", "poisson", "--eta", "0.4").code == 0
    clean, noisy = (store.open_tilts(tmp_path / name / "tilts.zarr").array[:] for name in ("clean", "noisy"))
    # The variance of a pixel is eta**2 times the mean projection times its value.
    assert ((noisy - clean) ** 2).sum() == pytest.approx(0.4**2 * clean.mean() * clean.sum(), rel=0.1)


def test_result_does_not_depend_on_slab_height(simulate, tmp_path, monkeypatch):
    noise = ("--noise", "poisson", "--eta", "0.3")
    assert simulate(tmp_path / "tall", *noise).code == 0
    monkeypatch.setattr("wedge.simulate.MAX_CHUNK_ROWS", 5)
    assert simulate(tmp_path / "low", *noise).code == 0
    for name in ("tilts.zarr", "volume.zarr"):
        opened = [(store.open_tilts if name == "tilts.zarr" else store.open_volume)(tmp_path / d / name) for d in ("tall", "low")]
        np.testing.assert_array_equal(opened[0].array[:], opened[1].array[:])


def test_a_projector_plugin_makes_nearly_the_same_views(simulate, tmp_path):
    assert simulate(tmp_path / "chords").code == 0
    assert simulate(tmp_path / "plugin", "--projector", "torch", "--projector-opt", "model=joseph").code == 0
    chords, plugin = (store.open_tilts(tmp_path / name / "tilts.zarr") for name in ("chords", "plugin"))
    assert 0 < np.linalg.norm(plugin.array[:] - chords.array[:]) < 0.1 * np.linalg.norm(chords.array[:])
    assert plugin.provenance["config"]["projections"] == "torch"
    assert plugin.provenance["config"]["projector_options"]["model"] == "joseph"


def test_an_existing_output_is_refused_before_any_work(simulate, tmp_path, monkeypatch):
    assert simulate(tmp_path).code == 0
    before = store.open_tilts(tmp_path / "tilts.zarr").array[:]
    with monkeypatch.context() as patch:
        patch.setattr("wedge.simulate.rasterize", None)
        outcome = simulate(tmp_path, "--seed", "9")
    assert outcome.code == 5
    assert "--overwrite" in outcome.error
    assert simulate(tmp_path, "--seed", "9", "--overwrite").code == 0
    assert not np.array_equal(store.open_tilts(tmp_path / "tilts.zarr").array[:], before)


def test_a_failure_leaves_no_output(simulate, tmp_path, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr("wedge.simulate.chords", fail)
    assert simulate(tmp_path).code == 6
    assert not list(tmp_path.glob("*.zarr*"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--noise", "poisson"], "--eta"),
        (["--eta", "0.5"], "--noise poisson"),
        (["--noise", "poisson", "--eta", "2"], "eta is 2"),
        (["--noise", "gauss", "--eta", "0.2"], "gauss"),
        (["--shape", "4", "64", "64"], "8 voxels"),
        (["--num-tilts", "0"], "number of tilts"),
        (["--tilt-range", "40", "-40"], "tilt range"),
        (["--voxel-size", "0"], "voxel size"),
        (["--projector", "torhc"], "torch"),
        (["--projector-opt", "model=strip"], "--projector"),
        (["--projector", "torch", "--projector-opt", "modle=strip"], "model"),
    ],
)
def test_refuses_what_makes_no_sense_in_one_line(simulate, tmp_path, options, named):
    outcome = simulate(tmp_path / "none", *options)
    assert outcome.code == 2
    assert named in outcome.error
    assert not (tmp_path / "none" / "tilts.zarr").exists()


def test_refuses_a_file_in_the_place_of_the_folder(simulate, tmp_path):
    (tmp_path / "taken").write_text("")
    outcome = simulate(tmp_path / "taken")
    assert outcome.code == 3
    assert "cannot write" in outcome.error
