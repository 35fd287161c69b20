"""Calling what a plugin made: a fault of it is told with its name."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from wedge.errors import PluginError, WedgeError

P = ParamSpec("P")
R = TypeVar("R")


def call_plugin(owner: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of a component, such as ``owner`` = ``"metric 'fsc'"``.

    Raises
    ------
    PluginError
        If it fails; the message names the owner. Its own `WedgeError` and exhausted memory pass as they are.
    """
    try:
        return function(*args, **kwargs)
    except (WedgeError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"{owner} failed: {reason}; choose another, or update its plugin") from error
