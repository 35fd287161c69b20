"""Tables of a report: the best is the best, units and resolutions are right."""

import math

import numpy as np
import pytest

from wedge.contracts import Curve
from wedge.evaluate import Evaluation
from wedge.intensity import IntensityFit
from wedge.pages.report_data import Measured, Row, labels_of
from wedge.pages.report_html import table
from wedge.pages.report_resolution import resolution_of, resolution_table
from wedge.pages.report_tables import direction, metric_tables, unit_of

BETTER: dict[str, str | float] = {"psnr": "higher", "mse:floor=0.5": "lower", "energy": 1.0}
UNITS = {"psnr": "dB"}


def measured(**values: float) -> Evaluation:
    return Evaluation("v", "r", IntensityFit("none"), 1.0, values=values)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("psnr", "higher"), ("psnr.volume", "higher"), ("mse:floor=0.5", "lower"), ("mse:floor=0.5.volume", "lower"), ("energy", 1.0),
        ("fsc.resolution-0.143-angstrom", "lower"), ("fsc.resolution-half-bit-voxels", "lower"), ("correlation", "higher"),
        ("score", "lower"), ("unseen.error", "lower"), ("unseen.frc", "higher"), ("seen.ramp-error", "lower"), ("tilts.residual", "lower"),
        ("unseen.frc-0.125-0.25", "higher"), ("unseen.noise-error", None), ("unseen.frc-limit", None), ("rank", None), ("spread", None),
        ("views.signal-to-noise", None),
    ],
)  # fmt: skip
def test_which_way_a_figure_is_better(name: str, expected: str | float | None) -> None:
    assert direction(name, BETTER) == expected


@pytest.mark.parametrize(
    ("better", "values", "best"),
    [
        ("higher", (1.0, 3.0, 2.0), (1,)),
        ("lower", (1.0, 3.0, 2.0), (0,)),
        ("lower", (None, 3.0, 2.0), (2,)),
        ("higher", (-1.0, None, -2.0), (0,)),
        (1.0, (0.5, 1.2, 3.0), (1,)),
        ("higher", (2.0, 2.0, 1.0), (0, 1)),
        ("higher", (2.0, 2.0, 2.0), ()),
        ("higher", (2.0, None, None), ()),
        (None, (1.0, 2.0, 3.0), ()),
    ],
)
def test_the_best_is_the_best(better: str | float | None, values: tuple[float | None, ...], best: tuple[int, ...]) -> None:
    assert Row("x", "", better, values).best == best


def test_of_metrics_whose_options_begin_alike_the_longer_counts() -> None:
    assert direction("m:s=0.4", {"m:s=0": "higher", "m:s=0.4": "lower"}) == "lower"
    assert direction("m:s=0.wide", {"m:s=0": "higher", "m:s=0.4": "lower"}) == "higher"


def test_units() -> None:
    names = ("psnr.volume", "fsc.resolution-0.143-angstrom", "fsc.resolution-half-bit-voxels", "ssim")
    assert [unit_of(name, UNITS) for name in names] == ["dB", "angstrom", "voxels", ""]


def test_figures_keep_all_digits_and_what_is_no_number_is_a_dash() -> None:
    value = 1 / 3
    pair = [Measured("a", measured(psnr=value)), Measured("b", measured(psnr=math.nan))]
    (found,) = metric_tables(pair, BETTER, UNITS)
    html = table(found)
    assert f'data-value="{value!r}"' in html
    assert 'aria-label="no value"' in html
    assert "nan" not in html.lower()
    assert "dB, higher is better" in html


def test_what_all_rows_share_is_said_once() -> None:
    values = {"psnr": 1.0, "psnr.volume": 2.0}
    html = table(metric_tables([Measured("a", measured(**values))], BETTER, UNITS)[0])
    assert html.count("dB, higher is better") == 1
    assert "<caption>Metrics; dB, higher is better</caption>" in html


def test_bands_and_resolutions_are_in_the_table_that_is_folded() -> None:
    values = {"psnr": 1.0, "fsc": 0.5, "fsc.cone": 0.4, "fsc.cone-0-0.125": 0.3, "fsc.resolution-0.5-angstrom": 12.0}
    main, more = metric_tables([Measured("a", measured(**values))], BETTER, UNITS)
    assert [row.name for row in main.rows] == ["psnr", "fsc", "fsc.cone"]
    assert [row.name for row in more.rows] == ["fsc.cone-0-0.125", "fsc.resolution-0.5-angstrom"]
    assert (main.folded, more.folded) == (False, True)


def falling(shells: int = 64) -> Curve:
    """A correlation that falls from 1 at zero frequency to 0 at 0.5."""
    frequency = np.arange(1, shells + 1) / (2 * shells)
    rising = np.full(shells, np.nan)
    return Curve(
        "cycles per voxel", frequency.tolist(),
        {"whole": (1 - 2 * frequency).tolist(), "wedge": rising.tolist(), "cone": np.ones(shells).tolist(), "half-bit": [0.4] * shells},
    )  # fmt: skip


def test_resolution_of_a_known_curve() -> None:
    curve, shape = falling(), (128, 128, 128)
    # 1 - 2 f is 0.143 at 0.4285, 0.5 at 0.25, the half-bit level here 0.4 at 0.3 cycles per voxel of 7 angstrom.
    assert resolution_of(curve, "whole", "0.143", shape, 7.0) == pytest.approx(7 / 0.4285)
    assert resolution_of(curve, "whole", "0.5", shape, 7.0) == pytest.approx(28.0)
    assert resolution_of(curve, "whole", "half-bit", shape, 7.0) == pytest.approx(7 / 0.3)
    assert resolution_of(curve, "whole", "0.5", shape, None) == pytest.approx(4.0)
    assert resolution_of(curve, "cone", "0.143", shape, 7.0) == pytest.approx(14.0)
    assert resolution_of(curve, "cone", "half-bit", shape, 7.0) is None
    assert resolution_of(curve, "wedge", "0.143", shape, 7.0) is None


def test_resolutions_are_searched_from_one_period_over_the_shortest_side() -> None:
    """A dip below that is noise of a few frequencies, and the resolution of a slab is not that of its length."""
    curve = Curve("cycles per voxel", [0.02, 0.05, 0.1, 0.2, 0.3], {"whole": [1.0, 0.0, 1.0, 0.9, 0.1], "half-bit": [0.5] * 5})
    assert resolution_of(curve, "whole", "0.5", (10, 200, 200), 1.0) == pytest.approx(1 / 0.25)
    assert resolution_of(curve, "whole", "0.5", (200, 200, 200), 1.0) == pytest.approx(1 / 0.035)


def test_the_resolutions_of_the_whole_are_those_that_the_metric_states() -> None:
    stated = Evaluation("v", "r", IntensityFit("none"), 1.0, values={"fsc.resolution-0.5-angstrom": 33.0}, curves={"fsc": falling()})
    (found,) = resolution_table([Measured("a", stated)], (128, 128, 128), 7.0)
    by_name = {row.name: row.values[0] for row in found.rows}
    assert by_name["fsc, whole, at 0.5"] == 33.0
    assert by_name["fsc, whole, at 0.143"] is None
    assert by_name["fsc, measured cone, at 0.143"] == pytest.approx(14.0)
    assert {row.unit for row in found.rows} == {"angstrom"}


def test_names_are_short_and_differ() -> None:
    assert labels_of(["a/x.zarr", "b/y.mrc"]) == ["x", "y"]
    assert labels_of(["a/x.zarr", "b/x.zarr", "z.rec"]) == ["a/x", "b/x", "z"]
    assert labels_of(["a/x.zarr", "a/x.mrc"]) == ["a/x (1)", "a/x (2)"]
