import json
import os
import resource
import subprocess
import sys
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
    """Counted in processor time, which is what the clock shows where nothing else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "wedge", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.5


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

def greet(name: str, loud: bool = False, title: list[str] | None = None) -> None:
    "Say hello."
    print("hello", *(title or []), name.upper() if loud else name)
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


def test_every_option_can_be_an_environment_variable(wedge: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEDGE_KIND", "network")
    monkeypatch.setenv("WEDGE_JSON", "1")
    from_environment = json.loads(wedge("plugins", "list").out)["components"]
    assert {row["kind"] for row in from_environment} == {"network"}
    assert {row["kind"] for row in json.loads(wedge("plugins", "list", "--kind", "metric").out)["components"]} == {"metric"}


def test_flags_that_repeat_split_their_variable_at_blanks(greeting: Path) -> None:
    assert command("greet", "ada", WEDGE_TITLE="Countess Lady").stdout == "hello Countess Lady ada\n"
    assert command("greet", "ada", "--title", "Dr", WEDGE_TITLE="Countess Lady").stdout == "hello Dr ada\n"
