import json

import numpy as np
import torch

from wedge import store
from wedge.align.before_fit import align_before_fit
from wedge.align.resample import moved_views
from wedge.align.transforms import ViewTransforms


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
    one, other, told = align_before_fit(first, second, build_projector, torch.device("cpu"), lambda message: None)
    assert told["applied"]
    found = ViewTransforms(*(np.array(told["transforms"][name]) for name in ("dx_pixels", "dy_pixels", "rotation_deg")))
    for given, moved in ((first, one), (second, other)):
        views = moved_views(given, found)
        assert np.allclose(moved.array, np.stack([views[:, view].numpy() for view in range(9)]), atol=1e-2 * given.array.std())
