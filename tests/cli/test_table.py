"""Tables in plain text."""

import math

from wedge.cli.table import table


def test_columns_line_up_and_what_is_missing_is_a_dash() -> None:
    text = table(["volume", "psnr", "fsc.wedge"], [["a.zarr", 23.45678, None], ["longer.zarr", math.nan, 0.000123456]])
    assert text.splitlines() == [
        "volume        psnr  fsc.wedge",
        "a.zarr       23.46          -",
        "longer.zarr      -  0.0001235",
    ]
