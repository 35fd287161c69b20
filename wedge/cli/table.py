"""Tables in plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> str:
    """Lay out rows under a header, the first column to the left, the others to the right.

    Numbers get four digits; what is missing or not finite is a dash.
    """
    cells = [[_text(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [[row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))] for row in cells]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows of words without a header, every column to the left and wide enough for its longest word."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _text(cell: str | float | None) -> str:
    if isinstance(cell, str):
        return cell
    return "-" if cell is None or not math.isfinite(cell) else f"{cell:.4g}"
