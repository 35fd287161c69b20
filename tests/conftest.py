"""Fixtures that all tests may use."""

import gc
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """Spare the garbage collector, which memory is measured after, the thousands of tests and all that was imported for them."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line; fails where there is none, or more than one."""
        lines = [line for line in self.err.splitlines() if line.startswith("wedge: error: ")]
        assert len(lines) == 1, f"expected one error line, got {self.err!r}"
        assert "Traceback" not in self.err
        return lines[0].removeprefix("wedge: error: ")


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the settings of whoever runs the tests out, and what the tests cache away from theirs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WEDGE_")]:
            patch.delenv(name)
        patch.setenv("WEDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def wedge(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in this process: ``wedge("info", path)``."""
    from wedge.cli import run

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of larger real data, which is not part of the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the larger real data are not here")
    return path


@pytest.fixture(scope="session")
def example_data() -> Path:
    """The small real data that every clone carries."""
    return ROOT / "examples" / "data"


@pytest.fixture
def make_distribution(tmp_path: Path) -> Callable[..., Path]:
    """Install a distribution of one module with a plugin: ``make_distribution("name", source)`` returns the folder that holds it."""

    def make(name: str, source: str, *, plugin: str | None = None, version: str = "1.0") -> Path:
        site, module = tmp_path / "site", name.replace("-", "_")
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[wedge.plugins]\n{plugin or name} = {module}\n")
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        return site

    return make
