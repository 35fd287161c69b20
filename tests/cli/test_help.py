import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wedge import __version__
from wedge.cli import COMMANDS

HEAVY = ("torch", "zarr", "odl", "astra", "matplotlib", "scipy")
COUNT_HEAVY = f"""
import sys
from wedge.cli import run
code = run(sys.argv[1:])
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def heavy_after(*arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_HEAVY, *arguments], capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1]


def test_help_loads_nothing_heavy() -> None:
    assert heavy_after("--help") == "[]"
    assert heavy_after("--version") == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_subcommand_loads_nothing_heavy(name: str) -> None:
    assert heavy_after(name, "--help") == "[]"


def test_help_answers_within_half_a_second() -> None:
    for _ in range(10):
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "wedge", "--help"], capture_output=True, check=True)
        seconds = time.monotonic() - start
        if seconds < 0.5:
            return
    pytest.fail(f"wedge --help took {seconds:.2f} s even at the tenth try")


def test_help_lists_every_command_with_its_line(wedge: Callable) -> None:
    outcome = wedge("--help")
    assert outcome.code == 0
    assert outcome.err == ""
    for name, (_, line) in COMMANDS.items():
        assert any(row.split()[:1] == [name] and line[:30] in row for row in outcome.out.splitlines()), name
    assert wedge().out == outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_options(wedge: Callable, name: str) -> None:
    outcome = wedge(name, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: wedge {name} ")
    assert "Parameters" not in outcome.out


def test_version(wedge: Callable) -> None:
    assert wedge("--version").out == f"wedge {__version__}\n"


COMMAND_PLUGIN = """
    from wedge.plugin_api import Component, hookimpl

    @hookimpl
    def wedge_commands():
        return [
            Component("greet", "Say hello to somebody.", "greeting_body:greet"),
            Component("lost", "Names a module that is not there.", "no_such_module:main"),
            Component("import", "Would replace one of ours.", "greeting_body:greet"),
        ]
"""
GREET = """
import typer

def greet(name: str, loud: bool = False) -> None:
    "Say hello."
    print(f"hello {name.upper() if loud else name}")
"""


@pytest.fixture
def greeting(make_distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    site = make_distribution("greeting", COMMAND_PLUGIN)
    (site / "greeting_body.py").write_text(GREET)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "wedge", *arguments], capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )


def test_commands_of_plugins_are_listed_without_importing_them(greeting: Path) -> None:
    (greeting / "greeting_body.py").write_text("raise RuntimeError('imported')")
    done = command("--help")
    assert done.returncode == 0, done.stderr
    assert "greet             Say hello to somebody." in done.stdout
    assert "lost              Names a module that is not there." in done.stdout


def test_a_command_of_a_plugin_runs(greeting: Path) -> None:
    assert command("greet", "ada", "--loud").stdout == "hello ADA\n"
    assert command("greet", "ada", WEDGE_LOUD="1").stdout == "hello ADA\n"
    assert "Usage: wedge greet" in command("greet", "--help").stdout


def test_a_broken_command_of_a_plugin_is_one_line_and_exit_code_4(greeting: Path) -> None:
    done = command("lost")
    assert done.returncode == 4
    assert done.stderr.startswith("wedge: error: command 'lost' (plugin 'greeting' of greeting 1.0) could not be loaded")
    assert done.stderr.count("\n") == 1


def test_a_plugin_cannot_take_the_place_of_a_command(greeting: Path) -> None:
    assert "Turn a foreign tilt series" in command("--help").stdout
    assert "Would replace" not in command("--help").stdout
    assert command("import", "--help").stdout.startswith("Usage: wedge import ")


def test_the_switch_hides_commands_of_plugins(greeting: Path) -> None:
    assert "greet" not in command("--help", WEDGE_PLUGINS="").stdout
