"""Where things that can be computed again are kept between runs, and how to be rid of them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_CACHED_NAME = re.compile(r"[0-9a-f]{32}\.[a-z0-9]+|tmp[a-z0-9_]+\.partial")


@dataclass(frozen=True)
class CachedFile:
    """A file of the cache.

    Parameters
    ----------
    path
        Where it lies.
    size_bytes
        How much room it takes.
    """

    path: Path
    size_bytes: int


def cache_root() -> Path:
    """Return the folder that holds all cached files, one folder for each kind; it need not exist.

    Notes
    -----
    ``WEDGE_CACHE`` names it; without it ``$XDG_CACHE_HOME/wedge``, and without that ``~/.cache/wedge``. Whatever lies there may be deleted
    at any time.
    """
    chosen = os.environ.get("WEDGE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    parent = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "wedge"


def cache_dir(name: str) -> Path:
    """Return the folder for cached files of one kind; it need not exist yet.

    Parameters
    ----------
    name
        Folder name, one for each kind of file.

    Notes
    -----
    Files in it that are named by 32 hexadecimal digits and a suffix are those that ``wedge cache`` counts and clears; while one is written
    it is called as `tempfile.mkstemp` calls it, with the suffix ``.partial``.
    """
    return cache_root() / name


def cached_files() -> list[CachedFile]:
    """Return the files that wedge and its plugins put into the cache, whatever else lies there."""
    found = []
    for path in sorted(cache_root().glob("*/*")):
        if _CACHED_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            found.append(CachedFile(path, path.stat().st_size))
    return found


def clear_cache() -> list[CachedFile]:
    """Delete the cached files, and the folders that become empty; return what was deleted.

    Raises
    ------
    OSError
        If one cannot be deleted.
    """
    files = cached_files()
    for file in files:
        file.path.unlink(missing_ok=True)
    for folder in {file.path.parent for file in files}:
        if not any(folder.iterdir()):
            folder.rmdir()
    return files
