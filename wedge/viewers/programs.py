"""The programs that show volumes: where they are, and the command that shows volumes in each."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wedge.viewers.scripts import chimerax_script, napari_script, neuroglancer_script
from wedge.viewers.shown import Shown, cache_path, ready_mrc, stored_levels

Copy = Callable[[Shown], Path]
_SERVED_TYPES = "|u1 |i1 <u2 <i2 <u4 <i4 <f4"


@dataclass(frozen=True)
class Viewer:
    """A program that shows volumes.

    Parameters
    ----------
    name
        As ``wedge view --with`` takes it.
    install
        How to get it, in a few words.
    find
        Return the beginning of its command, or None where it is not installed; nothing is imported or started.
    command
        Return the whole command for volumes; a copy as MRC is asked for where the program needs one.
    """

    name: str
    install: str
    find: Callable[[], list[str] | None]
    command: Callable[[list[str], Sequence[Shown], Copy], list[str]]


def _has_package(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _on_path(*names: str) -> list[str] | None:
    found = next((path for path in map(shutil.which, names) if path), None)
    return None if found is None else [found]


def _find_napari() -> list[str] | None:
    return [sys.executable] if _has_package("napari") else _on_path("napari")


def _find_neuroglancer() -> list[str] | None:
    return [sys.executable] if _has_package("neuroglancer") else None


def _find_chimerax() -> list[str] | None:
    in_applications = sorted(Path("/Applications").glob("ChimeraX*.app/Contents/MacOS/ChimeraX"))
    return _on_path("chimerax", "ChimeraX") or ([str(in_applications[-1])] if in_applications else None)


def _show_in_napari(start: list[str], volumes: Sequence[Shown], copy: Copy) -> list[str]:
    readable = [each if stored_levels(each) else _of_copy(each, copy) for each in volumes]
    return [*start, str(_written(volumes, "napari", ".py", napari_script(readable)))]


def _show_in_neuroglancer(start: list[str], volumes: Sequence[Shown], copy: Copy) -> list[str]:
    def served(each: Shown) -> bool:
        return bool(stored_levels(each)) and each.volume.array.dtype.str in _SERVED_TYPES.split()

    readable = [each if served(each) else _of_copy(each, copy) for each in volumes]
    return [*start, str(_written(volumes, "neuroglancer", ".py", neuroglancer_script(readable)))]


def _show_in_chimerax(start: list[str], volumes: Sequence[Shown], copy: Copy) -> list[str]:
    # A command ends where its line does, within quotes too.
    ready = [ready_mrc(each) if len(str(each.path).splitlines()) == 1 else None for each in volumes]
    script = chimerax_script(volumes, [file or copy(each) for file, each in zip(ready, volumes, strict=True)])
    return [*start, str(_written(volumes, "chimerax", ".cxc", script))]


def _show_in_3dmod(start: list[str], volumes: Sequence[Shown], copy: Copy) -> list[str]:
    low, high = volumes[0].contrast
    # Sections along z as they are: to exchange y and z (-Y) would mirror what is seen.
    return [*start, "-xyz", "-s", f"{low:.6g},{high:.6g}", *(str(ready_mrc(each) or copy(each)) for each in volumes)]


def _of_copy(each: Shown, copy: Copy) -> Shown:
    from wedge.formats import open_volume

    return Shown(each.path, open_volume(copy(each)), each.contrast, each.surface)


def _written(volumes: Sequence[Shown], program: str, suffix: str, text: str) -> Path:
    """Write a script to the cache, for everybody to look at and to run again."""
    path = cache_path(volumes[0], suffix, "\n".join([program, *(str(each.path) for each in volumes)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(text))
    return path


VIEWERS = (
    Viewer("napari", "pip install 'napari[all]'", _find_napari, _show_in_napari),
    Viewer("neuroglancer", "pip install neuroglancer", _find_neuroglancer, _show_in_neuroglancer),
    Viewer("chimerax", "https://www.cgl.ucsf.edu/chimerax", _find_chimerax, _show_in_chimerax),
    Viewer("3dmod", "IMOD, https://bio3d.colorado.edu/imod", lambda: _on_path("3dmod"), _show_in_3dmod),
)
"""In the order in which they are looked for."""
