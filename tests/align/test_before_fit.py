import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wedge import store
from wedge.align.before_fit import FitAlignment
from wedge.align.resample import moved_views
from wedge.align.transforms import ViewTransforms
from wedge.errors import InputError
from wedge.fit.hold_out import views_to_hold_out
from wedge.formats.views import places_in_stack, select_views, views_of


def test_a_fit_aligns_when_told_so_and_says_it(make_series, spoil, wedge, tmp_path):
    series = make_series(count=9, shape=(8, 24, 32))
    shifts = ViewTransforms(np.zeros(9), np.array([2.0, -1, 0, 2, -2, 1, 0, -2, 1]), np.zeros(9))
    with store.create_tilts(tmp_path / "tilts.zarr", series.geometry) as writer:
        writer.write_rows(0, np.stack([spoil(series, shifts).array[:, row] for row in range(24)]))
        writer.commit({})
    fit = ("reconstruct", tmp_path / "tilts.zarr", "--tune", "none", "--passes", "2", "--json")
    plain = wedge(*fit, "-o", tmp_path / "plain.zarr")
    assert plain.code == 0, plain.err
    assert "alignment" not in json.loads(plain.out)["fit"]
    aligned = wedge(*fit, "-o", tmp_path / "aligned.zarr", "--refine-alignment")
    assert aligned.code == 0, aligned.err
    assert "views aligned: held-out error" in aligned.err
    told = json.loads(aligned.out)["fit"]["alignment"]
    assert told["applied"]
    record = store.open_volume(tmp_path / "aligned.zarr").provenance
    assert record["fit"]["alignment"] == told
    assert record["config"]["fit"]["refine_alignment"] is True


def test_both_halves_move_alike(make_series, spoil, build_projector):
    series = make_series(count=9, shape=(8, 24, 32))
    random = np.random.default_rng(4)
    moves = ViewTransforms(random.uniform(-2, 2, 9), random.uniform(-2, 2, 9), np.zeros(9))
    first, second = (spoil(series, moves, snr) for snr in (20.0, 10.0))
    found = FitAlignment.find(first, second, build_projector, torch.device("cpu"), lambda message: None)
    assert found.summary["applied"]
    for given in (first, second):
        views = moved_views(given, found.transforms)
        np.testing.assert_array_equal(found.move(given).array, np.stack([views[:, view].numpy() for view in range(9)]))


def test_what_was_found_is_kept_and_moves_some_views_as_it_moved_all(make_series, tmp_path):
    series = make_series(count=9, shape=(8, 24, 32))
    random = np.random.default_rng(5)
    moves = ViewTransforms(random.uniform(-2, 2, 8), random.uniform(-2, 2, 8), random.uniform(-1, 1, 8))
    FitAlignment(tuple(range(1, 9)), moves, {"applied": True}).write(tmp_path)
    kept = FitAlignment.read(tmp_path)
    whole = kept.move(views_of(series, range(1, 9)))
    assert places_in_stack(whole.array) == tuple(range(1, 9))
    some = kept.move(views_of(series, [2, 5, 7]))
    assert places_in_stack(some.array) == (2, 5, 7)
    np.testing.assert_allclose(some.array[:], whole.array[[1, 4, 6]], atol=1e-5)
    with pytest.raises(InputError, match="view 0 of"):
        kept.move(series)
    (tmp_path / "alignment.json").write_text("{")
    with pytest.raises(InputError, match="missing or damaged"):
        FitAlignment.read(tmp_path)


def test_views_are_held_out_by_their_places_where_others_are_excluded_and_moved(make_series):
    series = make_series(count=12, shape=(8, 24, 32))
    moves = ViewTransforms(np.zeros(10), np.linspace(-2, 2, 10), np.zeros(10))
    used = select_views(series, exclude_views=[0, 1])
    moved = FitAlignment(places_in_stack(used.array), moves, {}).move(used)
    (held,) = views_to_hold_out(moved, 0.0, [5])
    assert moved.geometry.tilt_angles_deg[held] == series.geometry.tilt_angles_deg[5]


def test_halves_move_as_the_whole_did_and_go_on_with_the_same_alone(make_series, spoil, wedge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = make_series(count=12, shape=(8, 24, 32))
    shifts = ViewTransforms(np.zeros(12), np.array([2.0, -1, 0, 2, -2, 1, 0, -2, 1, 2, 0, -1]), np.zeros(12))
    with store.create_tilts(tmp_path / "tilts.zarr", series.geometry) as writer:
        writer.write_rows(0, np.stack([spoil(series, shifts).array[:, row] for row in range(24)]))
        writer.commit({})
    fit = ("reconstruct", "tilts.zarr", "-o", "v.zarr", "--halves", "even.zarr", "odd.zarr")
    quick = ("--refine-alignment", "--tune", "none", "--passes", "2", "--method", "network")
    done = wedge(*fit, *quick)
    assert done.code == 0, done.err
    assert done.err.count("views aligned: held-out error") == 1
    told = [store.open_volume(name).provenance["fit"]["alignment"] for name in ("v.zarr", "even.zarr", "odd.zarr")]
    assert told[0] == told[1] == told[2]
    repeated = wedge("reconstruct", "tilts.zarr", "-o", "again.zarr", "--config", "even.zarr")
    assert repeated.code == 0, repeated.err
    assert store.open_volume("again.zarr").provenance["fit"]["alignment"] == told[0]
    shutil.rmtree("odd.zarr")
    for other, code in ((("--seed", "5"), 2), (("--bin", "2"), 2), (("--half", "tilts.zarr"), 3)):
        assert wedge(*fit, "--resume", *other).code == code
        assert not Path("odd.zarr").exists()
    assert wedge(*fit, "--resume").code == 0
    assert store.open_volume("odd.zarr").provenance["fit"]["alignment"] == told[0]
