"""``wedge info``: what a file or store holds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import JsonOption, emit
from wedge.store_attributes import is_number

_KINDS = {"tilts": "tilt series", "volume": "volume"}


def command(
    path: Annotated[Path, typer.Argument(help="Tilt series or volume: .zarr, .mrc, .st, .ali, .rec, .tif.")],
    stats: Annotated[bool, typer.Option("--stats", help="Read all values and tell their range, mean and deviation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a file or store holds: shape, voxel size, tilt angles, and how it was made."""
    from wedge.describe import describe

    found = describe(path, statistics=stats)
    width = max(len(name) for name, _ in _lines(found))
    emit(found, as_json=as_json, text="\n".join(f"{name:<{width}}  {value}" for name, value in _lines(found)))


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    size = found["voxel_size_angstrom"]
    lines = [
        ("path", found["path"]),
        ("kind", _KINDS[found["kind"]] + (", simulated" if found.get("simulated") else "")),
        ("shape", f"{_times(found['shape'])} ({found['axes']}), {found['dtype']}"),
        ("pixel size" if found["kind"] == "tilts" else "voxel size", "unknown" if size is None else f"{size:g} angstrom"),
    ]
    lines += [(label, found[key]) for label, key in (("stored as", "stored_as"), ("file axes", "file_axes")) if key in found]
    if "num_tilts" in found:
        low, high = found["tilt_range_deg"]
        source = f", from {found['angles_file']}" if "angles_file" in found else ""
        lines.append(("tilt angles", f"{found['num_tilts']} from {low:g} to {high:g} degrees{source}"))
    if "beside" in found:
        lines.append(("alignment", "; ".join([f"{found['beside'][0]}, which wedge import applies", *found["beside"][1:]])))
    if found.get("weighted"):
        lines.append(("weights", "of every ray"))
    if "volume_shape" in found:
        lines.append(("volume", f"{_times(found['volume_shape'])} (z, y, x)"))
    if "statistics" in found:
        seen = found["statistics"]
        text = f"{seen['min']:g} to {seen['max']:g}, mean {seen['mean']:g}, deviation {seen['std']:g}"
        lines.append(("values", text + (f", {seen['num_not_finite']} NaN or infinite" if seen["num_not_finite"] else "")))
    lines.append(("complete", "yes"))
    return lines + _made_by(found["provenance"]) + ([("note", found["note"])] if "note" in found else [])


def _made_by(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a record tells, as far as it is of the kind that records have."""
    if not provenance:
        return []
    command, versions = provenance.get("command"), provenance.get("versions")
    facts = [str(provenance[name]) for name in ("started",) if provenance.get(name)]
    if is_number(seconds := provenance.get("seconds")):
        facts.append(f"{seconds:g} s")
    peak: Any = provenance.get("peak_memory_bytes")
    if is_number(peak):
        facts.append(f"{peak / 2**20:.0f} MiB")
    if provenance.get("seed") is not None:
        facts.append(f"seed {provenance['seed']}")
    if isinstance(versions, dict):
        facts += [f"{name} {versions[name]}" for name in ("wedge", "torch") if name in versions]
    facts += [str(provenance[name]) for name in ("device",) if provenance.get(name)]
    return [("made by", " ".join(map(str, command)) if isinstance(command, list) else ""), ("", ", ".join(facts))]


def _times(shape: list[int]) -> str:
    return " x ".join(str(n) for n in shape)
