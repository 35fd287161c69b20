"""``wedge batch``: one command over many tilt series, each in a process of its own, so that a failure ends that one alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import JsonOption, emit, say
from wedge.cli.table import table
from wedge.errors import UsageError

COMMANDS = ("import", "align", "fbp", "reconstruct", "export")
"""Commands of one input and one output."""
_SECONDS_TO_STOP = 60.0
_EXISTS = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one series."""

    series: str
    output: str
    result: str
    exit_code: int
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    message: str = ""


def command(
    name: Annotated[str, typer.Argument(metavar="COMMAND", help=f"What to do with each: {', '.join(COMMANDS)}.")],
    arguments: Annotated[
        list[str], typer.Argument(metavar="SERIES... [-- OPTIONS]", help="The tilt series; after -- the options of the command.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the outputs, named as their series; made.")],
    suffix: Annotated[str, typer.Option("--suffix", help="Format of the outputs: .zarr, .mrc, .rec, .st.")] = ".zarr",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a batch: keep outputs that are there, go on with fits from their checkpoints.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a command over many tilt series, and tell in a table what became of each.

    A failure does not end the others; the exit code is that of the first. Options of the command stand after --, as in:
    wedge batch reconstruct TS_*.zarr -o volumes -- --quality fast
    """
    if name not in COMMANDS:
        raise UsageError(f"wedge batch cannot run {name!r}: expected one of {', '.join(COMMANDS)}")
    first_option = next((place for place, text in enumerate(arguments) if text.startswith("-")), len(arguments))
    series, options = [Path(text) for text in arguments[:first_option]], arguments[first_option:]
    outputs = _outputs(series, output, suffix)
    output.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for place, (each, target) in enumerate(zip(series, outputs, strict=True), start=1):
        say(f"{place}/{len(series)}: wedge {name} {each}")
        outcomes.append(_run(name, each, target, options, resume))
    failed = [outcome for outcome in outcomes if outcome.exit_code]
    emit({"command": name, "options": options, "series": [asdict(outcome) for outcome in outcomes]}, as_json=as_json, text=_text(outcomes))
    if failed:
        say(f"{len(failed)} of {len(outcomes)} failed; mend them and run it again with --resume")
        raise typer.Exit(failed[0].exit_code)


def _outputs(series: Sequence[Path], folder: Path, suffix: str) -> list[Path]:
    """Return where each series' output goes: named for it, with its folder's name where names alone are not unique."""
    if not series:
        raise UsageError("no tilt series: name them before the options, and the options of the command after --")
    if not suffix.startswith("."):
        raise UsageError(f"--suffix {suffix!r}: expected a suffix with its dot, as .mrc")
    names = [path.absolute().stem for path in series]
    if len(set(names)) < len(names):
        names = [f"{path.absolute().parent.name}_{path.stem}" for path in series]
    if twice := {each for each in names if names.count(each) > 1}:
        raise UsageError(f"two series would both be written to {folder / sorted(twice)[0]}{suffix}: name each once, or run them apart")
    return [folder / (each + suffix) for each in names]


def _run(name: str, series: Path, output: Path, options: Sequence[str], resume: bool) -> Outcome:
    if resume and output.exists():
        return Outcome(str(series), str(output), "kept", 0)
    from wedge.fit.checkpoint import CHECKPOINT_NAME

    if resume and name == "reconstruct" and (output.with_name(output.name + ".run") / CHECKPOINT_NAME).exists():
        options = [*_without_settings_files(options), "--resume"]
    call = [sys.executable, "-m", "wedge", name, str(series), "-o", str(output), "--json", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(call, stdout=pipe, stderr=pipe, text=True, errors="replace") as process:
        try:
            message = _show(process)
            told = process.stdout.read() if process.stdout else ""
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
    result = "done" if code == 0 else "exists" if code == _EXISTS else "failed"
    cost = _cost(told) if code == 0 else {}
    return Outcome(str(series), str(output), result, abs(code), message="" if code == 0 else message, **cost)


def _without_settings_files(options: Sequence[str]) -> list[str]:
    """Return the options of a fit without those that a fit that goes on refuses: it has its settings."""
    kept, skip = [], False
    for text in options:
        if not skip and text.partition("=")[0] not in ("--config", "--preset", "--quality"):
            kept.append(text)
        skip = not skip and text in ("--config", "--preset", "--quality")
    return kept


def _stop(process: subprocess.Popen[str]) -> None:
    """End the series that is at work; a fit leaves its checkpoint first."""
    process.terminate()
    try:
        process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()


def _show(process: subprocess.Popen[str]) -> str:
    """Pass on what a process says, and return its last word."""
    last = ""
    for line in process.stderr or ():
        say(f"  {line.rstrip()}")
        last = line.strip() or last
    return re.sub(r"^wedge: error: ", "", last)


def _cost(told: str) -> dict[str, Any]:
    try:
        result = json.loads(told)
    except ValueError:
        return {}
    return {key: result[key] for key in ("seconds", "peak_memory_bytes") if key in result}


def _text(outcomes: Sequence[Outcome]) -> str:
    rows = [
        [
            Path(outcome.series).name,
            outcome.result,
            None if outcome.seconds is None else f"{outcome.seconds:.1f}",
            None if outcome.peak_memory_bytes is None else f"{outcome.peak_memory_bytes / 2**20:.0f}",
        ]
        for outcome in outcomes
    ]
    lines = table(["series", "result", "seconds", "peak MiB"], rows).splitlines()
    ends = ["output", *(outcome.message or outcome.output for outcome in outcomes)]
    widest = max(map(len, lines))
    return "\n".join(f"{line:<{widest}}  {end}" for line, end in zip(lines, ends, strict=True))
