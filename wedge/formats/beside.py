"""What lies beside a stack under its name: alignments of any program, and the microscope's notes.

Where several alignments lie there, the first of these is taken, and the others are named: IMOD's (``NAME.xf``, or ``newst.com`` that takes
this stack), AreTomo's ``NAME.aln``, RELION's ``NAME.star``, Warp's ``NAME.xml``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from wedge.alignment import Alignment
from wedge.errors import InputError, UsageError
from wedge.formats import imod
from wedge.formats.aln import read_aln
from wedge.formats.mdoc import Mdoc, mdoc_alignment, read_mdoc
from wedge.formats.mrc import MrcData, one_size
from wedge.formats.relion import global_names, read_relion
from wedge.formats.text import read_text
from wedge.formats.warp import is_warp, read_warp
from wedge.geometry import TiltGeometry
from wedge.sources import Statement, settle_pixel_size

SUFFIXES = (".xf", ".com", ".aln", ".star", ".xml", ".mdoc")


@dataclass(frozen=True)
class Beside:
    """What lies beside a stack.

    Parameters
    ----------
    alignments
        Files for `read_alignment`, the one to take first; none where nothing lies there.
    mdoc
        SerialEM's notes, or None.
    newst, tilt
        IMOD's command files that name this stack or its aligned one, or None.
    """

    alignments: tuple[Path, ...] = ()
    mdoc: Path | None = None
    newst: Path | None = None
    tilt: Path | None = None


def find_beside(stack: str | Path) -> Beside:
    """Return what lies beside a stack and belongs to it by its name, or because it names the stack."""
    stack = Path(stack)
    newst = _command_file(stack, ("newst.com", f"{stack.stem}_newst.com"), "newstack", ("InputFile",), _names_of(stack))
    transforms = stack.with_suffix(".xf")
    named = imod.transform_file(newst) if newst is not None else None
    xf = transforms if transforms.is_file() else named
    tilt = _tilt_com(stack, newst)
    candidates = [xf, stack.with_suffix(".aln"), stack.with_suffix(".star"), stack.with_suffix(".xml")]
    found = tuple(path for path in candidates if path is not None and path.is_file() and _is_alignment(path))
    return Beside(found, find_mdoc(stack), newst, tilt)


def find_mdoc(stack: str | Path) -> Path | None:
    """Return SerialEM's notes beside a stack, ``NAME.mrc.mdoc`` or ``NAME.mdoc``, or None."""
    stack = Path(stack)
    return next((path for path in (stack.with_name(stack.name + ".mdoc"), stack.with_suffix(".mdoc")) if path.is_file()), None)


def note_unapplied(stack: Path, note: Callable[[str], None]) -> None:
    """Tell in a line where the alignment of a raw stack lies beside it while nobody applies it."""
    if stack.suffix.lower() != ".ali" and (found := find_beside(stack).alignments):
        note(f"{found[0]} lies beside {stack} and is not applied: wedge import does")


def mdoc_beside(stack: str | Path) -> Mdoc | None:
    """Return the microscope's notes beside a stack; damaged ones say nothing unless somebody asks for them."""
    found = find_mdoc(stack)
    try:
        return None if found is None else read_mdoc(found)
    except InputError:
        return None


def mdoc_pixel_size(mdoc: Mdoc | None, stack: Path) -> float | None:
    """Return the pixel size in angstrom that the notes state for a stack; those of a raw stack do not speak for its ``.ali``.

    An aligned stack may have been binned on the way.
    """
    if mdoc is None or (stack.suffix.lower() == ".ali" and mdoc.path.name != f"{stack.name}.mdoc"):
        return None
    return mdoc.pixel_size_angstrom


def pixel_size(data: MrcData, note: Callable[[str], None]) -> float | None:
    """Return the pixel size in angstrom of a stack: as the microscope's notes beside it say, else its extended header, else its header."""
    name, mdoc = data.path.name, mdoc_beside(data.path)
    told = [
        Statement("" if mdoc is None else mdoc.path.name, mdoc_pixel_size(mdoc, data.path)),
        Statement(f"the extended header of {name}", data.pixel_size_angstrom),
    ]
    size = None
    if data.spacing_angstrom is not None:
        counts = not any(each.value for each in told)
        edges = data.spacing_angstrom[1:]
        size = one_size(edges, data.path, "pixels are no squares") if counts else float(f"{edges[-1]:.7g}")
    return settle_pixel_size([*told, Statement(f"the header of {name}", size, is_header=True)], note).value


def with_view_notes(geometry: TiltGeometry, stack: Path) -> TiltGeometry:
    """Return the geometry with the order and the dose of the views, where the microscope's notes beside the stack are of as many views."""
    notes = mdoc_beside(stack)
    if notes is None or notes.num_views != geometry.num_tilts:
        return geometry
    return replace(geometry, acquisition_order=notes.acquisition_order, dose_e_per_square_angstrom=notes.dose_e_per_square_angstrom)


def read_alignment(
    path: str | Path,
    *,
    stack: str | Path | None = None,
    pixel_size_angstrom: float | None = None,
    fallback_pixel_size_angstrom: float | None = None,
) -> Alignment:
    """Return the alignment that a file of any program describes.

    Parameters
    ----------
    path
        ``.xf``, ``.com`` (``newst.com``), ``.aln``, ``.star``, ``.xml`` or ``.mdoc``; the last gives the tilt axis alone.
    stack
        The raw stack. Its name picks a tilt series from a global STAR file, and finds IMOD's command files beside an ``.xf``.
    pixel_size_angstrom
        Of the raw views, for files with shifts in angstrom; decides over what they say.
    fallback_pixel_size_angstrom
        Where they do not say it either.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    UsageError
        If the suffix is unknown.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    sizes = {"pixel_size_angstrom": pixel_size_angstrom, "fallback_pixel_size_angstrom": fallback_pixel_size_angstrom}
    if suffix == ".xf":
        return _read_imod(path, Path(stack) if stack is not None else path)
    if suffix == ".com":
        return _read_com(path)
    if suffix == ".aln":
        return read_aln(path)
    if suffix == ".star":
        return read_relion(path, name=_series_name(path, stack), **sizes)
    if suffix == ".xml":
        return read_warp(path, **sizes)
    if suffix == ".mdoc":
        return mdoc_alignment(path)
    raise UsageError(f"suffix of {path} says no alignment that wedge knows: expected one of {', '.join(SUFFIXES)}")


def _read_imod(xf: Path, stack: Path) -> Alignment:
    newst = _command_file(stack, ("newst.com", f"{stack.stem}_newst.com"), "newstack", ("TransformFile",), (xf.name,), xf.parent)
    tilt = _tilt_com(xf, newst) or _tilt_com(stack, newst)
    return imod.read_imod(xf, newst=newst, tilt=tilt)


def _read_com(path: Path) -> Alignment:
    if "newstack" not in read_text(path, "a command file of IMOD"):
        raise InputError(f"{path} holds no transforms: give the .xf file, or the newst.com that names it")
    xf = imod.transform_file(path)
    if xf is None:
        raise InputError(f"{path} names no TransformFile that lies beside it; give the .xf file")
    return imod.read_imod(xf, newst=path, tilt=_tilt_com(xf, path))


def _series_name(path: Path, stack: str | Path | None) -> str | None:
    names = global_names(path)
    stem = None if stack is None else Path(stack).stem
    return stem if stem in names and len(names) > 1 else None


def _tilt_com(stack: Path, newst: Path | None) -> Path | None:
    """Return the ``tilt.com`` that takes the aligned stack that ``newst.com`` makes, or one with the name of this stack."""
    names = [f"{stack.stem}{ending}" for ending in ("_ali.mrc", ".ali")]
    folder = stack.parent
    if newst is not None:
        names += imod.names_in(newst, "newstack", ("OutputFile",))
        folder = newst.parent
    return _command_file(stack, ("tilt.com", f"{stack.stem}_tilt.com"), "tilt", ("InputProjections",), tuple(names), folder)


def _command_file(
    stack: Path, files: tuple[str, ...], program: str, options: tuple[str, ...], names: tuple[str, ...], folder: Path | None = None
) -> Path | None:
    """Return the first of some command files that is there and has one of ``names`` as an option; a damaged one belongs to nobody."""
    for file in files:
        path = (folder or stack.parent) / file
        if not path.is_file():
            continue
        try:
            if set(imod.names_in(path, program, options)) & set(names):
                return path
        except InputError:
            continue
    return None


def _names_of(stack: Path) -> tuple[str, ...]:
    """Return the names that a command file may have for a stack: programs rename ``.st`` to ``.mrc``."""
    return (stack.name, f"{stack.stem}.st", f"{stack.stem}.mrc")


def _is_alignment(path: Path) -> bool:
    """Say whether a file of a suffix that others use as well holds an alignment."""
    return path.suffix.lower() != ".xml" or is_warp(path)
