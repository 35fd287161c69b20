"""What the attributes of a Zarr store say: whether wedge wrote it, whether it is whole, and what it holds."""

import json
import math
from pathlib import Path
from typing import Any, Literal

from wedge.errors import InputError
from wedge.output import partial_path

FORMAT_VERSION = 1
Kind = Literal["tilts", "volume"]
KIND_NAMES: dict[str, str] = {"tilts": "a tilt series", "volume": "a volume"}
_LARGEST_FILE = 64 * 2**20


def group_attributes(path: Path) -> dict[str, Any]:
    """Return all attributes of a store's group, those of other programs included: of ``zarr.json`` (Zarr 3) or ``.zattrs`` (Zarr 2).

    Raises
    ------
    InputError
        If there is no store, or its metadata is damaged.
    """
    if not path.exists():
        partial = partial_path(path)
        hint = f"{partial} is a write that did not finish: run its command again" if partial.exists() else "check the path"
        raise InputError(f"no such store: {path}; {hint}")
    if not path.is_dir():
        raise InputError(f"not a Zarr store but a file: {path}; name the folder that ends in .zarr")
    is_v3 = (path / "zarr.json").is_file()
    if not is_v3 and not (path / ".zgroup").is_file():
        raise InputError(f"not a Zarr store, or an incomplete one: {path} has no zarr.json and no .zgroup; make it anew")
    file = path / ("zarr.json" if is_v3 else ".zattrs")
    if not is_v3 and not file.exists():
        return {}
    content = read_json(file)
    attributes = content.get("attributes", {}) if is_v3 else content
    if not isinstance(attributes, dict):
        raise InputError(f"damaged store: cannot read {file}; make it anew")
    return attributes


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If it cannot be read, is none, or is larger than any metadata.
    """
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise InputError(f"damaged store: {file} holds {file.stat().st_size} bytes; make it anew")
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"damaged store: cannot read {file}; make it anew") from error
    if not isinstance(content, dict):
        raise InputError(f"damaged store: cannot read {file}; make it anew")
    return content


def wedge_attributes(path: Path, expected: Kind | None = None) -> dict[str, Any]:
    """Return what wedge wrote about a complete store.

    Raises
    ------
    InputError
        If there is no store, it was not written by wedge, it is incomplete or damaged, or not of the kind expected.
    """
    attributes = group_attributes(path).get("wedge")
    if not isinstance(attributes, dict) or attributes.get("kind") not in ("tilts", "volume"):
        raise InputError(f"not a store that wedge wrote: {path}; export it to MRC and read that")
    if path.name.endswith(".partial") or attributes.get("complete") is not True:
        raise InputError(f"incomplete store, its writing did not finish: {path}; run the command that makes it again")
    if attributes.get("format_version") != FORMAT_VERSION:
        raise InputError(f"store of format {attributes.get('format_version')}, this wedge reads {FORMAT_VERSION}: {path}; update wedge")
    kind: Kind = attributes["kind"]
    needed, record = ("geometry", dict) if kind == "tilts" else ("shape", list), attributes.get("provenance", {})
    if not isinstance(attributes.get(needed[0]), needed[1]) or not isinstance(record, dict):
        raise InputError(f"damaged store: the attributes of {path} lack the {needed[0]} or how it was made; make it anew")
    if kind == "volume":
        _check_volume(attributes, path)
    if expected is not None and kind != expected:
        raise InputError(f"is {KIND_NAMES[kind]}, expected {KIND_NAMES[expected]}: {path}")
    return attributes


def _check_volume(attributes: dict[str, Any], path: Path) -> None:
    shape, size, angles = (attributes.get(name) for name in ("shape", "voxel_size_angstrom", "tilt_angles_deg"))
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise InputError(f"damaged store: {path} states the shape {str(shape)[:60]}; make it anew")
    if size is not None and not (is_number(size) and size > 0):
        raise InputError(f"damaged store: {path} states the voxel size {str(size)[:60]}; make it anew")
    if angles is not None and not (isinstance(angles, list) and angles and all(is_number(angle) and abs(angle) <= 180 for angle in angles)):
        raise InputError(f"damaged store: {path} states tilt angles that are none; make it anew")


def is_number(value: Any) -> bool:
    """Say whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
