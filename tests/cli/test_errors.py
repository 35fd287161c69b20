import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from wedge import errors
from wedge.cli import as_wedge_error, run
from wedge.cli.common import emit, progress, resolve_device
from wedge.errors import DeviceError, UsageError, WedgeError
from wedge.formats.views import parse_views

FAILING = """
    from wedge.plugin_api import Component, hookimpl

    @hookimpl
    def wedge_commands():
        return [Component("fail", "Fail in one of many ways.", "failing:fail")]
"""
BODY = """
import os, sys, time, warnings
from wedge import errors

def fail(how: str) -> None:
    "Fail."
    if how == "sleep":
        print("sleeping", flush=True)
        time.sleep(60)
    if how == "flood":
        while True:
            print("water" * 1000)
    if how == "warn":
        warnings.warn("mind the\\ngap", stacklevel=1)
        return
    if how == "bug":
        raise ZeroDivisionError("two\\nlines")
    if how == "missing":
        open("/no/such/file")
    raise getattr(errors, how)("what, where; what to do")
"""


@pytest.fixture
def failing(make_distribution: Callable[..., Path]) -> list[str]:
    site = make_distribution("failing", textwrap.dedent(FAILING) + BODY)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from wedge.cli import main; main()"
    return [sys.executable, "-c", code, "fail"]


def outcome(arguments: list[str], **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **environ}, check=False)
    return done.returncode, done.stdout, done.stderr


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WedgeError)]


def test_exit_codes_are_those_that_were_promised() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "WedgeError": 1,
        "UsageError": 2,
        "InputError": 3,
        "PluginError": 4,
        "OutputExistsError": 5,
        "DeviceError": 6,
        "DivergedError": 7,
        "StoppedError": 75,
        "TerminatedError": 143,
        "InterruptedRunError": 130,
    }


@pytest.mark.parametrize("kind", ["InputError", "DivergedError", "StoppedError"])
def test_an_error_is_one_line_and_its_exit_code(failing: list[str], kind: str) -> None:
    assert outcome([*failing, kind]) == (getattr(errors, kind).exit_code, "", "wedge: error: what, where; what to do\n")


def test_a_fault_of_wedge_is_one_line_that_names_debug(wedge: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("wedge.cli.plugins.emit", bug)
    done = wedge("plugins", "list")
    assert (done.code, done.out) == (1, "")
    assert done.error.startswith("ZeroDivisionError: two lines; run it again with --debug")
    assert done.err.count("\n") == 1


def test_a_fault_in_the_code_of_a_plugin_is_the_plugins(failing: list[str]) -> None:
    code, out, err = outcome([*failing, "bug"])
    assert (code, out) == (4, "")
    assert err.startswith("wedge: error: plugin 'failing' of failing 1.0 failed: ZeroDivisionError: two lines; update failing")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback_wherever_it_stands(failing: list[str]) -> None:
    for arguments in ([*failing, "bug", "--debug"], [*failing[:3], "--debug", *failing[3:], "bug"]):
        code, _, err = outcome(arguments)
        assert code == 4
        assert "Traceback" in err
        assert 'raise ZeroDivisionError("two' in err
    assert "Traceback" in outcome([*failing, "InputError"], WEDGE_DEBUG="1")[2]


def test_a_missing_file_is_bad_input(failing: list[str]) -> None:
    told = "wedge: error: /no/such/file: No such file or directory; check the path and its permissions\n"
    assert outcome([*failing, "missing"]) == (3, "", told)


def test_a_warning_is_one_line(failing: list[str]) -> None:
    assert outcome([*failing, "warn"]) == (0, "", "wedge: warning: mind the gap\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_with_one_line(failing: list[str], number: signal.Signals, code: int) -> None:
    with subprocess.Popen([*failing, "sleep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sleeping\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err.startswith("wedge: error: ")
    assert err.count("\n") == 1


def test_a_closed_pipe_is_no_error(failing: list[str]) -> None:
    with subprocess.Popen([*failing, "flood"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        process.wait(timeout=120)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fpb"], ["unknown command 'fpb'", "did you mean fbp?"]),
        (["--frobnicate"], ["No such option: --frobnicate", "wedge --help"]),
        (["plugins"], ["Missing command", "wedge plugins --help"]),
        (["plugins", "show"], ["Missing argument 'NAME'", "wedge plugins show --help"]),
        (["plugins", "list", "--knid", "metric"], ["No such option: --knid", "--kind"]),
        (["info"], ["Missing argument", "wedge info --help"]),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(wedge: Callable, arguments: list[str], words: list[str]) -> None:
    done = wedge(*arguments)
    assert (done.code, done.out) == (2, "")
    assert all(word in done.error for word in words), done.error
    assert done.err.count("\n") == 1


def test_run_leaves_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(["--version"])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out.zarr"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "out.zarr"), 3),
        (MemoryError(), 6),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), 6),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (RuntimeError("odd"), 1),
        (OSError("odd"), 1),
    ],
)
def test_foreign_errors_get_an_exit_code(error: BaseException, code: int) -> None:
    assert as_wedge_error(error).exit_code == code
    assert str(as_wedge_error(error))


@pytest.mark.parametrize(
    ("text", "views"), [(None, ()), ("", ()), ("3", (3,)), ("0, 3,10-12", (0, 3, 10, 11, 12)), ("1,1,0-2", (1, 0, 2)), ("4-4", (4,))]
)
def test_lists_of_views(text: str | None, views: tuple[int, ...]) -> None:
    assert parse_views(text) == views


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1.5", "1;2", "1-2-3"])
def test_malformed_lists_of_views(text: str) -> None:
    with pytest.raises(UsageError, match="0,3,10-12"):
        parse_views(text)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "auto:1", "", "cuda:"])
def test_malformed_devices(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_devices() -> None:
    import torch

    assert resolve_device("cpu") == torch.device("cpu")
    count = torch.cuda.device_count()
    assert resolve_device("auto").type == ("cuda" if count else "cpu")
    with pytest.raises(DeviceError, match=r"no GPU here|numbered from 0"):
        resolve_device(f"cuda:{count}")


def test_json_has_no_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": float("nan"), "b": [float("inf"), 1.5, True, None], "path": Path("x") / "y", 3: (1,)}, as_json=True, text="")
    plain = {"a": None, "b": [None, 1.5, True, None], "path": "x/y", "3": [1]}
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == plain


def test_progress_off_a_terminal_is_a_plain_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("fitting", 3, seconds_between_lines=0.05) as advance:
        advance()
        time.sleep(0.06)
        advance(note="loss 1")
        advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "fitting: 2/3 loss 1\n"
