"""What there is to say of the process of a fit."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

from wedge.plugin_api import process_place, resident_bytes


def process() -> dict[str, Any]:
    """Return the command and who runs it where."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {"command": command, "host": socket.gethostname(), "pid": os.getpid(), "place": process_place()}


def memory(device: str) -> dict[str, Any]:
    """Return the bytes that the process holds now in main memory and, where it uses one, on a GPU."""
    found: dict[str, Any] = {"resident_bytes": resident_bytes()}
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda") and torch.cuda.is_initialized():
        found["device_bytes"] = int(torch.cuda.memory_reserved(device))
    return found
