"""Where cached files lie."""

from pathlib import Path

import pytest

from wedge.cache import cache_dir


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEDGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_the_users_choice_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir("matrices") == tmp_path / "xdg" / "wedge" / "matrices"
    monkeypatch.setenv("WEDGE_CACHE", str(tmp_path / "mine"))
    assert cache_dir("matrices") == tmp_path / "mine" / "matrices"


def test_without_a_choice_it_is_the_home_folders_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir("matrices") == tmp_path / ".cache" / "wedge" / "matrices"


def test_a_relative_xdg_folder_is_ignored_as_its_specification_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_dir("matrices") == tmp_path / ".cache" / "wedge" / "matrices"


def test_asking_makes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEDGE_CACHE", str(tmp_path / "mine"))
    cache_dir("matrices")
    assert not (tmp_path / "mine").exists()
