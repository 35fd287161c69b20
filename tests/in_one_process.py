"""Runs a script of the examples so that the commands of ``wedge`` that it starts are run within its process.

    python tests/in_one_process.py SCRIPT [ARGUMENTS]

What a command prints and its exit code are what the process of its own would give; its peak memory is that of all. Tests call
`run_script`: its processes are forked from one that has imported torch, which takes longer than most scripts.
"""

import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
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


def run_script(script: Path, arguments: Sequence[str], environ: dict[str, str], printed: Path) -> int:
    """Run a script in a process of its own, whose output goes to a file; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "scipy.ndimage", "zarr", "wedge.cli", "wedge.fit.reconstruct"])
    job = {"job": {"words": [str(script), *arguments], "environ": environ, "printed": str(printed)}}
    # by its path, since a process that did not start pytest cannot import a module of the tests
    process = context.Process(target=runpy.run_path, args=(__file__, job, "__forked__"))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _forked(words: list[str], environ: dict[str, str], printed: str) -> None:
    """Be a new process that writes to a file, also what code below Python prints."""
    os.environ.clear()
    os.environ.update(environ)
    with open(printed, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        _main(words)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _main(words: list[str]) -> None:
    subprocess.run = run_within
    sys.argv[:] = words
    sys.path[0] = str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _main(sys.argv[1:])
if __name__ == "__forked__":
    _forked(**globals()["job"])
