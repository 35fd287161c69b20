"""``CITATION.cff``, by the keys and kinds that schema 1.2.0 of the Citation File Format asks for."""

from pathlib import Path

import pytest

from wedge import __version__

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = {"cff-version", "message", "title", "authors"}
ALLOWED = REQUIRED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license", "license-url", "preferred-citation",
    "references", "repository", "repository-artifact", "repository-code", "type", "url", "version",
}  # fmt: skip


@pytest.fixture(scope="module")
def citation():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_it_has_the_keys_of_its_schema(citation):
    assert citation.keys() >= REQUIRED
    assert citation.keys() <= ALLOWED
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["authors"] == [{"name": "The wedge developers"}]
    assert all(isinstance(word, str) for word in citation["keywords"])


def test_it_is_of_this_version_and_licence(citation):
    assert citation["title"] == "wedge"
    assert str(citation["version"]) == __version__
    assert citation["license"] == "BSD-3-Clause"
    assert "BSD 3-Clause" in (ROOT / "LICENSE").read_text()


def test_it_is_of_this_version_even_without_a_parser():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
