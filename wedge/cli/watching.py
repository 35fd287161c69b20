"""``wedge reconstruct --watch``: the page of a fit, served by the fit's own process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import say
from wedge.errors import InterruptedRunError, StoppedError, TerminatedError, UsageError

if TYPE_CHECKING:
    from wedge.pages.run_state import RunState

WatchOption = Annotated[bool, typer.Option("--watch", help="Serve a page of this fit on this machine while it runs; see wedge watch.")]
_STOPPED = (InterruptedRunError, StoppedError, TerminatedError, KeyboardInterrupt)


class FitPage:
    """What the page of a fit shows: before the fit has a folder what it says, then what the folder says, and at last how it ended."""

    def __init__(self, output: Path) -> None:
        self._run: RunState | None = None
        self._title, self._changes = output.name, 0
        self._said: list[str] = []
        self._last: dict[str, Any] = {}

    def follow(self, output: Path) -> None:
        """Show that a fit is being prepared."""
        self._run, self._title, self._said = None, output.name, []
        self._changes += 1

    def tell(self, message: str) -> None:
        """Pass a message on to the terminal and to the page."""
        say(message)
        self._said = [*self._said, message]
        self._changes += 1

    def begin(self, run_dir: Path, output: Path) -> None:
        """Show what is in the folder of the fit from now on."""
        from wedge.pages.run_state import RunState
        from wedge.pages.subject import Subject

        self._run = RunState(Subject(run_dir, output), shows_result=False)

    def finish(self, error: BaseException | None) -> None:
        """Show how it ended."""
        self._last = {"state": "ended"}
        if error is not None:
            state = "interrupted" if isinstance(error, _STOPPED) else "failed"
            self._last = {"state": state, "error": " ".join(str(error).split()) or type(error).__name__}
        self._changes += 1

    def look(self) -> dict[str, Any]:
        """Return the state as plain data."""
        if self._run is not None:
            return self._run.look() | self._last
        stage = [self._said[-1] if self._said else "opening the tilt series", 0, 0]
        command = [Path(sys.argv[0]).name, *sys.argv[1:]]
        return {"state": "preparing", "title": self._title, "stage": stage, "said": self._said, "command": command} | self._last

    def stamp(self) -> str:
        """Return a word that changes with the state."""
        return f"{self._changes} {self._run.stamp() if self._run is not None else ''}"

    def data(self, name: str) -> tuple[str, Any] | None:
        """Return version and content of a picture."""
        return self._run.data(name) if self._run is not None else None


@contextmanager
def served(wanted: bool, port: int | None, output: Path) -> Iterator[FitPage | None]:
    """Serve the page of the fits that the block makes, and tell where it is; None where it is not wanted.

    Raises
    ------
    UsageError
        If the port cannot be had, or is given without need.
    """
    if not wanted:
        if port is not None:
            raise UsageError("--port is of the page that --watch serves: give --watch too")
        yield None
        return
    from wedge.pages.server import PageServer
    from wedge.pages.watch_page import watch_page

    page = FitPage(output)
    server = PageServer(page, watch_page(), port or 0)
    say(f"watch it at {server.address} (from another machine: {server.tunnel})")
    try:
        yield page
        page.finish(None)
    except BaseException as error:
        page.finish(error)
        raise
    finally:
        server.close()
