"""Whether a tilt series has its axis along y already: what is aligned is never aligned twice."""

import filecmp
from pathlib import Path
from typing import Any

from wedge import formats, store

_ALIGNED_SUFFIX = ".ali"
_RAW_SUFFIXES = (".st", ".mrc", ".mrcs", ".raw")


def why_aligned(path: str | Path) -> str | None:
    """Return why a tilt series counts as aligned, as words that go on after its name, or None where it counts as raw.

    It is aligned where wedge's record says so, where it was simulated, and where its suffix is ``.ali``.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    path = Path(path)
    if formats.is_file(path):
        record = formats.read_file(path).record
        simulated, provenance = bool(record.get("simulated")), record.get("provenance", {})
    else:
        series = store.open_tilts(path)
        simulated, provenance = series.simulated, series.provenance
    if simulated:
        return "was simulated around its tilt axis"
    if (used := recorded_alignment(provenance)) is not None:
        return f"was aligned by {used}"
    return "is aligned, as its suffix says" if path.suffix.lower() == _ALIGNED_SUFFIX else None


def recorded_alignment(provenance: dict[str, Any]) -> str | None:
    """Return what a record, or the record of what it was made from, says was applied to the views; None where nothing was."""
    record: Any = provenance
    while isinstance(record, dict):
        if isinstance(applied := record.get("alignment"), dict) and applied.get("source"):
            return str(applied["source"])
        record = record.get("source")
    return None


def same_as_raw(path: str | Path) -> Path | None:
    """Return the raw stack beside an ``.ali`` file that has the very same bytes, so that nobody aligned it; None where there is none."""
    path = Path(path)
    if path.suffix.lower() != _ALIGNED_SUFFIX:
        return None
    for suffix in _RAW_SUFFIXES:
        raw = path.with_suffix(suffix)
        try:
            if raw.is_file() and filecmp.cmp(path, raw, shallow=False):
                return raw
        except OSError:
            continue
    return None
