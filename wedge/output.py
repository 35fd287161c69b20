"""Outputs that appear whole or not at all: written beside their place under another name, renamed when complete, one writer at a time."""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from wedge.errors import InputError, OutputExistsError, WedgeError

_REMOVAL_TRIES = 50
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write ``path`` into one line.

    Raises
    ------
    InputError
        If the disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in FULL:
            raise InputError(f"disk is full: cannot write {path} ({reason}); free space or choose another place") from error
        raise InputError(f"cannot write {path}: {reason}; choose another place") from error


def is_zarr(folder: Path) -> bool:
    """Say whether a folder is a Zarr store, of format 3 or 2."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def partial_path(path: Path) -> Path:
    """Return where ``path`` is written until it is complete."""
    return path.with_name(path.name + ".partial")


def lock_output(path: Path) -> BaseFileLock:
    """Take the lock of an output, held until released or until the process ends, however it ends.

    Raises
    ------
    OutputExistsError
        If another run is writing the same output.
    InputError
        If the folder is missing or cannot be written.
    """
    if not path.parent.is_dir():
        raise InputError(f"folder of the output does not exist: {path.parent}; create it")
    for folder in path.absolute().parents:
        if is_zarr(folder):
            raise InputError(f"output lies inside the store {folder}: {path}; choose a place outside")
    lock = FileLock(path.with_name(path.name + ".lock"))
    with writing(path):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            if not os.path.lexists(lock.lock_file):
                raise InputError(f"cannot write {path}: its folder takes no files; choose another place") from error
            raise OutputExistsError(f"another run is writing {path}: wait for it or choose another output") from error
    return lock


def release_output(lock: BaseFileLock) -> None:
    """Give a lock of `lock_output` back and remove its file."""
    if lock.is_locked:
        # While it is held: whoever opened the file before this finds it unlinked and starts over.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


class PendingOutput:
    """The claim to one output path: its lock, and the partial file or folder that takes its place.

    Parameters
    ----------
    path
        Where the output will be.
    overwrite
        Whether an existing one is replaced, when the new one is complete and not before.
    lock
        The lock of ``path`` where the caller holds it already; it is then left to the caller.

    Raises
    ------
    OutputExistsError
        If the output exists and ``overwrite`` is false, it is a folder that wedge did not write, or another run is writing it.
    InputError
        If the folder is missing or cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, lock: BaseFileLock | None = None) -> None:
        self.path = path
        self.partial = partial_path(path)
        self._old = path.with_name(path.name + ".old")
        self._own_lock = None if lock is not None else lock_output(path)
        try:
            self._restore_interrupted_replacement()
            refuse_existing(path, overwrite=overwrite)
            with writing(path):
                _remove(self.partial)
        except BaseException:
            self.release()
            raise

    def _restore_interrupted_replacement(self) -> None:
        """Put back the old output that a run left aside when it died between the two renames of `replace`."""
        with writing(self.path):
            if not os.path.lexists(self.path) and self._old.exists():
                self._old.rename(self.path)
            _remove(self._old)

    def replace(self) -> None:
        """Put what was written in its place."""
        with writing(self.path):
            if self.path.is_dir():
                self.path.rename(self._old)
            self.partial.replace(self.path)
            _remove(self._old)
        self.release()

    def discard(self) -> None:
        """Leave nothing behind."""
        for _ in range(_REMOVAL_TRIES):
            with contextlib.suppress(OSError):
                _remove(self.partial)
            if not os.path.lexists(self.partial):
                break
            time.sleep(0.02)  # an interrupted write may still be ending in a thread of zarr's
        self.release()

    def release(self) -> None:
        """Let others write this output."""
        if self._own_lock is not None:
            release_output(self._own_lock)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Refuse an output that is already there.

    Raises
    ------
    OutputExistsError
        If it exists and ``overwrite`` is false, or it is a folder that is no Zarr store: such a folder is never removed.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(f"output exists: {path}; choose another name or give --overwrite")
    if path.is_dir() and not is_zarr(path):
        raise OutputExistsError(f"output is a folder that is no Zarr store, and is not replaced: {path}; choose another name")


def refuse_same(output: Path, *inputs: Path) -> None:
    """Refuse to write over what is read.

    Raises
    ------
    OutputExistsError
        If the output is one of the inputs.
    """
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise OutputExistsError(f"output is also an input: {output}; choose another name")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Sink(Protocol):
    """Where a `Writer` puts rows: one per format."""

    def write_rows(self, y_start: int, block: np.ndarray) -> None:
        """Keep ``(y, z or tilt, x)`` float32 rows from ``y_start``."""

    def write_weights(self, y_start: int, block: np.ndarray) -> None:
        """Keep the weights of ``(y, tilt, x)`` float32 rows from ``y_start``, where the format has room for them."""

    def finish(self, provenance: dict[str, Any]) -> None:
        """Make the partial output complete, and close it."""

    def close(self) -> None:
        """Close without completing; it may be closed already."""


class Writer:
    """Writes a volume or a tilt series row by row; nothing is at the output's place before `commit`.

    Use it as a context manager: leaving it without a commit removes what was written.

    Parameters
    ----------
    output
        The claimed place.
    shape
        ``(z or tilt, y, x)``.
    sink
        The format.
    weighted
        Whether there are weights too.
    """

    def __init__(self, output: PendingOutput, shape: tuple[int, int, int], sink: Sink, weighted: bool = False) -> None:
        self._output, self._sink = output, sink
        self._weights_written = np.zeros(shape[1], dtype=bool) if weighted else None
        self._written = np.zeros(shape[1], dtype=bool)
        self._open = True
        self.shape, self.weighted = shape, weighted

    @property
    def path(self) -> Path:
        """Where the output will be."""
        return self._output.path

    def write_rows(self, y_start: int, block: Any) -> None:
        """Write ``(y, z or tilt, x)`` rows, a NumPy array or a tensor, from ``y_start``. Rows may come in any order.

        Raises
        ------
        InputError
            If the disk is full.
        ValueError
            If the block does not fit.
        """
        self._put(y_start, block, self._sink.write_rows, self._written)

    def write_weights(self, y_start: int, block: Any) -> None:
        """Write the weights of ``(y, tilt, x)`` rows, each from 0 to 1; errors as of `write_rows`."""
        if self._weights_written is None:
            raise ValueError(f"{self.path} takes no weights")
        self._put(y_start, block, self._sink.write_weights, self._weights_written)

    def _put(self, y_start: int, block: Any, write: Callable[[int, np.ndarray], None], written: np.ndarray) -> None:
        rows = np.asarray(block.detach().cpu() if hasattr(block, "detach") else block, dtype=np.float32)
        expected = (self.shape[0], self.shape[2])
        if rows.ndim != 3 or (rows.shape[1], rows.shape[2]) != expected or not 0 <= y_start <= self.shape[1] - rows.shape[0]:
            raise ValueError(f"block {rows.shape} at row {y_start} does not fit an output of (z or tilt, y, x) {self.shape}")
        with writing(self.path):
            write(y_start, rows)
        written[y_start : y_start + rows.shape[0]] = True

    def commit(self, provenance: dict[str, Any]) -> Path:
        """Record how it was made, put the output in its place and return its path.

        Raises
        ------
        InputError
            If the disk is full.
        WedgeError
            If rows were never written.
        """
        missing = np.flatnonzero(~self._written if self._weights_written is None else ~(self._written & self._weights_written))
        if missing.size:
            raise WedgeError(f"{missing.size} rows of {self.path} were never written, the first is {missing[0]}: a fault of the caller")
        try:
            with writing(self.path):
                self._sink.finish(plain_json(provenance))
            self._output.replace()
        except BaseException:
            self.abort()
            raise
        self._open = False
        return self.path

    def abort(self) -> None:
        """Remove what was written. After a commit it does nothing."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                self._sink.close()
            self._output.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.abort()


def plain_json(data: dict[str, Any]) -> dict[str, Any]:
    """Return ``data`` as JSON gives it back; what JSON does not know becomes its text."""
    return json.loads(json.dumps(data, default=str))
