"""How volumes were made, as their records say; records of others, and damaged ones, are shown as far as they can be read."""

import json
import math
import shlex
from typing import Any

from wedge.data import Volume
from wedge.pages.report_data import Made

_ENTRIES = {"__main__.py", "wedge"}
_MIB = 2**20
_LONGEST_CONFIG = 100_000


def made_of(label: str, volume: Volume) -> Made:
    """Return the command of a volume, what is known of its making, and its configuration."""
    record = volume.provenance if isinstance(volume.provenance, dict) else {}
    return Made(label, command_of(record.get("command")), _facts(record), _config(record.get("config")))


def command_of(words: Any) -> str:
    """Return a command line that a shell takes; "" where there is none."""
    if not isinstance(words, list) or not words:
        return ""
    first, *rest = (str(word) for word in words)
    return shlex.join(["wedge" if first in _ENTRIES else first, *rest])


def _facts(record: dict[str, Any]) -> dict[str, str]:
    facts: dict[str, str] = {}
    if record.get("started") is not None:
        facts["started"] = str(record["started"])
    if (seconds := _number(record.get("seconds"))) is not None:
        facts["time"] = time_text(seconds)
    if record.get("device") is not None:
        name = record.get("device_name")
        facts["device"] = f"{record['device']} ({name})" if name else str(record["device"])
    for key, name in (("peak_memory_bytes", "peak memory"), ("device_peak_memory_bytes", "peak memory of the device")):
        if (size := _number(record.get(key))) is not None:
            facts[name] = f"{size / _MIB:.0f} MiB"
    if record.get("seed") is not None:
        facts["seed"] = str(record["seed"])
    versions = record.get("versions")
    if isinstance(versions, dict) and versions:
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    inputs = record.get("inputs")
    for place, entry in enumerate(inputs if isinstance(inputs, list) else [], start=1):
        known = entry if isinstance(entry, dict) else {"path": entry}
        facts[f"input {place}"] = f"{known.get('path')}, BLAKE2b {known['blake2b']}" if known.get("blake2b") else str(known.get("path"))
    return facts


def time_text(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _config(config: Any) -> str:
    if config in (None, {}, ""):
        return ""
    text = _written(config)
    return text if len(text) <= _LONGEST_CONFIG else f"{text[:_LONGEST_CONFIG]}\n... {len(text)} characters; wedge info tells all"


def _written(value: Any, margin: str = "") -> str:
    """Return JSON with a line for each key; what holds no keys stays on one line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, default=str)
    lines = [f"{margin} {json.dumps(str(key), ensure_ascii=False)}: {_written(each, margin + ' ')}" for key, each in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None
