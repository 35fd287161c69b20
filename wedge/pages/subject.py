"""What a page is to show: a run, its result, or a volume alone."""

from dataclasses import dataclass
from pathlib import Path

from wedge.errors import InputError

RUN_SUFFIX = ".run"
_CONFIG = "config.json"


@dataclass(frozen=True)
class Subject:
    """A run and its result.

    Parameters
    ----------
    run_dir
        ``OUT.run``, or None for a volume that nobody knows the run of.
    output
        The volume, which is there or is not there yet.
    """

    run_dir: Path | None
    output: Path

    @property
    def title(self) -> str:
        """Name for headings."""
        return self.output.name


def find_subject(path: Path) -> Subject:
    """Return what ``path`` means: ``OUT.run``, ``OUT`` while it is being made, or a volume.

    Raises
    ------
    InputError
        If there is neither, or it is something else.
    """
    if path.name in ("", ".."):
        path = path.resolve()  # "." has no name that another one could be made of
    run_dir = path.parent / (path.name + RUN_SUFFIX)
    try:
        if (path / _CONFIG).is_file() and not (path / "zarr.json").exists():
            return Subject(path, path.parent / (path.name.removesuffix(RUN_SUFFIX) or path.name))
        there, has_run = path.exists(), (run_dir / _CONFIG).is_file()
        if path.is_dir():
            next(path.iterdir(), None)
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    if not there:
        if has_run:
            return Subject(run_dir, path)
        raise InputError(
            f"no such run: {path}; give the folder OUT.run of a fit, or a volume (while a fit aligns its views there is no folder yet)"
        )
    if path.is_dir() and not _is_store(path):
        raise InputError(f"{path} is no run of wedge, as it has no {_CONFIG}, and no volume; give the folder OUT.run of a fit")
    from wedge import formats

    if formats.kind_of(path) != "volume":
        raise InputError(f"{path} is a tilt series: give the folder OUT.run of a fit, or a volume")
    return Subject(run_dir if has_run else None, path)


def _is_store(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))
