"""The hooks, in the order of a run. Each returns metadata only; nothing heavy may be imported to answer."""

from pluggy import HookimplMarker, HookspecMarker

from wedge.contracts import Component

PROJECT_NAME = "wedge"
hookspec = HookspecMarker(PROJECT_NAME)
hookimpl = HookimplMarker(PROJECT_NAME)


@hookspec
def wedge_commands() -> list[Component]:
    """Offer whole subcommands: ``target`` is a function that Typer can make a command of."""
    raise AssertionError("a hook specification is not called")


@hookspec
def wedge_projectors() -> list[Component]:
    """Offer projectors, see `wedge.contracts.Projector`."""
    raise AssertionError("a hook specification is not called")


@hookspec
def wedge_networks() -> list[Component]:
    """Offer networks, see `wedge.contracts.Network`."""
    raise AssertionError("a hook specification is not called")


@hookspec
def wedge_regularizers() -> list[Component]:
    """Offer regularizers, see `wedge.contracts.Regularizer`."""
    raise AssertionError("a hook specification is not called")


@hookspec
def wedge_observers() -> list[Component]:
    """Offer observers, see `wedge.contracts.Observer`."""
    raise AssertionError("a hook specification is not called")


@hookspec
def wedge_metrics() -> list[Component]:
    """Offer metrics, see `wedge.contracts.SliceMetric` and `VolumeMetric`."""
    raise AssertionError("a hook specification is not called")
