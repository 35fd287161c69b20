"""IMOD's ``.xf``: six numbers for every raw view, ``A11 A12 A21 A22 DX DY``.

IMOD maps ``X' = A11 (X - Xc) + A12 (Y - Yc) + DX + Xc'``, and likewise ``Y'``, in unbinned pixels. Its centres ``n / 2`` count from the
edge of the first pixel: they are wedge's ``(n - 1) / 2``, which counts from that pixel's middle. So the numbers are taken as they stand.
"""

from pathlib import Path

import numpy as np

from wedge.errors import InputError
from wedge.formats.text import lines_of, number, read_text
from wedge.output import writing

_MOST_VIEWS = 10_000


def read_xf(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(tilt, 2, 2)`` matrices and ``(tilt, 2)`` shifts ``(x, y)`` in raw pixels, float64.

    Raises
    ------
    InputError
        If the file cannot be read, has no line, or one that is not six finite numbers.
    """
    path = Path(path)
    rows = []
    for index, line in enumerate(lines_of(read_text(path, "an .xf file"), _MOST_VIEWS, path), start=1):
        if not line.strip():
            continue
        values = line.split()
        if len(values) != 6:
            raise InputError(f"line {index} of {path} is {line.strip()[:40]!r}: expected six numbers; correct the file")
        rows.append([number(value, f"line {index}", path, 1e6) for value in values])
    if not rows:
        raise InputError(f"no transforms in {path}: expected six numbers for each view")
    table = np.asarray(rows, dtype=np.float64)
    return table[:, :4].reshape(-1, 2, 2), table[:, 4:]


def write_xf(path: str | Path, matrices: np.ndarray, shifts_pixels: np.ndarray) -> None:
    """Write ``(tilt, 2, 2)`` matrices and ``(tilt, 2)`` shifts ``(x, y)`` in raw pixels; what is there is replaced.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    rows = zip(matrices.reshape(-1, 4).tolist(), shifts_pixels.tolist(), strict=True)
    lines = ["".join(f"{value:12.7f}" for value in four) + f"{x:12.3f}{y:12.3f}\n" for four, (x, y) in rows]
    with writing(Path(path)):
        Path(path).write_text("".join(lines))
