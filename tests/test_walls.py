"""The walls of the design, kept by reading imports."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "wedge").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
PLUGIN_PACKAGES = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())
EXAMPLE_PLUGINS = sorted((ROOT / "examples").glob("*/wedge_*/**/*.py"))
HEAVY = {"torch", "zarr", "odl", "astra"}
LIGHT_MODULES = ["hookspecs", "manifest", "registry", "options", "defaults", "check", "geometry", "errors", "contracts", "plugin_api"]
MAY_PERMUTE = {"slabs.py", "store.py", "formats"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(found: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Yield every module that nodes of a file import, ``import_module("...")`` included, with its line."""
    for node in found:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield str(node.module), node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("import_module", "__import__"):
            yield from ((str(argument.value), node.lineno) for argument in node.args[:1] if isinstance(argument, ast.Constant))


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Return all nodes of a file, read once for all walls."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Hold the nodes of all files no longer than these tests last."""
    yield
    nodes.cache_clear()


@cache
def plugin_names() -> frozenset[str]:
    from wedge.registry import Registry

    registry = Registry.load({"WEDGE_PLUGINS": ""})
    return frozenset(entry.component.name for kind in ("projector", "network", "regularizer") for entry in registry.entries(kind))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_imports_no_plugin(path: Path) -> None:
    forbidden = {"odl", "astra", *PLUGIN_PACKAGES}
    found = [f"{module}, line {line}" for module, line in imports(nodes(path)) if module.split(".")[0] in forbidden]
    assert not found


@pytest.mark.parametrize("path", [path for path in CORE if "cli" not in path.parts], ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    found = [node.lineno for node in nodes(path) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"]
    assert not found
    assert not re.search(r"sys\.stdout\.write|sys\.stderr\.write|rich\.print", path.read_text())


@pytest.mark.parametrize("path", [*PLUGINS, *EXAMPLE_PLUGINS], ids=name)
def test_a_plugin_imports_the_plugin_api_alone_and_no_other_plugin(path: Path) -> None:
    package = path.relative_to(ROOT).parts[1 if "plugins" in path.parts[: len(ROOT.parts) + 1] else 2]
    for module, line in imports(nodes(path)):
        top = module.split(".")[0]
        if top == "wedge":
            assert module == "wedge.plugin_api" or module.startswith("wedge.plugin_api."), f"{module}, line {line}"
        assert not (top.startswith("wedge_") and top != package), f"{module}, line {line}"


def test_the_plugin_wall_sees_what_it_looks_for() -> None:
    source = "import torch, wedge_odl.x\ndef f():\n    from wedge.fit import loop\n    import_module('astra')"
    found = {module for module, _ in imports(ast.walk(ast.parse(source)))}
    assert found >= {"torch", "wedge_odl.x", "wedge.fit", "wedge.fit.loop", "astra"}
    assert len(PLUGINS) > 6
    assert EXAMPLE_PLUGINS


def test_light_modules_load_nothing_heavy() -> None:
    modules = [f"wedge.{module}" for module in LIGHT_MODULES]
    modules += ["wedge", "wedge.testing", *PLUGIN_PACKAGES]
    modules += [f"wedge.cli.{path.stem}" for path in (ROOT / "wedge" / "cli").glob("[!_]*.py")]
    code = (
        "import sys, importlib\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        f"    heavy = [name for name in {sorted(HEAVY)} if name in sys.modules]\n"
        "    assert not heavy, f'{module} loads {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", CORE, ids=name)
def test_axes_are_permuted_at_the_boundary_alone(path: Path) -> None:
    if MAY_PERMUTE & set(path.relative_to(ROOT / "wedge").parts) or "testing" in path.parts:
        return
    calls = [node for node in nodes(path) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    found = [node.lineno for node in calls if node.func.attr in ("permute", "moveaxis", "movedim", "swapaxes", "transpose", "swapdims")]
    assert not found


@pytest.mark.parametrize("path", [*CORE, *PLUGINS], ids=name)
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 50, f"{node.name} has {lines} lines"


def test_there_is_no_drawer_for_everything() -> None:
    assert not [name(path) for path in [*CORE, *PLUGINS] if re.search(r"util|helper|common|misc", path.stem) and "cli" not in path.parts]


@pytest.mark.parametrize("path", [path for path in CORE if path.name not in ("defaults.py",)], ids=name)
def test_the_core_names_no_plugin(path: Path) -> None:
    ambiguous = {"torch", "voxel"}
    names = plugin_names() - ambiguous
    strings = [node for node in nodes(path) if isinstance(node, ast.Constant) and node.value in names]
    assert not [f"{node.value!r}, line {node.lineno}" for node in strings]


def test_the_wheel_packs_every_package_and_every_entry_point_is_one() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packed) == {"wedge", *(f"plugins/{package}" for package in PLUGIN_PACKAGES)}
    assert set(project["project"]["entry-points"]["wedge.plugins"].values()) == set(PLUGIN_PACKAGES)
