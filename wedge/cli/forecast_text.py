"""What a fit is expected to take, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wedge.cli.common import emit

if TYPE_CHECKING:
    import torch

    from wedge.fit.forecast import Forecast


def show_forecast(found: tuple[Forecast, torch.device], *, as_json: bool) -> None:
    """Print what a fit is expected to take."""
    forecast, device = found
    rows = "blocks" if forecast.method in ("adaptive", "restore") else "slabs"
    parts = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in forecast.seconds.items())
    of = f"{forecast.memory_bytes / 2**30:.2f} of {forecast.limit_bytes / 2**30:.2f} GiB"
    lines = [
        f"method  {forecast.method}, on {device}",
        f"time    about {_duration(forecast.total_seconds)}: {parts}",
        f"memory  about {of}, {rows} of {forecast.rows_at_once} rows",
    ]
    if forecast.method == "restore":
        lines.append("less time by --quality fast or fewer steps (--config, [restore]), less memory by a smaller --max-memory")
    elif forecast.method != "adaptive":
        lines.append("less time by --quality fast or fewer --passes, less memory by a smaller --max-memory")
    told = {
        "method": forecast.method,
        "device": str(device),
        "seconds": forecast.total_seconds,
        "parts": forecast.seconds,
        "memory_bytes": forecast.memory_bytes,
        "limit_bytes": forecast.limit_bytes,
        "rows_at_once": forecast.rows_at_once,
        **forecast.details,
    }
    emit(told, as_json=as_json, text="\n".join(lines))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
