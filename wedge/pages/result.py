"""The picture of a finished volume, made once, in a thread: a large one without coarser copies takes a while to read."""

import json
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from wedge.errors import WedgeError


def made_until(path: Path) -> float | None:
    """Return when a volume was done, in seconds since 1970 by the clock of the machine that made it; None where its record does not say."""
    try:
        places = [path / "zarr.json", path / ".zattrs"] if path.is_dir() else [path.with_name(path.name + ".json")]
        data = json.loads(next(place for place in places if place.exists()).read_text())
        record = data.get("attributes", data)["wedge"]["provenance"]
        return datetime.fromisoformat(record["started"]).timestamp() + float(record["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None


class ResultPicture:
    """A volume's preview and spectrum.

    Parameters
    ----------
    path
        The volume.
    key
        Another one for another volume at the same place.
    """

    def __init__(self, path: Path, key: str = "") -> None:
        self.path, self.key = path, key
        self.preview: bytes | None = None
        self.spectrum: dict[str, Any] | None = None
        self.facts: dict[str, Any] = {}
        self.note, self.error, self.version = "reading the volume", "", 0
        self._thread = threading.Thread(target=self._make, name="wedge-result", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until it is made."""
        self._thread.join(seconds)

    def _make(self) -> None:
        try:
            from wedge import formats
            from wedge.pages.spectrum import middle_spectrum
            from wedge.preview import LONGEST_SIDE, preview_of

            volume = formats.open_volume(self.path)
            shape = tuple(int(count) for count in volume.array.shape)
            command = volume.provenance.get("command")
            self.facts = {"shape": list(shape), "voxel_size_angstrom": volume.voxel_size_angstrom, "command": command}
            if max(shape) > LONGEST_SIDE and not volume.coarser:
                self.note = "reading the volume: it has no coarser copy, and all of it is read once to be binned"
            preview = preview_of(volume)
            factor = max(preview.spacing_voxels)
            self.preview, self.version = preview.to_bytes(), self.version + 1
            self.note = f"shown binned by {factor:g}" if factor > 1 else ""
            self.spectrum = middle_spectrum(volume)
        except WedgeError as error:
            self.error = str(error)
        except (OSError, ValueError, MemoryError) as error:
            self.error = f"{self.path} cannot be shown: {' '.join(str(error).split())}"
        self.version += 1
