"""What the documents say is there, and works."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from wedge.cli import COMMANDS, app
from wedge.manifest import HOOK_OF_KIND
from wedge.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
GUIDE = (ROOT / "docs" / "plugins.md").read_text()
ALL_PAGES = "\n".join(page.read_text() for page in PAGES)


def command_lines() -> list[tuple[str, str]]:
    """Return every line of code that runs ``wedge``, continuation lines joined, with its page."""
    found = []
    for page in PAGES:
        fenced = False
        for line in page.read_text().replace("\\\n", " ").splitlines():
            fenced ^= line.startswith("```")
            code = line.strip().removeprefix("$ ")
            if (fenced or line.startswith("    ")) and re.match(r"wedge(\s|$)", code):
                found.append((page.name, code))
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_line_names_a_command_and_options_that_exist(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))]
    if not words or words[0].startswith("-"):
        return
    group = typer.main.get_command(app)
    context = group.make_context("wedge", list(words))
    _, command, rest = group.resolve_command(context, list(words))
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help",
        "-h",
        "--debug",
    }
    used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert used <= known, f"{page}: {line}"


def test_command_lines_are_found() -> None:
    assert any(line.startswith("wedge reconstruct") for page, line in command_lines() if page == "plugins.md")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"\bwedge {command}\b", ALL_PAGES), f"no page mentions wedge {command}"


@pytest.mark.parametrize("entry", Registry.load({"WEDGE_PLUGINS": ""}).entries(), ids=lambda entry: f"{entry.kind}-{entry.component.name}")
def test_every_component_is_documented(entry: object) -> None:
    assert f"`{entry.component.name}`" in ALL_PAGES, f"no page mentions the {entry.kind} `{entry.component.name}`"


@pytest.mark.parametrize("hook", HOOK_OF_KIND.values())
def test_every_hook_is_documented(hook: str) -> None:
    assert f"`{hook}`" in GUIDE


def test_every_law_class_is_documented() -> None:
    from wedge import testing

    assert all(f"`{name}`" in GUIDE for name in testing.__all__)


def test_every_field_of_a_component_is_documented() -> None:
    from dataclasses import fields

    from wedge.contracts import Component

    assert all(f"| `{field.name}` |" in GUIDE for field in fields(Component))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def guide_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the guide, installed as a distribution."""
    site = tmp_path_factory.mktemp("guide")
    for name, text in re.findall(r"^```python file=(\S+)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    project = re.search(r"^```toml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert project is not None
    entry = re.search(r"^smooth = \"(\w+)\"$", project[1], re.MULTILINE)
    assert entry is not None
    info = site / "wedge_smooth-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wedge-smooth\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wedge.plugins]\nsmooth = {entry[1]}\n")
    return site


def python(site: Path, *arguments: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, *arguments], cwd=site, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_of_the_guide_works(guide_plugin: Path) -> None:
    assert "Mean squared difference" in python(guide_plugin, "-m", "wedge", "plugins", "list", "--kind", "regularizer")
    assert "lag=1" in python(guide_plugin, "-m", "wedge", "plugins", "show", "smooth")
    assert python(guide_plugin, "-m", "wedge", "plugins", "check", "smooth").startswith("ok")


def test_the_plugin_of_the_guide_obeys_the_laws(guide_plugin: Path) -> None:
    options = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:odl_plugins", "-c", os.devnull)
    assert " passed" in python(guide_plugin, *options, "test_smooth.py")


def test_the_guide_is_as_short_as_it_says() -> None:
    files = re.findall(r"^```python file=wedge_smooth\S+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert sum(bool(line.strip()) for text in files for line in text.splitlines()) <= 30
    for text in files:
        ast.parse(text)


def test_every_exit_code_is_documented() -> None:
    from wedge import errors

    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.WedgeError)}
    page = (ROOT / "docs" / "reference.md").read_text().partition("## Exit codes")[2]
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} - {0}


def test_defaults_are_documented() -> None:
    from wedge.defaults import load_defaults

    choices = load_defaults()
    assert all(f"`{choices[kind]}` (default)" in ALL_PAGES for kind in ("projector", "network"))


def test_every_setting_of_a_fit_is_documented_and_valid() -> None:
    import tomllib

    from wedge.fit.config import DataTermConfig, FitConfig, RegularizerChoice
    from wedge.fit.settings import resolve_plugins, validate

    block = re.search(r"^```toml\n(.*?)^```", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    settings = tomllib.loads(block[1])
    resolve_plugins(validate(settings), Registry.load({"WEDGE_PLUGINS": ""}))
    assert settings.keys() == FitConfig.model_fields.keys()
    assert settings["data_term"].keys() == DataTermConfig.model_fields.keys()
    assert settings["regularizers"][0].keys() == RegularizerChoice.model_fields.keys()
