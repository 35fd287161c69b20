"""``wedge plugins list | show | check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from wedge.cli.common import JsonOption, emit
from wedge.cli.table import columns
from wedge.errors import PluginError, UsageError
from wedge.manifest import Entry
from wedge.registry import KINDS, Registry, option_model, unavailable

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="List, show and check plugins.")

KindOption = Annotated[str | None, typer.Option("--kind", metavar="|".join(KINDS), help="Only this kind.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A component or a plugin.")]
OptionalNameArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="A component or a plugin; by default all.")]


@app.command("list")
def list_plugins(kind: KindOption = None, as_json: JsonOption = False) -> None:
    """List what the installed plugins offer, and the plugins that failed to load."""
    registry = Registry.load()
    rows = [_summary(registry, entry) for entry in registry.entries(_checked(kind))]
    lines = [
        (row["kind"], row["name"], f"{row['distribution']} {row['version']}", row["summary"] + _in_brackets(row["unavailable"]))
        for row in rows
    ]
    lines += [("broken", bad.name, f"{bad.distribution} {bad.version}", f"{bad.reason}; {bad.mend}") for bad in registry.broken]
    lines += [("disabled", name, "", "kept out by WEDGE_PLUGINS") for name in registry.disabled]
    result = {"components": rows, "broken": [asdict(bad) for bad in registry.broken], "disabled": registry.disabled}
    emit(result, as_json=as_json, text=columns(lines))


@app.command("show")
def show_plugin(name: NameArgument, kind: KindOption = None, as_json: JsonOption = False) -> None:
    """Show a component: what it is, where it comes from, whether it works here, and its options."""
    registry = Registry.load()
    found = []
    for entry in _named(registry, name, kind):
        details = _summary(registry, entry)
        if details["unavailable"]:
            details["options"] = []
            found.append(details)
            continue
        from wedge.options import describe_options

        details["options"] = [asdict(row) for row in describe_options(option_model(entry))]
        found.append(details)
    emit({"components": found}, as_json=as_json, text="\n\n".join(_page(details) for details in found))


@app.command("check")
def check_plugins(name: OptionalNameArgument = None, kind: KindOption = None, as_json: JsonOption = False) -> None:
    """Import plugins, build their components and try the first law of each; exit code 4 if one is broken."""
    from wedge.check import check_component

    registry = Registry.load()
    entries = registry.entries(_checked(kind)) if name is None else _named(registry, name, kind)
    findings = [check_component(registry, entry) for entry in entries]
    broken = registry.broken if name is None else []
    rows = [{"kind": f.entry.kind, "name": f.entry.component.name, "status": f.status, "detail": f.detail} for f in findings]
    rows += [{"kind": "plugin", "name": bad.name, "status": "broken", "detail": f"{bad.reason}; {bad.mend}"} for bad in broken]
    lines = [(row["status"], row["kind"], row["name"], row["detail"]) for row in rows]
    emit({"findings": rows}, as_json=as_json, text=columns(lines))
    refused = {"broken"} if name is None else {"broken", "unavailable"}
    bad_names = [str(row["name"]) for row in rows if row["status"] in refused]
    if bad_names:
        raise PluginError(f"{len(bad_names)} of {len(rows)} failed: {', '.join(bad_names)}; what to do is said beside each")


def _checked(kind: str | None) -> str | None:
    """Return the kind, or refuse it."""
    if kind is not None and kind not in KINDS:
        from wedge.options import suggestion

        raise UsageError(f"unknown kind {kind!r}: {suggestion(kind, KINDS, 'kind')}")
    return kind


def _named(registry: Registry, name: str, kind: str | None) -> list[Entry]:
    """Return the components of that name, else those that the plugin of that name offers."""
    entries = registry.entries(_checked(kind))
    found = [entry for entry in entries if entry.component.name == name]
    found = found or [entry for entry in entries if name in (entry.plugin, entry.distribution)]
    for bad in registry.broken:
        if not found and name in (bad.name, bad.distribution):
            raise PluginError(f"plugin {bad.name!r} of {bad.distribution} failed to load: {bad.reason}; {bad.mend}")
    if not found:
        from wedge.options import suggestion

        raise UsageError(f"unknown plugin {name!r}: {suggestion(name, {entry.component.name for entry in entries}, 'component')}")
    return found


def _summary(registry: Registry, entry: Entry) -> dict[str, Any]:
    """Return what is known of a component without importing its target."""
    try:
        registry.find(entry.kind, entry.component.name)
        reason = unavailable(entry)
    except PluginError as error:
        reason = str(error)
    return {
        "kind": entry.kind,
        "name": entry.component.name,
        "summary": entry.component.summary,
        "plugin": entry.plugin,
        "distribution": entry.distribution,
        "version": entry.version,
        "unavailable": reason,
    }


def _in_brackets(reason: str | None) -> str:
    return f" [{reason}]" if reason else ""


def _page(details: dict[str, Any]) -> str:
    """Write one component for people."""
    lines = [
        f"{details['kind']} {details['name']}: {details['summary']}",
        f"from plugin {details['plugin']} of {details['distribution']} {details['version']}",
        f"not available here: {details['unavailable']}" if details["unavailable"] else "available",
    ]
    for row in details["options"]:
        lines.append(f"  {row['key']}={row['default']:<12} {row['kind']:<24} {row['description']}".rstrip())
    return "\n".join(lines if details["options"] or details["unavailable"] else [*lines, "  no options"])
