"""What a running fit leaves for whoever watches it, in ``OUT.run/watch``: small files, each replaced at once or not at all."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from wedge.errors import InputError
from wedge.preview import Preview

FOLDER = "watch"
VERSION = 1
_STATE, _CURVES, _SPECTRUM, _PREVIEW = "state.json", "curves.json", "spectrum.json", "preview.bin"
_LARGEST_JSON, _LARGEST_PREVIEW = 2**23, 2**26


class RunFiles:
    """The files in the folder of one run; written by the process of the fit alone, read by anyone, at any time.

    Parameters
    ----------
    folder
        ``OUT.run/watch``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folder; an ``OSError`` where that is refused."""
        self.folder.mkdir(exist_ok=True)

    def write_state(self, state: dict[str, Any]) -> None:
        """Write where the fit is, see `wedge.pages.run_state`."""
        self._write(_STATE, json.dumps({"version": VERSION, **state}).encode())

    def write_curves(self, curves: dict[str, Any]) -> None:
        """Write curves: ``{name: [steps, values]}``."""
        self._write(_CURVES, json.dumps(curves).encode())

    def write_preview(self, preview: Preview, spectrum: dict[str, Any] | None) -> None:
        """Write a preview and, where there is one, its spectrum, see `wedge.pages.spectrum`."""
        if spectrum is not None:
            self._write(_SPECTRUM, json.dumps(spectrum).encode())
        self._write(_PREVIEW, preview.to_bytes())

    def state(self) -> dict[str, Any] | None:
        """Return the state, None where there is none.

        Raises
        ------
        InputError
            If it is damaged, or of a later version of wedge.
        """
        found = self._json(_STATE)
        if found is not None and found.get("version") != VERSION:
            raise InputError(f"{self.folder / _STATE} is of another version of wedge ({found.get('version')}): watch it with that one")
        return found

    def curves(self) -> dict[str, Any] | None:
        """Return what `write_curves` wrote; None and errors as of `state`."""
        return self._json(_CURVES)

    def spectrum(self) -> dict[str, Any] | None:
        """Return the spectrum of the last preview that had one; None and errors as of `state`."""
        return self._json(_SPECTRUM)

    def preview(self) -> bytes | None:
        """Return the message of the last preview, None where there is none.

        Raises
        ------
        InputError
            If it is damaged.
        """
        message = self._read(_PREVIEW, _LARGEST_PREVIEW)
        if message is not None:
            Preview.from_bytes(message)
        return message

    def stamp(self, *names: str) -> str:
        """Return a word that changes whenever ``state``, ``curves``, ``spectrum`` or ``preview`` are replaced."""
        stamps = []
        for name in names:
            try:
                found = (self.folder / {"state": _STATE, "curves": _CURVES, "spectrum": _SPECTRUM, "preview": _PREVIEW}[name]).stat()
                stamps.append(f"{found.st_ino:x}.{found.st_mtime_ns:x}.{found.st_size:x}")
            except OSError:
                stamps.append("none")
        return "-".join(stamps)

    def _write(self, name: str, message: bytes) -> None:
        # Beside and renamed: no reader ever sees half of it.
        partial = self.folder / f"{name}.partial"
        partial.write_bytes(message)
        os.replace(partial, self.folder / name)

    def _read(self, name: str, largest: int) -> bytes | None:
        path = self.folder / name
        try:
            message = self._first_bytes(path, largest + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
        if len(message) > largest:
            raise InputError(f"{path} is damaged: it is larger than any that wedge writes")
        return message

    @staticmethod
    def _first_bytes(path: Path, count: int) -> bytes:
        for last in (False, False, True):
            try:
                with path.open("rb") as file:
                    return file.read(count)
            except OSError as error:
                # On a shared disk a file that is replaced while it is read is no longer there: the new one is.
                if error.errno != errno.ESTALE or last:
                    raise
        raise AssertionError

    def _json(self, name: str) -> dict[str, Any] | None:
        message = self._read(name, _LARGEST_JSON)
        if message is None:
            return None
        try:
            found = json.loads(message)
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise InputError(f"{self.folder / name} is damaged: {str(error).splitlines()[0]}") from error
        return found
