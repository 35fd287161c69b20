"""What a plugin says about itself: reads its hooks, and checks every word before anything of it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pluggy import PluginManager

from wedge import hookspecs
from wedge.contracts import API_VERSION, Component
from wedge.errors import PluginError

HOOK_OF_KIND = {
    "command": "wedge_commands",
    "projector": "wedge_projectors",
    "network": "wedge_networks",
    "regularizer": "wedge_regularizers",
    "observer": "wedge_observers",
    "metric": "wedge_metrics",
}
_NAME = re.compile(r"[a-z0-9-]+")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Entry:
    """A component and where it comes from.

    Parameters
    ----------
    component
        What the plugin's hook returned.
    kind
        ``projector``, ``network``, ``regularizer``, ``metric``, ``observer`` or ``command``.
    plugin
        Name of the entry point.
    distribution, version
        The installed distribution that it belongs to.
    """

    component: Component
    kind: str
    plugin: str
    distribution: str
    version: str

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.kind} {self.component.name!r} (plugin {self.plugin!r} of {self.distribution} {self.version})"

    @property
    def mend(self) -> str:
        """What to do when it fails."""
        return f"update {self.distribution} or choose another {self.kind}"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded.

    Parameters
    ----------
    name
        Of its entry point.
    distribution, version
        Where it comes from.
    reason
        What went wrong, in one line.
    mend
        What to do about it.
    """

    name: str
    distribution: str
    version: str
    reason: str
    mend: str


def read_components(plugin: Any, name: str, distribution: str, version: str) -> list[Entry]:
    """Ask a plugin's hooks what it offers.

    Parameters
    ----------
    plugin
        The module or object that the entry point names; ``WEDGE_API = (major, minor)`` in it says what it was made for.
    name
        Of the entry point.
    distribution, version
        Where it comes from.

    Raises
    ------
    PluginError
        If it was made for another API, has no hook or an unknown one, or a hook returns what is not a list of sound components.
    """
    check_api(getattr(plugin, "WEDGE_API", API_VERSION))
    manager = PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if caller.spec is None:
            near = get_close_matches(caller.name, HOOK_OF_KIND.values(), n=1)
            raise PluginError(f"unknown hook {caller.name}{f': did you mean {near[0]}?' if near else ''}")
    if not callers:
        raise PluginError("offers nothing: no function in it is marked with hookimpl")
    entries: list[Entry] = []
    kinds = {hook: kind for kind, hook in HOOK_OF_KIND.items()}
    for caller in callers:
        for implementation in caller.get_hookimpls():
            offer = check_offer(caller.name, implementation.function())
            entries += [Entry(component, kinds[caller.name], name, distribution, version) for component in offer]
    return entries


def check_api(wanted: Any) -> None:
    """Refuse a plugin made for another major version of the contracts, or for a later minor one.

    Raises
    ------
    PluginError
        If the version is refused or is not a pair of integers.
    """
    if not (isinstance(wanted, tuple) and len(wanted) == 2 and all(isinstance(part, int) for part in wanted)):
        raise PluginError(f"WEDGE_API is {wanted!r}: expected (major, minor)")
    if wanted[0] != API_VERSION[0] or wanted[1] > API_VERSION[1]:
        have, want = (".".join(map(str, pair)) for pair in (API_VERSION, wanted))
        raise PluginError(f"made for plugin API {want}, this wedge has {have}")


def check_offer(hook: str, offer: Any) -> list[Component]:
    """Return what a hook returned, once every component in it is sound.

    Raises
    ------
    PluginError
        If it is not a list of components, or a name, summary, target, option model or requirement is malformed.
    """
    if not isinstance(offer, list | tuple) or not all(isinstance(item, Component) for item in offer):
        raise PluginError(f"{hook} returned {type(offer).__name__}: expected a list of Component")
    for item in offer:
        where = f"{hook}: component {item.name!r}"
        if not (isinstance(item.name, str) and _NAME.fullmatch(item.name)):
            raise PluginError(f"{where}: a name consists of a-z, 0-9 and dashes")
        if not (isinstance(item.summary, str) and item.summary.strip() and "\n" not in item.summary):
            raise PluginError(f"{where}: the summary is not one line of text")
        for label, target in (("target", item.target), ("options", item.options), ("probe", item.probe)):
            if (target is not None or label == "target") and not (isinstance(target, str) and _TARGET.fullmatch(target)):
                raise PluginError(f"{where}: {label} is {target!r}: expected 'package.module:name'")
        if isinstance(item.requires, str) or not all(isinstance(name, str) and name for name in item.requires):
            raise PluginError(f"{where}: requires is {item.requires!r}: expected a tuple of distribution names")
    return list(offer)
