"""What a state may hold: whatever else stands in a file that somebody or something has damaged is left out."""

from collections.abc import Callable, Mapping
from typing import Any

STATES = ("running", "ended", "failed", "interrupted")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(each is None or _number(each) for each in value.values())


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "state": lambda value: value in STATES,
    "stage": lambda value: isinstance(value, list) and len(value) == 3 and _text(value[0]) and all(map(_number, value[1:])),
    "progress": lambda value: isinstance(value, list) and len(value) == 2 and all(map(_number, value)),
    "scalars": _numbers,
    "preview": lambda value: isinstance(value, dict) and _text(value.get("what")),
    **dict.fromkeys(("said", "command"), _texts),
    **dict.fromkeys(("error", "note", "method", "device", "host", "place"), _text),
    **dict.fromkeys(("step", "num_steps", "seconds", "seconds_left", "quiet_seconds", "watching_seconds", "written"), _number),
    **dict.fromkeys(("resident_bytes", "device_bytes", "pid", "beat", "beat_seconds"), _number),
}


def known(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a state is as it should be."""
    return {key: state[key] for key, is_sound in _CHECKS.items() if key in state and is_sound(state[key])}
