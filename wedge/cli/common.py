"""What the subcommands share: option types, the device, and the two streams. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from wedge.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]", help="Where to compute; auto takes a GPU where there is one.")
]
MaxMemoryOption = Annotated[
    str | None, typer.Option("--max-memory", metavar="SIZE", help="Stay below this much memory on the device: 8GB, 512MiB.")
]
ProjectorOption = Annotated[
    str | None, typer.Option("--projector", metavar="NAME", help="Projector plugin; see wedge plugins list --kind projector.")
]
ProjectorOptOption = Annotated[
    list[str] | None, typer.Option("--projector-opt", metavar="KEY=VALUE", help="Option of the projector; repeat the flag for more.")
]


def resolve_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` means here.

    Raises
    ------
    UsageError
        If the name is none of these.
    DeviceError
        If there is no such GPU.
    """
    kind, colon, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and (kind != "cuda" or not number.isdecimal())):
        raise UsageError(f"unknown device {name!r}: expected auto, cpu, cuda or cuda:N")
    import torch

    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(f"--device {name}: torch finds no GPU here; use --device cpu, or install a torch with CUDA and its driver")
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, numbered from 0; choose another")
    return torch.device("cuda", index)


def device_names(device: str, devices: str | None) -> tuple[str, ...]:
    """Return the devices that ``--device`` or ``--devices`` names; ``all`` are all GPUs.

    Raises
    ------
    UsageError
        If both are given, one is named twice that is no CPU, or kinds are mixed.
    DeviceError
        If there is no such GPU.
    """
    if devices is None:
        return (device,)
    if device != "auto":
        raise UsageError(f"--device {device} and --devices {devices} contradict each other: give one")
    names = [name.strip() for name in devices.split(",") if name.strip()]
    if names == ["all"]:
        import torch

        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if not names:
            raise DeviceError("--devices all: torch finds no GPU here; use --device cpu, or install a torch with CUDA and its driver")
    found = [resolve_device(name) for name in names]
    if not found or len({each.type for each in found}) > 1:
        raise UsageError(f"--devices {devices!r}: expected all, or a list of one kind, as cuda:0,cuda:1 or cpu,cpu")
    if found[0].type != "cpu" and len(set(found)) < len(found):
        raise UsageError(f"--devices {devices}: a GPU is named twice; name each once")
    return tuple(str(each) for each in found)


def emit(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print the result of a command on stdout: ``result`` as JSON, or ``text``. Paths become strings and NaN becomes null."""
    print(json.dumps(_plain(result), indent=2, allow_nan=False) if as_json else text, flush=True)


def say(message: str) -> None:
    """Print a message on stderr."""
    print(message, file=sys.stderr, flush=True)


def _plain(value: Any) -> Any:
    """Make data fit for JSON: numbers that are not finite become null, paths and other things text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item") and getattr(value, "size", None) == 1:
        return _plain(value.item())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return str(value)


class Advance(Protocol):
    """Tells a progress display that work was done."""

    def __call__(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more units and show ``note``."""


@contextmanager
def progress(description: str, total: int, *, seconds_between_lines: float = 5.0) -> Iterator[Advance]:
    """Show how far a long step is, on stderr.

    A bar on a terminal; elsewhere a plain line every few seconds at most, and none for what is quick.

    Parameters
    ----------
    description
        What is going on.
    total
        Units of work.
    seconds_between_lines
        Least time between two plain lines.
    """
    if sys.stderr.isatty():
        yield from _bar(description, total)
        return
    done, last = 0, time.monotonic()

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= seconds_between_lines:
            last = now
            say(f"{description}: {done}/{total}{f' {note}' if note else ''}")

    yield advance


def _bar(description: str, total: int) -> Iterator[Advance]:
    """Show a bar with rich while the caller works."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as display:
        task = display.add_task(description, total=total, note="")
        yield lambda n=1, note="": display.update(task, advance=n, note=note)
