"""``wedge watch``: a page on a run, or on a volume."""

from pathlib import Path
from typing import Annotated

import typer

from wedge.cli.common import JsonOption, emit, say

PortOption = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, metavar="NUMBER", help="Port of the page on this machine; default: a free one.")
]
_PICTURE_SECONDS = 600.0


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder OUT.run of a fit, running or not; its output; or any volume.")],
    port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run on a page: its volume, slices, spectrum, curves and progress, renewed while it goes on.

    The page is served to this machine alone, at an address that holds a secret word, until Ctrl-C. It reads files only: the run may be
    another machine's, on a shared disk.
    """
    from wedge.pages.run_state import run_state_of

    watched = run_state_of(run)
    state = watched.look()
    if as_json:
        watched.settle(_PICTURE_SECONDS)
        emit(watched.look(), as_json=True, text="")
        return
    import threading

    from wedge.pages.server import PageServer
    from wedge.pages.watch_page import watch_page

    server = PageServer(watched, watch_page(), port or 0)
    try:
        emit({}, as_json=False, text=server.address)
        say(f"{state['state']}; from another machine: {server.tunnel}; Ctrl-C ends")
        threading.Event().wait()
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.close()
