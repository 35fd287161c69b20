"""Tables in plain text."""

import math

from wedge.cli.table import columns, table


def test_columns_line_up_and_what_is_missing_is_a_dash() -> None:
    text = table(["volume", "psnr", "fsc.wedge"], [["a.zarr", 23.45678, None], ["longer.zarr", math.nan, 0.000123456]])
    assert text.splitlines() == [
        "volume        psnr  fsc.wedge",
        "a.zarr       23.46          -",
        "longer.zarr      -  0.0001235",
    ]


def test_columns_are_as_wide_as_their_longest_word() -> None:
    assert columns([("a", "longer", "x y"), ("bcd", "", "z")]) == "a    longer  x y\nbcd          z"
    assert columns([]) == ""
