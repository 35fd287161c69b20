"""Runs a script of the examples, and the commands of ``wedge`` that it starts, in one process forked from one that has imported torch.

Importing it takes longer than most scripts. What a command prints and its exit code are what the process of its own would give; its peak
memory is that of all.
"""

import io
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

_start_process = subprocess.run


def run_within(words: list[Any], **options: Any) -> subprocess.CompletedProcess:
    """Do what ``subprocess.run`` would: here where the words are a call of ``wedge``, and elsewhere as always."""
    if [str(word) for word in words[:3]] != [sys.executable, "-m", "wedge"] or not options.keys() <= {"stdout", "stderr", "text", "check"}:
        return _start_process(words, **options)
    from wedge.cli import run

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


def run_script(script: Path, arguments: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess:
    """Run a script in a process of its own; return its exit code and what it printed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "scipy.ndimage", "zarr", "wedge.cli", "wedge.fit.reconstruct"])
    printed = [script.with_suffix(suffix) for suffix in (".out", ".err")]
    words = [str(script), *arguments]
    job = {"job": {"words": words, "environ": environ, "printed": [str(path) for path in printed]}}
    # by its path, since a process that did not start pytest cannot import a module of the tests
    process = context.Process(target=runpy.run_path, args=(__file__, job, "__forked__"))
    process.start()
    process.join()
    assert process.exitcode is not None
    return subprocess.CompletedProcess(words, process.exitcode, *(path.read_text() for path in printed))


def _forked(words: list[str], environ: dict[str, str], printed: list[str]) -> None:
    """Run the script with its output, also of code below Python, in files."""
    os.environ.clear()
    os.environ.update(environ)
    for stream, path in enumerate(printed, start=1):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream)
    subprocess.run = run_within
    sys.argv[:] = words
    sys.path[0] = str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__forked__":
    _forked(**globals()["job"])
