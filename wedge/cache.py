"""Where things that can be computed again are kept between runs."""

import os
from pathlib import Path


def cache_dir(name: str) -> Path:
    """Return the folder for cached files of one kind; it need not exist yet.

    Parameters
    ----------
    name
        Folder name, one for each kind of file.

    Notes
    -----
    ``WEDGE_CACHE`` names the parent; without it ``$XDG_CACHE_HOME/wedge``, and without that ``~/.cache/wedge``. Whatever lies there may be
    deleted at any time.
    """
    chosen = os.environ.get("WEDGE_CACHE")
    if chosen:
        return Path(chosen).expanduser() / name
    base = os.environ.get("XDG_CACHE_HOME")
    parent = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "wedge" / name
