"""Default choices and presets, read from ``defaults.toml``: the only place where the core names plugins."""

import tomllib
from importlib.resources import files
from typing import Any

from wedge.errors import UsageError


def load_defaults() -> dict[str, Any]:
    """Return the default choices: ``projector``, ``network``, ``regularizers``, ``metrics`` and ``observers``."""
    return dict(_read()["choices"])


def reconstruct_settings(network: str | None = None) -> dict[str, Any]:
    """Return the default configuration of ``wedge reconstruct``, or what it changes for one network, ``{}`` where nothing."""
    data = _read()
    return dict(data["reconstruct"] if network is None else data["networks"].get(network, {}))


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return list(_read()["presets"])


def preset(name: str) -> dict[str, Any]:
    """Return a preset: a table of the configuration of ``wedge reconstruct``.

    Raises
    ------
    UsageError
        If there is no preset of that name; the message gives the nearest ones.
    """
    presets = _read()["presets"]
    if name not in presets:
        from wedge.options import suggestion

        raise UsageError(f"unknown preset {name!r}: {suggestion(name, presets, 'preset')}")
    return dict(presets[name])


def _read() -> dict[str, Any]:
    """Read the file anew; every caller gets data of its own."""
    return tomllib.loads(files("wedge").joinpath("defaults.toml").read_text(encoding="utf-8"))
