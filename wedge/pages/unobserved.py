"""What can be said of a run that no observer has looked on: its log, its checkpoint, its configuration."""

import json
import math
import struct
from pathlib import Path
from typing import Any

_LARGEST = 2**24
_CHECKPOINT, _LOG, _CONFIG = "checkpoint.safetensors", "log.jsonl", "config.json"


def logged_curves(run_dir: Path) -> dict[str, Any]:
    """Return ``{name: [steps, values]}`` of the log; lines that are damaged are left out."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    try:
        lines = (run_dir / _LOG).read_bytes()[:_LARGEST].splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            entry = json.loads(line)
            step = float(entry.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for name, value in entry.items():
            if isinstance(value, int | float) and math.isfinite(value):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(step)
                values.append(float(value))
    return {name: [steps, values] for name, (steps, values) in curves.items()}


def checkpoint_facts(run_dir: Path) -> dict[str, Any] | None:
    """Return the ``step`` and ``seconds`` of the checkpoint, and what the fit had settled on; None where there is none.

    Only its header is read. One that is damaged, or being replaced, has no facts.
    """
    try:
        with (run_dir / _CHECKPOINT).open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST:
                return {}
            progress = json.loads(json.loads(file.read(length))["__metadata__"]["wedge"])["progress"]
        settled = progress.get("settled") or {}
        return {"step": int(progress["step"]), "seconds": float(progress["seconds"]), "method": settled.get("method")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return {}


def stored_method(run_dir: Path) -> str | None:
    """Return the method that the run was told, None where its configuration does not say."""
    try:
        return str(json.loads((run_dir / _CONFIG).read_text())["config"]["method"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
