"""The page that shows a run while it goes on, and what it is made of."""

from functools import partial

from wedge.pages.assets import SCENE_SCRIPTS, SCENE_STYLES, asset_bytes
from wedge.pages.server import Page

STYLES = ("theme.css", *SCENE_STYLES, "watch.css")
SCRIPTS = (
    "theme.js", "preview.js", "svg.js", "plane.js", "slices.js", "spectrum.js", "chart.js", *SCENE_SCRIPTS, "watch_facts.js", "watch.js",
)  # fmt: skip
_KINDS = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


def watch_page() -> Page:
    """Return the page; its files are read when they are asked for."""
    files = {name: (_KINDS[name.rpartition(".")[2]], partial(asset_bytes, name)) for name in (*STYLES, *SCRIPTS)}
    return Page({"": ("text/html; charset=utf-8", _html), **files})


def _html() -> bytes:
    styles = "\n".join(f'<link rel="stylesheet" href="{name}">' for name in STYLES)
    scripts = "\n".join(f'<script src="{name}" defer></script>' for name in SCRIPTS)
    return asset_bytes("watch.html").replace(b"<!-- styles and scripts -->", f"{styles}\n{scripts}".encode())
