"""``wedge plan``: what a fit will take, before it begins."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_type_hints

from wedge.cli import reconstruct

_OF_A_RUN = ("output", "std", "observer", "resume", "stop_now", "checkpoint_seconds", "overwrite", "dry_run", "devices")


def command(**given: Any) -> None:
    """Tell how long a reconstruction will take on this machine, and how much memory, from a few of its steps.

    Takes the options of wedge reconstruct.
    """
    reconstruct.command(output=Path(), dry_run=True, **given)


def _like_reconstruct() -> None:
    """Give this command the options of ``wedge reconstruct``, but for what belongs to a run."""
    hints = get_type_hints(reconstruct.command, include_extras=True)
    kept = [p for p in inspect.signature(reconstruct.command).parameters.values() if p.name not in _OF_A_RUN]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY) for parameter in kept]
    )
    command.__annotations__ = {parameter.name: hints[parameter.name] for parameter in kept} | {"return": None}


_like_reconstruct()
