"""Commands that run commands, each in a process of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from wedge.cli.common import say
from wedge.errors import WedgeError


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    peak_memory_bytes: int


def run_step(*words: Any, step: str) -> dict[str, Any]:
    """Run one command in a process of its own, so that its peak memory is its own, and return its result; stderr is passed on."""
    arguments = [str(word) for word in words]
    say(f"[{step}] wedge {shlex.join(arguments)}")
    done = _execute([sys.executable, "-m", "wedge", *arguments])
    if done.returncode != 0:
        # The step has said what is wrong.
        error = WedgeError("")
        error.exit_code = done.returncode if done.returncode > 0 else 1
        raise error
    return json.loads(done.stdout)


def _execute(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; it is ended where this one is, and cleans up after itself."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            stdout, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout)


def cost_of(told: dict[str, Any]) -> Cost:
    """Return what a command says that it took."""
    told = told.get("provenance", told)
    return Cost(float(told["seconds"]), int(told["peak_memory_bytes"]))
