"""How an output was made: command, configuration, versions, inputs, device, time and peak memory."""

import hashlib
import platform
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import wedge
from wedge.errors import InputError

_HASH_BLOCK = 4 * 2**20
_CORE_DISTRIBUTIONS = ("torch", "numpy", "zarr")


class RunClock:
    """Counts the seconds of a run from its construction, and writes the record of it."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._started_at = datetime.now(UTC)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def record(
        self,
        command: Sequence[str],
        config: dict[str, Any],
        seed: int | None = None,
        inputs: Iterable[str | Path] = (),
        device: str = "cpu",
        distributions: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return everything that is needed to know, and to repeat, how an output was made; plain data that JSON can hold.

        Parameters
        ----------
        command
            The words of the command line.
        config
            The resolved configuration.
        seed
            Of all random draws, or None where there are none.
        inputs
            Files and stores that were read; each is hashed.
        device
            ``"cpu"``, ``"cuda:0"``, ...; recorded with the hardware's name.
        distributions
            Of the plugins that took part, to record their versions.

        Raises
        ------
        InputError
            If an input has vanished meanwhile.
        """
        return {
            "command": [Path(word).name if place == 0 else str(word) for place, word in enumerate(command)],
            "config": config,
            "seed": seed,
            "versions": versions(distributions),
            "inputs": [{"path": str(path), "blake2b": input_hash(path)} for path in inputs],
            "device": device,
            "device_name": device_name(device),
            "started": self._started_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "device_peak_memory_bytes": device_peak_memory_bytes(device),
        }


def cost_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says of the cost: seconds, bytes of the process and, where there was one, bytes of the GPU."""
    keys = ("seconds", "peak_memory_bytes", "device_peak_memory_bytes")
    return {key: record[key] for key in keys if record.get(key) is not None}


def input_hash(path: str | Path) -> str:
    """Return the BLAKE2b hash, 128 bits in hexadecimal, of a file, or of a folder's files and their relative names in sorted order.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = Path(path)
    digest = hashlib.blake2b(digest_size=16)
    try:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if file != path:
                digest.update(file.relative_to(path).as_posix().encode() + b"\0" + str(file.stat().st_size).encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(_HASH_BLOCK):
                    digest.update(block)
    except OSError as error:
        raise InputError(f"cannot read input {path}: {error.strerror}; check the path") from error
    return digest.hexdigest()


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, wedge, its main libraries and the named distributions; what is not installed is left out."""
    found = {"python": platform.python_version(), "wedge": wedge.__version__}
    for name in (*_CORE_DISTRIBUTIONS, *distributions):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: str) -> str:
    """Return the name of the processor or of the GPU."""
    if device.startswith("cuda") and (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    # getrusage comes second: on Linux its figure starts from that of the process which started this one.
    if (peak := _status_bytes("VmHWM")) is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_bytes() -> int:
    """Return the resident memory that this process has now; where the system does not say, its largest so far."""
    resident = _status_bytes("VmRSS")
    return peak_memory_bytes() if resident is None else resident


def _status_bytes(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def device_peak_memory_bytes(device: str) -> int | None:
    """Return the largest memory that torch has held on a GPU, or None where none was used."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated(device))
