"""What ``wedge reconstruct`` leaves to the data, what it is told, and what it says of both."""

import json
import shutil

import numpy as np
import pytest

from wedge import store

QUICK = ["--passes", "4", "--batch-rows", "8", "--projector-opt", "cache=false"]
PHANTOM = ["--shape", "12", "16", "24", "--num-tilts", "15", "--tilt-range", "-60", "60", "--seed", "3"]


@pytest.fixture(scope="module")
def tilts(tmp_path_factory):
    from wedge.cli import run

    folder = tmp_path_factory.mktemp("phantom")
    assert run(["simulate-spheres", "-o", str(folder), *PHANTOM]) == 0
    return folder / "tilts.zarr"


def centred(tilts, path, seed: int):
    """Write the series without its mean and with noise: the views of density of both signs."""
    series = store.open_tilts(tilts)
    views = np.asarray(series.array[:]).transpose(1, 0, 2)
    views = views - views.mean(axis=2, keepdims=True)
    views = views + np.random.default_rng(seed).normal(0, views.std(), views.shape)
    with store.create_tilts(path, series.geometry) as writer:
        writer.write_rows(0, views.astype(np.float32))
        writer.commit({})
    return path


def array(path) -> np.ndarray:
    return np.asarray(store.open_volume(path).array[:])


def record(path) -> dict:
    return store.open_volume(path).provenance


def test_what_the_data_chose_is_recorded_and_repeated_to_the_bit(wedge, tilts, tmp_path):
    first, second = tmp_path / "a.zarr", tmp_path / "b.zarr"
    done = wedge("reconstruct", tilts, "-o", first, *QUICK, "--seed", 2, "--json")
    assert done.code == 0, done.err
    chosen, fit = json.loads(done.out)["fit"]["chosen"], record(first)["config"]["fit"]
    assert record(first)["fit"]["chosen"] == chosen
    assert {"blur_voxels", "regularizer", "weighting"} <= chosen.keys()
    assert fit["tune"] == []
    assert fit["blur_voxels"] == chosen["blur_voxels"]
    assert fit["data_term"]["weighting"] == chosen["weighting"]
    assert fit["regularizers"][0]["weight"] == chosen["regularizer"]
    assert "chosen on held-out views: " in done.err
    again = wedge("reconstruct", tilts, "-o", second, "--config", first)
    assert again.code == 0, again.err
    assert "chosen on held-out views" not in again.err
    assert np.array_equal(array(first), array(second))


def test_adaptive_field_is_recorded_and_repeated_to_the_bit(wedge, tilts, tmp_path):
    views = centred(tilts, tmp_path / "tilts.zarr", 0)
    first, second = tmp_path / "a.zarr", tmp_path / "b.zarr"
    done = wedge("reconstruct", views, "-o", first, *QUICK, "--perturbation", 0.1, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)["fit"]
    assert told["method"] == "adaptive"
    assert record(first)["config"]["fit"]["adaptive"]["strength"] == told["chosen"]["strength"]
    assert wedge("reconstruct", views, "-o", second, "--config", first).code == 0
    assert np.array_equal(array(first), array(second))


@pytest.mark.parametrize(
    ("option", "where", "value"),
    [
        (["--blur", "2.2"], ["blur_voxels"], 2.2),
        (["--regularizer", "tv:weight=0.5"], ["regularizers", 0, "weight"], 0.5),
        (["--weighting", "ramp"], ["data_term", "weighting"], "ramp"),
        (["--tune", "regularizer", "--blur", "0.3"], ["blur_voxels"], 0.3),
    ],
)
def test_what_is_given_is_never_tuned_away(wedge, tilts, tmp_path, option, where, value):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, *option, "--json")
    assert done.code == 0, done.err
    found = record(tmp_path / "out.zarr")["config"]["fit"]
    for key in where:
        found = found[key]
    assert found == value
    trials = json.loads(done.out)["fit"]["chosen"]["trials"]
    name = where[0].removesuffix("s") if where[0] == "regularizers" else where[-1]
    assert len(trials) > 1
    assert {trial[name] for trial in trials} == {value}


def test_given_strength_is_kept(wedge, tilts, tmp_path):
    views = centred(tilts, tmp_path / "tilts.zarr", 0)
    done = wedge("reconstruct", views, "-o", tmp_path / "out.zarr", *QUICK, "--strength", "9", "--json")
    assert done.code == 0, done.err
    assert "trials" not in json.loads(done.out)["fit"]["chosen"]
    assert record(tmp_path / "out.zarr")["config"]["fit"]["adaptive"]["strength"] == 9


def test_nothing_is_tried_where_nothing_is_to_be_tuned(wedge, tilts, tmp_path):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, "--tune", "none", "--json")
    assert done.code == 0, done.err
    assert "trials" not in json.loads(done.out)["fit"]["chosen"]
    fit = record(tmp_path / "out.zarr")["config"]["fit"]
    assert fit["tune"] == []
    assert fit["blur_voxels"] == 0


def test_a_file_decides_as_options_do(wedge, tilts, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("blur_voxels = 1.7\npasses = 3\n")
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK[2:], "--config", file)
    assert done.code == 0, done.err
    assert record(tmp_path / "out.zarr")["config"]["fit"]["blur_voxels"] == 1.7


def test_who_names_a_network_gets_it_and_who_names_none_gets_what_the_density_asks_for(wedge, tilts, tmp_path):
    views = centred(tilts, tmp_path / "tilts.zarr", 0)
    for options, method in (([], "adaptive"), (["--network", "voxel"], "network"), (["--method", "network"], "network")):
        done = wedge("reconstruct", views, "-o", tmp_path / "o.zarr", *QUICK, *options, "--json", "--overwrite")
        assert done.code == 0, done.err
        assert json.loads(done.out)["fit"]["method"] == method
    done = wedge("reconstruct", tilts, "-o", tmp_path / "o.zarr", *QUICK, "--method", "adaptive", "--json", "--overwrite")
    assert json.loads(done.out)["fit"]["method"] == "adaptive"


@pytest.mark.parametrize("method", ["network", "adaptive"])
def test_margin_does_not_show_in_the_output(wedge, tilts, tmp_path, method):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, "--method", method, "--margin", "8", "--tune", "none")
    assert done.code == 0, done.err
    assert "8 voxels wider" in done.err
    assert record(tmp_path / "out.zarr")["config"]["fit"]["margin"] == 8
    assert array(tmp_path / "out.zarr").shape == (12, 16, 24)
    assert np.isfinite(array(tmp_path / "out.zarr")).all()


def test_both_halves_are_in_the_record(wedge, tilts, tmp_path):
    halves = [centred(tilts, tmp_path / f"half{seed}.zarr", seed) for seed in (1, 2)]
    out = tmp_path / "out.zarr"
    done = wedge("reconstruct", halves[0], "--half", halves[1], "-o", out, *QUICK)
    assert done.code == 0, done.err
    assert [entry["path"] for entry in record(out)["inputs"]] == [str(half) for half in halves]
    alone = tmp_path / "alone.zarr"
    assert wedge("reconstruct", halves[0], "-o", alone, *QUICK).code == 0
    assert not np.array_equal(array(out), array(alone))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--margin", "x"], "--margin 'x': expected auto or a number of voxels"),
        (["--margin", "-8"], "--margin '-8'"),
        (["--margin", "1.5"], "--margin '1.5'"),
        (["--tune", "nonsense"], "nonsense"),
        (["--tune", "blur_voxels,contrast"], "contrast"),
        (["--method", "foo"], "'network'"),
        (["--blur", "-1"], "blur_voxels"),
        (["--blur", "99"], "blur_voxels"),
        (["--blur", "wide"], "'--blur'"),
        (["--strength", "0"], "strength"),
        (["--strength", "much"], "'--strength'"),
        (["--perturbation", "2"], "perturbation"),
        (["--perturbation", "-0.1"], "perturbation"),
    ],
)
def test_bad_values_are_usage_errors_of_one_line(wedge, tilts, tmp_path, options, words):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, *options)
    assert done.code == 2, done.err
    assert words in done.error
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


def test_half_that_is_not_one_is_refused(wedge, tilts, tmp_path):
    other = tmp_path / "other"
    assert wedge("simulate-spheres", "-o", other, *PHANTOM[:2], "20", *PHANTOM[3:]).code == 0
    fewer = tmp_path / "fewer"
    assert wedge("simulate-spheres", "-o", fewer, *PHANTOM[:5], "9", *PHANTOM[6:]).code == 0
    turned = tmp_path / "turned"
    assert wedge("simulate-spheres", "-o", turned, *PHANTOM[:-3], "50", *PHANTOM[-2:]).code == 0
    cases = [
        (tmp_path / "none.zarr", "none.zarr"),
        (other / "tilts.zarr", "halves differ in shape"),
        (fewer / "tilts.zarr", "halves differ in shape"),
        (turned / "tilts.zarr", "halves differ in tilt angles by up to 10.00 degrees"),
        (tilts.with_name("volume.zarr"), "expected a tilt series"),
    ]
    for half, words in cases:
        done = wedge("reconstruct", tilts, "--half", half, "-o", tmp_path / "out.zarr", *QUICK)
        assert done.code == 3, done.err
        assert words in done.error
        assert not (tmp_path / "out.zarr").exists()
    # Nor is a half overwritten by the result.
    half = shutil.copytree(tilts, tmp_path / "half.zarr")
    done = wedge("reconstruct", tilts, "--half", half, "-o", half, *QUICK, "--overwrite")
    assert done.code == 5
    assert "output is also an input" in done.error
    assert store.open_tilts(half).array.shape == (15, 16, 24)


def test_rows_of_a_step_are_auto_or_a_number(wedge, tilts, tmp_path):
    done = wedge("reconstruct", tilts, "-o", tmp_path / "out.zarr", *QUICK, "--batch-rows", "many")
    assert done.code == 2
    assert "--batch-rows 'many': expected auto or a number of rows" in done.err
    assert not (tmp_path / "out.zarr").exists()


def test_noisy_views_are_fitted_by_all_rows_at_once_and_clean_ones_are_not(wedge, tilts, tmp_path):
    phantom = ["--shape", "16", "24", "32", "--num-tilts", "21", "--noise", "poisson", "--eta", "1"]
    assert wedge("simulate-spheres", "-o", tmp_path / "noisy", *phantom).code == 0
    out = tmp_path / "out.zarr"
    for source, all_rows in ((tmp_path / "noisy" / "tilts.zarr", True), (tilts, False)):
        done = wedge(
            "reconstruct",
            source,
            "-o",
            out,
            "--method",
            "network",
            "--passes",
            2,
            "--projector-opt",
            "cache=false",
            "--overwrite",
            "--json",
        )
        assert done.code == 0, done.err
        assert ("batch_rows" in json.loads(done.out)["fit"]["chosen"]) == all_rows
        fit = record(out)["config"]["fit"]
        assert (fit["batch_rows"] == "auto") != all_rows
        assert (fit["learning_rate"] > 0.02) == all_rows


def test_noisy_views_are_fitted_by_a_stack_unless_one_fit_is_described(wedge, tmp_path):
    phantom = ["--shape", "12", "20", "24", "--num-tilts", "15", "--noise", "poisson", "--eta", "1"]
    assert wedge("simulate-spheres", "-o", tmp_path, *phantom).code == 0
    quick = ["--passes", 2, "--projector-opt", "cache=false", "--overwrite", "--json"]
    for options, method in ((["--blur", "1"], "network"), (["--tune", "none"], "network"), ([], "stack")):
        first = wedge("reconstruct", tmp_path / "tilts.zarr", "-o", tmp_path / "first.zarr", *quick, *options)
        assert first.code == 0, first.err
        assert json.loads(first.out)["fit"]["method"] == method
    again = wedge("reconstruct", tmp_path / "tilts.zarr", "-o", tmp_path / "again.zarr", "--config", tmp_path / "first.zarr", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["fit"]["chosen"] == json.loads(first.out)["fit"]["chosen"]
    values = [np.asarray(store.open_volume(tmp_path / f"{name}.zarr").array[:]) for name in ("first", "again")]
    assert np.array_equal(*values)
