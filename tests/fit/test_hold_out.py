"""Views that a fit does not see."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from wedge.data import TiltSeries
from wedge.errors import UsageError
from wedge.fit.hold_out import views_to_hold_out, without_held_out
from wedge.fit.reconstruct import reconstruct
from wedge.fit.run_dir import prepare_run_dir, read_settled, write_settled
from wedge.fit.settings import resolve_plugins, validate
from wedge.formats.views import every_other, places_in_stack, select_views, views_of
from wedge.formats.window import window
from wedge.geometry import TiltGeometry
from wedge.registry import Registry
from wedge.spheres import chords, make_spheres

SHAPE = (8, 12, 16)
ANGLES = (*np.linspace(-60, 60, 19)[::2], *np.linspace(-60, 60, 19)[1::2])
SMALL = {"projector": {"name": "torch", "options": {"cache": False}}, "network": {"name": "voxel"}, "hold_out": 0.2}
FITS = {
    "network": {"method": "network", "passes": 3},
    "margin": {"method": "network", "passes": 3, "margin": 8},
    "adaptive": {"method": "adaptive", "positivity": "off"},
    "stack": {"method": "stack", "passes": 1},
    "tuned": {"method": "network", "passes": 2, "tune": ["regularizer"]},
}


@pytest.fixture(scope="module")
def tilts() -> TiltSeries:
    geometry = TiltGeometry(ANGLES, SHAPE[1:], SHAPE)
    array = chords(make_spheres(SHAPE, seed=1), geometry, 0, SHAPE[1]).transpose(1, 0, 2)
    noise = np.random.default_rng(0).normal(scale=1.0, size=array.shape)
    return TiltSeries((array + noise).astype(np.float32), geometry, "spheres", simulated=True)


class Memory:
    """Takes the rows that a store would."""

    def __init__(self) -> None:
        self.slices = np.full((SHAPE[1], SHAPE[0], SHAPE[2]), np.nan, dtype=np.float32)

    def write_rows(self, y_start: int, block: torch.Tensor) -> None:
        self.slices[y_start : y_start + len(block)] = np.asarray(block)


def fit(tilts: TiltSeries, folder, settings: dict, **options):
    config, plugins = resolve_plugins(validate(SMALL | settings), Registry.load({"WEDGE_PLUGINS": ""}))
    memory = Memory()
    prepare_run_dir(folder, tilts, config, resume=False, overwrite=True)
    return memory.slices, reconstruct(tilts, memory, plugins, config, device=torch.device("cpu"), run_dir=folder, **options)


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("with_half", [False, True])
def test_held_out_views_change_nothing_in_the_result_bit_for_bit(tilts, tmp_path, kind, with_half):
    if with_half and kind in ("margin", "tuned", "stack"):
        pytest.skip("one kind of each is enough")
    settings = FITS[kind] | {"hold_out_views": "extremes"}
    held = views_to_hold_out(tilts, 0.2, "extremes")
    spoiled = tilts.array.copy()
    spoiled[held] = 100 * np.random.default_rng(4).random(spoiled[held].shape) - 3
    other = replace(tilts, array=spoiled)
    results = []
    for number, series in enumerate((tilts, other)):
        half = {"half": replace(series, array=series.array + 0.1)} if with_half else {}
        results.append(fit(series, tmp_path / f"{number}", settings, **half))
    assert np.isfinite(results[0][0]).all()
    assert np.array_equal(results[0][0], results[1][0])
    errors = [result.held_out_error for _, result in results]
    assert errors[1] > 2 * errors[0] > 0


@pytest.mark.parametrize("kind", ["network", "adaptive"])
def test_a_view_that_is_not_held_out_changes_the_result(tilts, tmp_path, kind):
    other = replace(tilts, array=tilts.array.copy())
    other.array[3] += 1
    assert 3 not in views_to_hold_out(tilts, 0.2)
    found = [fit(series, tmp_path / f"{number}", FITS[kind])[0] for number, series in enumerate((tilts, other))]
    assert not np.array_equal(*found)


def test_the_outermost_or_any_by_place_are_held_out_beside_those_spread(tilts):
    angles = np.array(ANGLES)
    spread = views_to_hold_out(tilts, 0.2)
    assert len(spread) == 4
    assert np.abs(angles[spread]).max() < 59
    extremes = {int(np.argmin(angles)), int(np.argmax(angles))}
    assert set(views_to_hold_out(tilts, 0.2, "extremes")) == set(spread) | extremes
    assert set(views_to_hold_out(tilts, 0.0, "extremes")) == extremes
    assert views_to_hold_out(tilts, 0.0, (5, 2)) == [2, 5]
    assert views_to_hold_out(tilts, 0.0) == []


def test_places_are_those_in_the_stack_whatever_is_left_out_cropped_and_binned(tilts):
    part = window(select_views(tilts, exclude_views=(0, 3)), crop_y=(2, 8), factor=2)
    assert places_in_stack(part.array) == tuple(place for place in range(19) if place not in (0, 3))
    (view,) = views_to_hold_out(part, 0.0, (7,))
    kept, held = without_held_out(part, [view])
    assert held.geometry.tilt_angles_deg == (ANGLES[7],)
    assert places_in_stack(held.array) == (7,)
    assert places_in_stack(kept.array) == tuple(place for place in range(19) if place not in (0, 3, 7))
    assert np.array_equal(np.asarray(held.array[:])[0], np.asarray(part.array[:])[view])
    with pytest.raises(UsageError, match="--hold-out-views names view 3, which is not among the views in use"):
        views_to_hold_out(part, 0.0, (7, 3))


def test_some_views_are_always_left(tilts):
    few = views_of(tilts, range(5))
    with pytest.raises(UsageError, match="--hold-out-views leaves 3 of 5 views"):
        views_to_hold_out(few, 0.0, "extremes")


def test_halves_are_every_other_view_by_angle(tilts):
    even, odd = every_other(tilts.geometry.tilt_angles_deg, 0), every_other(tilts.geometry.tilt_angles_deg, 1)
    assert sorted(even + odd) == list(range(19))
    assert sorted(ANGLES[view] for view in even) == pytest.approx(np.linspace(-60, 60, 19)[::2])


@pytest.mark.parametrize("kind", ["network", "stack", "adaptive"])
def test_what_a_fit_has_settled_is_taken_over_whole(tilts, tmp_path, kind):
    first, result = fit(tilts, tmp_path / "first", FITS[kind])
    write_settled(tmp_path / "first", result)
    settled = read_settled(tmp_path / "first")
    assert settled.normalization == result.normalization
    said: list[str] = []
    again, repeated = fit(tilts, tmp_path / "again", FITS[kind], settled=settled, say=said.append)
    assert np.array_equal(first, again)
    assert repeated.config == result.config
    assert not [line for line in said if "chosen" in line or "weights are found" in line]
    assert "weights" not in json.dumps(repeated.summary())
