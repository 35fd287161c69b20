"""Runs a script of the examples so that the commands of ``wedge`` that it starts are run within its process, which imports torch once.

    python tests/in_one_process.py SCRIPT [ARGUMENTS]

What a command prints and its exit code are what the process of its own would give; its peak memory is that of all.
"""

import io
import runpy
import subprocess
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from wedge.cli import run

_start_process = subprocess.run


def run_within(words: list[Any], **options: Any) -> subprocess.CompletedProcess:
    """Do what ``subprocess.run`` would: here where the words are a call of ``wedge``, and elsewhere as always."""
    if [str(word) for word in words[:3]] != [sys.executable, "-m", "wedge"] or not options.keys() <= {"stdout", "stderr", "text", "check"}:
        return _start_process(words, **options)
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as redirected:
        if options.get("stdout") is not None:
            redirected.enter_context(redirect_stdout(out))
        if options.get("stderr") is not None:
            redirected.enter_context(redirect_stderr(err))
        code = run([str(word) for word in words[3:]])
    done = subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
    if options.get("check"):
        done.check_returncode()
    return done


if __name__ == "__main__":
    subprocess.run = run_within
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
