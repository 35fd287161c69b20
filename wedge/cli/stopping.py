"""A fit at the terminal: how it is stopped, and how it shows where it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wedge.cli.common import progress, say
from wedge.errors import InterruptedRunError, TerminatedError

if TYPE_CHECKING:
    from wedge.fit.loop import StopRequest


@contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the fit after its step; a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        if stop.reason is not None:
            raise (
                InterruptedRunError("interrupted again: stopped at once")
                if number == signal.SIGINT
                else TerminatedError("ended by SIGTERM")
            )
        stop.reason = name
        say(f"{name}: finishing this step and writing a checkpoint; once more to stop at once")

    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def fit_progress() -> Iterator[Any]:
    """Show steps and loss; made when the number of steps is known."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        state: dict[str, Any] = {"done": 0}

        def show(done: int, total: int, loss: float) -> None:
            if "advance" not in state:
                state["advance"] = stack.enter_context(progress("fitting", total))
            state["advance"](done - state["done"], f"loss {loss:.4g}" if loss == loss else "writing")
            state["done"] = done

        yield show
