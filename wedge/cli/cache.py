"""``wedge cache``: where cached files lie, how much room they take, and how to delete them."""

from typing import Annotated

import typer

from wedge.cli.common import JsonOption, emit


def command(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what wedge put there, and nothing else.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell where wedge keeps what it can compute again, such as projection matrices, and how much room that takes; WEDGE_CACHE moves it."""
    from wedge.cache import cache_root, cached_files, clear_cache

    files = clear_cache() if clear else cached_files()
    size = sum(file.size_bytes for file in files)
    kinds: dict[str, dict[str, int]] = {}
    for file in files:
        kind = kinds.setdefault(file.path.parent.name, {"files": 0, "bytes": 0})
        kind["files"] += 1
        kind["bytes"] += file.size_bytes
    result = {"path": cache_root(), "files": len(files), "bytes": size, "kinds": kinds, "cleared": clear}
    lines = [f"{cache_root()}: {_amount(len(files), size)}{' deleted' if clear else ''}"]
    lines += [f"  {name}  {_amount(kind['files'], kind['bytes'])}" for name, kind in kinds.items()]
    emit(result, as_json=as_json, text="\n".join(lines))


def _amount(count: int, size: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}, {size / 2**20:.1f} MiB"
