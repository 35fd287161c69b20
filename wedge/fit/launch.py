"""Starting the processes of a team, one a device, and hearing what became of them."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from wedge.errors import DeviceError, WedgeError

_READY, _DONE = "ready", "done"
_GRACE_SECONDS = 30.0  # to clean up after itself


@contextmanager
def followers(follow: Callable[[int, Path, Callable[[], None]], None], devices: list[str]) -> Iterator[Path]:
    """Run ``follow(rank, store, ready)`` in a process for each device but the first, and give the file at which the team meets.

    ``follow`` is to call ``ready`` once it has opened all that it needs: only then does the block begin.

    Raises
    ------
    WedgeError
        What one of them raised, with its device; also in place of the error that its end causes here.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="wedge-team-") as folder:
        store = Path(folder) / "store"
        pipes, processes = [], []
        with _quiet_tracker():
            for rank in range(1, len(devices)):
                here, there = context.Pipe(duplex=False)
                processes.append(context.Process(target=_run, args=(follow, rank, len(devices), store, there), daemon=True))
                processes[-1].start()
                there.close()
                pipes.append(here)
        try:
            for device, pipe in zip(devices[1:], pipes, strict=True):
                if (told := _hear(pipe)) != _READY:
                    raise _failure(device, told)
            threads = torch.get_num_threads()
            torch.set_num_threads(max(1, threads // len(devices)))
            try:
                yield store
            except Exception as error:
                told = [(device, _hear(pipe)) for device, pipe in zip(devices[1:], pipes, strict=True) if pipe.poll(1.0)]
                failed = [(device, words) for device, words in told if words != _DONE]
                if failed and not isinstance(error, WedgeError):
                    raise _failure(*failed[0]) from error
                raise
            finally:
                torch.set_num_threads(threads)
            for process in processes:
                process.join(_GRACE_SECONDS)
        finally:
            for process in processes:
                process.kill()
                process.join()


@contextmanager
def _quiet_tracker() -> Iterator[None]:
    """Keep multiprocessing's tracker, which starts with the first process, from telling what those leave that are ended on purpose."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, "ignore:resource_tracker"]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONWARNINGS") if before is None else os.environ.update(PYTHONWARNINGS=before)


def _hear(pipe: Connection) -> Any:
    """Return what a process says, None where it ended without a word."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def _failure(device: str, told: Any) -> WedgeError:
    if isinstance(told, WedgeError):
        return type(told)(f"{device}: {told}")
    return DeviceError(f"{device}: its process ended ({told or 'killed, perhaps for want of memory'}); leave it out of --devices")


def _run(follow: Callable[[int, Path, Callable[[], None]], None], rank: int, size: int, store: Path, pipe: Connection) -> None:
    """Do a follower's work; its errors go to the one that leads, which also answers signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(max(1, torch.get_num_threads() // size))
    try:
        follow(rank, store, lambda: pipe.send(_READY))
        pipe.send(_DONE)
    except WedgeError as error:
        pipe.send(error)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
