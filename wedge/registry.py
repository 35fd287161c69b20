"""Which plugins there are. Entry points load one by one: a broken plugin is reported and never disturbs the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Any

from wedge.contracts import Component
from wedge.errors import PluginError, UsageError, WedgeError, is_out_of_memory
from wedge.manifest import HOOK_OF_KIND, BrokenPlugin, Entry, read_components

GROUP = "wedge.plugins"
FIRST_PARTY = "wedge-tomo"
KINDS = tuple(HOOK_OF_KIND)


@dataclass(frozen=True)
class Resolved:
    """A chosen component, imported, with its options.

    Parameters
    ----------
    entry
        Where it comes from.
    cls
        The imported target.
    options
        An instance of its option model, or None where it has none.
    """

    entry: Entry
    cls: Any
    options: Any

    def build(self, *args: Any) -> Any:
        """Build the component; the options are put where the contract wants them.

        Parameters
        ----------
        *args
            The other arguments of its contract: ``(geometry, device)`` for a projector, ``(field_box,)`` for a network, ``(geometry,)`` for
            a regularizer, nothing for a metric or an observer.

        Raises
        ------
        PluginError
            If the component cannot be built; a `WedgeError` of its own passes as it is.
        """
        try:
            return self.cls(*args[:1], self.options, *args[1:])
        except WedgeError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise PluginError(f"{self.entry.title} could not be built: {one_line(error)}; {self.entry.mend}") from error


@dataclass
class Registry:
    """The components of all plugins that loaded, and the plugins that did not.

    Parameters
    ----------
    broken
        Plugins that could not be loaded.
    disabled
        Names of the entry points that ``WEDGE_PLUGINS`` keeps out.
    """

    broken: list[BrokenPlugin] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    _entries: list[Entry] = field(default_factory=list)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, points: Iterable[metadata.EntryPoint] | None = None) -> Registry:
        """Load every plugin that is switched on; never fails because of one.

        Parameters
        ----------
        environ
            Where ``WEDGE_PLUGINS`` is looked up: unset, all plugins; a comma-separated list of entry points or distributions, only those;
            empty, none. The first-party ones always load.
        points
            The entry points; by default those of every installed distribution.
        """
        registry = cls()
        chosen = environ.get("WEDGE_PLUGINS")
        wanted = None if chosen is None else {name.strip() for name in chosen.split(",") if name.strip()}
        unseen = set(wanted or ())
        origins = _origins(list(points) if points is not None else list(metadata.entry_points(group=GROUP)))
        for point, (distribution, version) in sorted(origins, key=lambda found: (found[0].name, found[1][0])):
            unseen -= {point.name, distribution}
            if wanted is not None and distribution != FIRST_PARTY and not wanted & {point.name, distribution}:
                registry.disabled.append(point.name)
                continue
            try:
                with redirect_stdout(sys.stderr):
                    registry._entries += read_components(point.load(), point.name, distribution, version)
            except (Exception, SystemExit) as error:
                mend = f"update or uninstall {distribution}, or leave it out with WEDGE_PLUGINS"
                mend = f"install {FIRST_PARTY} again" if distribution == FIRST_PARTY else mend
                registry.broken.append(BrokenPlugin(point.name, distribution, version, one_line(error), mend))
        for name in sorted(unseen):
            registry.broken.append(
                BrokenPlugin(name, "not installed", "", "named in WEDGE_PLUGINS but not installed", "install it or correct WEDGE_PLUGINS")
            )
        return registry

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return what the plugins offer, of one kind or of all, sorted by kind and name."""
        found = [entry for entry in self._entries if kind in (None, entry.kind)]
        return sorted(found, key=lambda entry: (KINDS.index(entry.kind), entry.component.name, entry.distribution))

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, each once."""
        return list(dict.fromkeys(entry.component.name for entry in self.entries(kind)))

    def find(self, kind: str, name: str) -> Entry:
        """Return the one component of that kind and name.

        Raises
        ------
        UsageError
            If there is none; the message gives the nearest names.
        PluginError
            If a plugin of that name is broken, or two plugins own the name; the message names both.
        """
        owners = [entry for entry in self.entries(kind) if entry.component.name == name]
        if len(owners) == 1:
            return owners[0]
        if owners:
            both = " and ".join(f"{owner.plugin!r} of {owner.distribution} {owner.version}" for owner in owners)
            raise PluginError(f"{kind} {name!r} has {len(owners)} owners: {both}; uninstall one, or choose with WEDGE_PLUGINS")
        for plugin in self.broken:
            if name in (plugin.name, plugin.distribution):
                raise PluginError(f"plugin {plugin.name!r} of {plugin.distribution} failed to load: {plugin.reason}; {plugin.mend}")
        from wedge.options import suggestion

        message = f"unknown {kind} {name!r}: {suggestion(name, self.names(kind), kind)}"
        if self.broken:
            message += f"; plugins that failed to load: {', '.join(p.name for p in self.broken)} (see wedge plugins check)"
        if self.disabled:
            message += f"; kept out by WEDGE_PLUGINS: {', '.join(self.disabled)}"
        raise UsageError(message)

    def resolve(self, kind: str, name: str, settings: Mapping[str, Any] | None = None) -> Resolved:
        """Import a component and validate its options.

        Parameters
        ----------
        kind, name
            Which component.
        settings
            Its options: strings from the command line, or typed values.

        Raises
        ------
        UsageError
            If the component or an option is unknown, or a value does not fit.
        PluginError
            If the component is not available here or cannot be imported.
        """
        from wedge.options import build_options

        entry = self.find(kind, name)
        if reason := unavailable(entry):
            raise PluginError(f"{entry.title} is not available: {reason}")
        options = build_options(option_model(entry), settings or {}, f"{kind} {name}")
        return Resolved(entry, load_target(entry, entry.component.target), options)


def unavailable(entry: Entry) -> str | None:
    """Return why a component cannot be used here and what to do, or None where it can; imports only its probe."""
    missing = [name for name in entry.component.requires if not _installed(name)]
    if missing:
        return f"{', '.join(missing)} not installed; pip install {' '.join(missing)}"
    if entry.component.probe is None:
        return None
    try:
        answer = load_target(entry, entry.component.probe)()
    except Exception as error:
        return f"its probe failed: {one_line(error)}; {entry.mend}"
    return None if answer is None else " ".join(str(answer).split())


def option_model(entry: Entry) -> Any:
    """Import the option model of a component; None where it has no options.

    Raises
    ------
    PluginError
        If it cannot be imported or is no pydantic model.
    """
    if entry.component.options is None:
        return None
    from pydantic import BaseModel

    model = load_target(entry, entry.component.options)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(f"{entry.title}: {entry.component.options} is not a pydantic model; {entry.mend}")
    return model


def load_target(entry: Entry, target: str) -> Any:
    """Import ``"package.module:name"`` on behalf of a component.

    Raises
    ------
    PluginError
        If that fails; the message names the plugin and what to do.
    """
    module, _, attribute = target.partition(":")
    try:
        with redirect_stdout(sys.stderr):
            found: Any = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
            return found
    except (Exception, SystemExit) as error:
        raise PluginError(f"{entry.title} could not be loaded: {one_line(error)}; {entry.mend}") from error


def one_line(error: BaseException) -> str:
    """Put an error into one line: its kind, unless it is one of wedge's own, and what it says."""
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, WedgeError) else f"{type(error).__name__}: {text}"


def _origins(points: list[metadata.EntryPoint]) -> list[tuple[metadata.EntryPoint, tuple[str, str]]]:
    """Return entry points, each with the name and version of its distribution, of which the metadata are read once."""
    known: dict[int, tuple[str, str]] = {}

    def origin(distribution: metadata.Distribution | None) -> tuple[str, str]:
        if distribution is None:
            return "unknown distribution", ""
        if id(distribution) not in known:
            known[id(distribution)] = (distribution.name, distribution.version)
        return known[id(distribution)]

    return [(point, origin(point.dist)) for point in points]


def _installed(name: str) -> bool:
    """Say whether a distribution is installed."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


__all__ = [
    "KINDS",
    "BrokenPlugin",
    "Component",
    "Entry",
    "Registry",
    "Resolved",
    "load_target",
    "one_line",
    "option_model",
    "unavailable",
]
