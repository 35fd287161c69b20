"""``wedge cache``: what lies there, and being rid of it."""

import json

import pytest

KEY = "0123456789abcdef" * 2


@pytest.fixture
def cache(tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("WEDGE_CACHE", str(root))
    return root


def fill(root):
    for name, size in (
        (f"matrices/{KEY}.safetensors", 3000),
        (f"matrices/{KEY[::-1]}.safetensors", 500),
        ("matrices/tmpab_12.partial", 7),
        (f"tables/{KEY}.npy", 20),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))


def test_it_tells_place_number_and_size(wedge, cache):
    fill(cache)
    told = json.loads(wedge("cache", "--json").out)
    assert (told["path"], told["files"], told["bytes"]) == (str(cache), 4, 3527)
    assert told["kinds"] == {"matrices": {"files": 3, "bytes": 3507}, "tables": {"files": 1, "bytes": 20}}
    done = wedge("cache")
    assert done.out.splitlines()[0] == f"{cache}: 4 files, 0.0 MiB"
    assert len(list(cache.glob("*/*"))) == 4


def test_a_cache_that_is_not_there_is_empty(wedge, cache):
    assert json.loads(wedge("cache", "--json").out)["files"] == 0
    assert wedge("cache", "--clear").code == 0
    assert not cache.exists()


def test_clearing_deletes_what_wedge_put_there_and_nothing_else(wedge, cache, tmp_path):
    fill(cache)
    foreign = [cache / "thesis.tex", cache / "matrices" / "mine.safetensors", cache / f"{KEY}.txt", cache / "deep" / "er" / f"{KEY}.txt"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (tmp_path / "precious").write_text("mine")
    link = cache / "matrices" / f"{KEY[1:]}0.safetensors"
    link.symlink_to(tmp_path / "precious")
    told = json.loads(wedge("cache", "--clear", "--json").out)
    assert (told["files"], told["bytes"], told["cleared"]) == (4, 3527, True)
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == sorted([*foreign, link])
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (cache / "tables").exists()


def test_matrices_that_a_projector_keeps_are_counted(wedge, cache, monkeypatch):
    from wedge_torch import matrix_cache

    from wedge.geometry import TiltGeometry

    monkeypatch.setattr(matrix_cache, "_WORTH_KEEPING", 1)
    matrix_cache.load_or_build(TiltGeometry((-10.0, 0.0, 20.0), (4, 8), (6, 4, 8)), "joseph", float)
    told = json.loads(wedge("cache", "--json").out)
    assert told["kinds"].keys() == {"matrices"}
    assert told["files"] == 1
    assert told["bytes"] > 0
    assert json.loads(wedge("cache", "--clear", "--json").out)["files"] == 1
    assert list(cache.iterdir()) == []
