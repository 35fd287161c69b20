"""Comparing a volume with a reference: the fit, what is stated, and what is refused."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from wedge.contracts import Curve, MetricContext, MetricResult
from wedge.data import Volume
from wedge.errors import InputError, PluginError, UsageError
from wedge.evaluate import evaluate, merged
from wedge.slabs import slab_ranges

SHAPE = (6, 21, 9)


class MeanSquare:
    """A slice metric: the mean squared difference in units of the range."""

    scope = "slice"
    better = "lower"

    def __call__(self, slices: torch.Tensor, references: torch.Tensor, data_range: float) -> torch.Tensor:
        return ((slices - references) / data_range).square().mean(dim=(1, 2))


class Recorder:
    """A volume metric that keeps all it is given."""

    scope = "volume"
    better = "higher"

    def start(self, context: MetricContext) -> None:
        self.context = context
        self.starts: list[int] = []
        self.rows: list[torch.Tensor] = []

    def update(self, y_start: int, slices: torch.Tensor, references: torch.Tensor) -> None:
        self.starts.append(y_start)
        self.rows.append(slices)
        assert slices.dtype == references.dtype == torch.float32

    def finish(self) -> MetricResult:
        return MetricResult({"": 1.0, "other": math.nan}, curve=Curve("k", [0.0], {"a": [math.inf]}), note="as told")


def volume(array: np.ndarray, name: str = "volume", **known: Any) -> Volume:
    return Volume(array.astype(np.float32), name=name, **known)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def test_affine_fit_undoes_scale_and_offset(truth: np.ndarray) -> None:
    found = evaluate(volume(truth * 50 - 300), volume(truth), [("m", MeanSquare())])
    assert found.values["m"] == pytest.approx(0, abs=1e-12)
    assert found.intensity_fit.kind == "affine"
    assert (found.intensity_fit.scale, found.intensity_fit.offset) == pytest.approx((0.02, 6.0), rel=1e-5)


def test_affine_fit_is_the_least_squares_one(truth: np.ndarray) -> None:
    ours = truth + np.random.default_rng(1).standard_normal(SHAPE)
    found = evaluate(volume(ours), volume(truth), []).intensity_fit
    slope, intercept = np.polyfit(ours.astype(np.float32).ravel().astype(np.float64), truth.ravel().astype(np.float64), 1)
    assert (found.scale, found.offset) == pytest.approx((slope, intercept), rel=1e-6)


def test_without_a_fit_volumes_are_compared_as_they_are(truth: np.ndarray) -> None:
    found = evaluate(volume(truth + 2), volume(truth), [("m", MeanSquare())], intensity_fit="none")
    assert found.values["m"] == pytest.approx((2 / np.ptp(truth)) ** 2, rel=1e-5)
    assert found.intensity_fit.kind == "none"


def test_correlation_is_pearsons_whatever_the_fit(truth: np.ndarray) -> None:
    ours = 3 * truth + np.random.default_rng(1).standard_normal(SHAPE) + 50
    expected = np.corrcoef(ours.astype(np.float32).ravel(), truth.ravel())[0, 1]
    for kind in ("affine", "none"):
        assert evaluate(volume(ours), volume(truth), [], intensity_fit=kind).values["correlation"] == pytest.approx(expected, rel=1e-6)
    assert evaluate(volume(-ours), volume(truth), []).values["correlation"] == pytest.approx(-expected, rel=1e-6)
    assert evaluate(volume(np.ones(SHAPE)), volume(truth), []).values["correlation"] == 0


def test_data_range_is_the_references_and_stated(truth: np.ndarray) -> None:
    recorder = Recorder()
    found = evaluate(volume(truth * 9), volume(truth), [("r", recorder)])
    assert found.data_range == recorder.context.data_range == pytest.approx(np.ptp(truth))


def test_slabs_come_in_order_and_hold_every_row(truth: np.ndarray) -> None:
    recorder, rows = Recorder(), []
    evaluate(volume(truth), volume(truth), [("r", recorder)], intensity_fit="none", slab_rows=8, on_progress=rows.append)
    assert recorder.starts == [r.start for r in slab_ranges(SHAPE[1], 8)]
    assert np.array_equal(torch.cat(recorder.rows).numpy(), truth.transpose(1, 0, 2))
    assert sum(rows) == 2 * SHAPE[1]


def test_slice_metric_keeps_its_series_and_leaves_nan_out(truth: np.ndarray) -> None:
    class Partial(MeanSquare):
        def __call__(self, slices: torch.Tensor, references: torch.Tensor, data_range: float) -> torch.Tensor:
            values = super().__call__(slices, references, data_range)
            return values.masked_fill(references.abs().amax(dim=(1, 2)) == 0, math.nan)

    truth[:, 4] = 0
    found = evaluate(volume(truth + 1), volume(truth), [("m", Partial())], intensity_fit="none", slab_rows=2)
    series = found.per_slice["m"]
    assert len(series) == SHAPE[1]
    assert math.isnan(series[4])
    assert found.values["m"] == pytest.approx(np.nanmean(series))
    assert "1 of 21 without a value" in found.notes["m"]


def test_angles_and_voxel_size_reach_the_metric(truth: np.ndarray) -> None:
    recorder = Recorder()
    ours, theirs = volume(truth, tilt_angles_deg=(-50.0, 0.0, 40.0)), volume(truth, voxel_size_angstrom=8.0, tilt_angles_deg=(0.0, 1.0))
    evaluate(ours, theirs, [("r", recorder)])
    assert recorder.context.tilt_angles_deg == (-50.0, 0.0, 40.0)
    assert recorder.context.voxel_size_angstrom == 8.0
    evaluate(ours, theirs, [("r", recorder)], tilt_angles_deg=[-1, 0, 1])
    assert recorder.context.tilt_angles_deg == (-1.0, 0.0, 1.0)


def test_values_are_named_after_their_metric(truth: np.ndarray) -> None:
    found = evaluate(volume(truth), volume(truth), [("r", Recorder()), ("m", MeanSquare())])
    assert list(found.values) == ["correlation", "r", "r.other", "m"]
    assert found.notes["r"] == "as told"
    assert found.curves["r"].x_label == "k"


def test_json_knows_no_nan(truth: np.ndarray) -> None:
    plain = json.loads(json.dumps(evaluate(volume(truth), volume(truth), [("r", Recorder())]).to_json(), allow_nan=False))
    assert plain["values"]["r.other"] is None
    assert plain["curves"]["r"]["series"]["a"] == [None]


def test_inverted_contrast_and_constant_volume_are_said(truth: np.ndarray) -> None:
    assert "contrast is inverted" in evaluate(volume(-truth), volume(truth), []).notes[""]
    constant = evaluate(volume(np.full(SHAPE, 3.0)), volume(truth), [("m", MeanSquare())])
    assert constant.intensity_fit.scale == 0
    assert constant.intensity_fit.offset == pytest.approx(truth.mean(), abs=1e-6)
    assert "constant" in constant.notes[""]


def test_different_voxel_sizes_are_said(truth: np.ndarray) -> None:
    found = evaluate(volume(truth, voxel_size_angstrom=4.0), volume(truth, voxel_size_angstrom=8.0), [])
    assert "4 A against the reference's 8 A" in found.notes[""]


def test_different_shapes_are_refused_naming_both(truth: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"ours has \(6, 20, 9\).*theirs has \(6, 21, 9\)|theirs has.*ours has"):
        evaluate(volume(truth[:, :20], "ours"), volume(truth, "theirs"), [])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_what_is_not_finite_is_refused_with_its_place(truth: np.ndarray, bad: float, which: str) -> None:
    spoiled = truth.copy()
    spoiled[3, 17, 2] = bad
    pair = (spoiled, truth) if which == "ours" else (truth, spoiled)
    with pytest.raises(InputError, match=f"{which}, y-row 17"):
        evaluate(volume(pair[0], "ours"), volume(pair[1], "theirs"), [], slab_rows=4)


def test_constant_reference_is_refused(truth: np.ndarray) -> None:
    with pytest.raises(InputError, match="the reference is constant, 2 everywhere: flat"):
        evaluate(volume(truth), volume(np.full(SHAPE, 2.0), "flat"), [])


def test_wrong_shape_from_a_metric_names_it(truth: np.ndarray) -> None:
    class Scalar(MeanSquare):
        def __call__(self, slices: torch.Tensor, references: torch.Tensor, data_range: float) -> torch.Tensor:
            return super().__call__(slices, references, data_range).mean()

    with pytest.raises(PluginError, match=r"metric 's' returned shape \(\) for 4 slices"):
        evaluate(volume(truth), volume(truth), [("s", Scalar())], slab_rows=4)


def test_error_of_a_metric_that_is_wedges_own_passes(truth: np.ndarray) -> None:
    class Refusing(Recorder):
        def start(self, context: MetricContext) -> None:
            raise UsageError("not with this")

    with pytest.raises(UsageError, match="not with this"):
        evaluate(volume(truth), volume(truth), [("r", Refusing())])


def test_merged_has_the_results_of_both(truth: np.ndarray) -> None:
    first = evaluate(volume(truth), volume(truth), [("a", MeanSquare())])
    second = evaluate(volume(truth), volume(truth, "other"), [("b", Recorder())])
    both = merged(first, second)
    assert set(both.values) == {"correlation", "a", "b", "b.other"}
    assert both.reference == first.reference
