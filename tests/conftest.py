"""Fixtures that all tests may use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
