"""From layers of settings to a configuration and the components it names.

Layers are partial `FitConfig` data, each stronger than the one before: defaults, the chosen network's defaults, a preset, a file, options.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wedge.errors import InputError, UsageError
from wedge.fit.config import FitConfig, RegularizerChoice
from wedge.fit.reconstruct import Plugins
from wedge.formats.mrc import record_path
from wedge.output import is_zarr
from wedge.registry import Registry
from wedge.store_attributes import group_attributes

_CHOICES = ("network", "projector")
_FIT_KEYS = tuple(name for name in RegularizerChoice.model_fields if name not in ("name", "options"))


def merge(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay settings over one another; tables merge key by key, options of another component than the chosen one are dropped."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            if key in _CHOICES:
                name = value.get("name", (below or {}).get("name"))
                kept = (below or {}).get("options", {}) if below and below.get("name") == name else {}
                merged[key] = {"name": name, "options": {**kept, **value.get("options", {})}}
            elif isinstance(value, Mapping) and isinstance(below, Mapping):
                merged[key] = {**below, **value}
            else:
                merged[key] = value
    return merged


def regularizer_choice(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Split what follows ``NAME:`` into the keys that the fit applies and the component's own options."""
    reserved = {key: value for key, value in settings.items() if key in _FIT_KEYS}
    return {"name": name, **reserved, "options": {key: value for key, value in settings.items() if key not in _FIT_KEYS}}


def read_config_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fit's settings and the input's options in a TOML file, a JSON record, or an output, Zarr or with its record beside it.

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    UsageError
        If a component is given as something else than a name or a table of name and options.
    """
    record = read_record(path)
    data = record.get("config", record)
    if not isinstance(data, dict):
        raise InputError(f"cannot read the configuration {path}: expected a table of settings")
    inputs = data.get("input", {}) if "fit" in data else {}
    fit = data.get("fit", data)
    settings = {key: {"name": value} if key in _CHOICES and isinstance(value, str) else value for key, value in fit.items()}
    for key in _CHOICES:
        given = settings.get(key, {})
        if not isinstance(given, dict) or given.keys() - {"name", "options"} or not isinstance(given.get("options", {}), dict):
            raise UsageError(f"{path}: {key}: expected a name, or a table of name and options, got {given!r}")
    return settings, inputs


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of a run in any file that `read_config_file` takes; of one that holds nothing but settings, these.

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    """
    try:
        if path.is_dir():
            if not is_zarr(path):
                raise FileNotFoundError(path)
            data = group_attributes(path)["wedge"]
        elif path.suffix == ".toml":
            data = tomllib.loads(path.read_text())
        else:
            beside = record_path(path)
            data = json.loads((beside if path.suffix != ".json" and beside.exists() else path).read_text())
    except FileNotFoundError as error:
        raise InputError(f"no configuration at {path}: give a TOML file, or the record of an output") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read the configuration {path}: {str(error).splitlines()[0]}") from error
    record = _recorded(data)
    if not isinstance(record, dict):
        raise InputError(f"cannot read the configuration {path}: expected a table of settings")
    return record


def _recorded(data: Any) -> Any:
    """Return the record of a run; of an exported file, that of what was exported."""

    def table(value: Any) -> dict[str, Any]:
        return value if isinstance(value, dict) else {}

    for key in ("wedge", "provenance"):
        data = table(data).get(key, data)
    while "fit" not in table(table(data).get("config")) and table(data).get("source"):
        data = data["source"]
    return data


_DECIDED_BY = {
    "blur_voxels": ("blur_voxels",),
    "regularizer": ("regularizers",),
    "weighting": ("data_term",),
    "steps": ("batch_rows", "learning_rate"),
    "oversampling": ("oversampling",),
    "strength": ("adaptive",),
    "stack": ("blur_voxels", "regularizers", "data_term", "batch_rows", "learning_rate", "oversampling"),
}
"""The settings that take a tunable out of the data's hands when they are given."""


def left_to_the_data(settings: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is left to the data to choose, and the method: who names a network means it, and what one fit is made of, one fit."""
    free: dict[str, Any] = {}
    if not any("tune" in layer for layer in given):
        decided = {key for layer in given for key in layer}
        names = settings.get("tune", ())
        free["tune"] = [name for name in names if not decided & set(_DECIDED_BY.get(name, ()))]
    if any("network" in layer for layer in given) and not any("method" in layer for layer in given):
        free["method"] = "network"
    return free


def validate(settings: Mapping[str, Any], source: str = "configuration") -> FitConfig:
    """Return the settings as a configuration.

    Raises
    ------
    UsageError
        If a key is unknown or a value does not fit; one line that names the first.
    """
    try:
        return FitConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(FitConfig.model_fields))
            raise UsageError(f"{source}: unknown setting {where!r}; settings are {known}") from error
        raise UsageError(f"{source}: {where}: {first['msg']}, got {first['input']!r}") from error


def resolve_plugins(config: FitConfig, registry: Registry) -> tuple[FitConfig, Plugins]:
    """Import the configuration's components; the returned configuration holds their options in full.

    Raises
    ------
    UsageError, PluginError
        See `Registry.resolve`.
    """
    network = registry.resolve("network", config.network.name, config.network.options)
    projector = registry.resolve("projector", config.projector.name, config.projector.options)
    regularizers = [registry.resolve("regularizer", choice.name, choice.options) for choice in config.regularizers]

    def full(choice: Any, resolved: Any) -> Any:
        options = resolved.options.model_dump(mode="json") if resolved.options is not None else {}
        return choice.model_copy(update={"options": options})

    complete = config.model_copy(
        update={
            "network": full(config.network, network),
            "projector": full(config.projector, projector),
            "regularizers": tuple(full(choice, resolved) for choice, resolved in zip(config.regularizers, regularizers, strict=True)),
        }
    )
    return complete, Plugins(network, projector, regularizers)
