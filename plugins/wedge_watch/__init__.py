"""An observer for whoever wants to watch a fit."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_observers() -> list[Component]:
    """Offer ``watch``."""
    return [
        Component(
            name="watch",
            summary="Previews, curves and progress for wedge watch, in OUT.run/watch; at most 5 % of the fit's time",
            target="wedge_watch.observer:WatchObserver",
            options="wedge_watch.options:WatchOptions",
        )
    ]
