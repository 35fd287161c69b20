"""Whether a process lives, as far as that can be known without asking anybody."""

import os
import platform
from pathlib import Path


def process_place(pid: int | None = None) -> str:
    """Return a word for a process, this one if None: it changes with the machine, its start, the container and the process's own start.

    It is empty where the system does not say, and where there is no such process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
        # The second field, the name, may hold blanks and brackets; after it the 20th is the start in clock ticks since the machine's.
        begun = Path(f"/proc/{pid or os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{platform.node()} {boot} {namespace} {begun}"


def is_gone(place: object, pid: object) -> bool:
    """Say whether a process that told its place is known to have ended: one of this machine that is there no more."""
    here = process_place()
    if not isinstance(place, str) or not isinstance(pid, int) or not here or place.rpartition(" ")[0] != here.rpartition(" ")[0]:
        return False
    return process_place(pid) != place
