"""Whose fault an unexpected error is: reads the traceback for code of a plugin."""

import traceback

from wedge.errors import PluginError
from wedge.manifest import Entry
from wedge.registry import Registry, one_line


def plugin_fault(error: BaseException, registry: Registry) -> PluginError | None:
    """Return an error that names the plugin in whose code an error arose; None if it arose in no plugin.

    The innermost frame in a plugin's package counts, also where that called a library or wedge.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        module = str(frame.f_globals.get("__name__", ""))
        owners = [entry for entry in registry.entries() if _package(entry) == module.partition(".")[0]]
        if owners:
            own_class = type(frame.f_locals.get("self"))
            place = f"{own_class.__module__}:{own_class.__qualname__}"
            exact = [entry for entry in owners if entry.component.target == place]
            first = (exact or owners)[0]
            title = first.title if len(exact) == 1 else f"plugin {first.plugin!r} of {first.distribution} {first.version}"
            return PluginError(f"{title} failed: {one_line(error)}; {first.mend}, or see where with --debug")
    return None


def _package(entry: Entry) -> str:
    """Return the import package of a component's target."""
    return entry.component.target.partition(":")[0].partition(".")[0]
