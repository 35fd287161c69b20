"""An observer for TensorBoard."""

from wedge.plugin_api import Component, hookimpl


@hookimpl
def wedge_observers() -> list[Component]:
    """Offer ``tensorboard``."""
    return [
        Component(
            name="tensorboard",
            summary="Scalars, orthoslices and spectra as TensorBoard events in OUT.run/tensorboard",
            target="wedge_tensorboard.observer:TensorBoardObserver",
            options="wedge_tensorboard.observer:TensorBoardOptions",
            requires=("tensorboard",),
        )
    ]
