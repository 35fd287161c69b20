"""The files that pages are made of. Names are relative to ``assets/``; those of other people begin with ``vendor/``."""

from pathlib import Path

_PAGES = Path(__file__).resolve().parent
# What the 3-D view needs, in the order in which a page loads it; "preview.js" goes before them, "theme.css" with them.
SCENE_SCRIPTS = ("vendor/vtk.min.js", "surface.js", "scene_camera.js", "scene_drawing.js", "scene_controls.js", "scene.js")
SCENE_STYLES = ("scene.css",)


def asset_bytes(name: str) -> bytes:
    """Return a file of ``wedge/pages/assets/``, or of ``wedge/pages/vendor/`` where its name begins so.

    Raises
    ------
    KeyError
        If there is none of this name: names are never paths to elsewhere.
    """
    folder, _, file = name.rpartition("/")
    path = _PAGES / (folder or "assets") / file
    if folder not in ("", "assets", "vendor") or file in ("", ".", "..") or not path.is_file():
        raise KeyError(name)
    return path.read_bytes()


def asset_text(name: str) -> str:
    """Return the same as text (UTF-8)."""
    return asset_bytes(name).decode()
