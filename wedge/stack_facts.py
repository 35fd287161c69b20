"""What a stack and the microscope's notes beside it say, before anything is decided."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wedge import formats, store
from wedge.alignment import Alignment
from wedge.errors import InputError
from wedge.formats.angles import find_angles, read_angles
from wedge.formats.beside import mdoc_beside, mdoc_pixel_size
from wedge.formats.mdoc import Mdoc
from wedge.geometry import TiltGeometry
from wedge.sources import Settled, Statement, settle_pixel_size

Note = Callable[[str], None]


@dataclass(frozen=True)
class StackFacts:
    """What is known of a stack.

    Parameters
    ----------
    path
        The stack.
    shape
        ``(tilt, y, x)``.
    record
        The geometry that wedge recorded with it, or None for a foreign stack.
    header_pixel_size_angstrom, extended_pixel_size_angstrom
        As the header and the extended header say, or None.
    header_angles_deg
        As the extended header says, or None.
    mdoc
        SerialEM's notes beside it, or None.
    """

    path: Path
    shape: tuple[int, int, int]
    record: TiltGeometry | None = None
    header_pixel_size_angstrom: float | None = None
    extended_pixel_size_angstrom: float | None = None
    header_angles_deg: tuple[float, ...] | None = None
    mdoc: Mdoc | None = None

    @property
    def num_views(self) -> int:
        """Number of views in the stack."""
        return self.shape[0]

    def pixel_size(self, given: float | None, alignment: Alignment | None, note: Note) -> Settled:
        """Settle the pixel size of the raw views.

        One rule: the option decides; then wedge's record; the alignment; the mdoc; the extended header; the header.
        """
        name = self.path.name
        stated = None if alignment is None else alignment.pixel_size_angstrom
        return settle_pixel_size(
            [
                Statement("--voxel-size", given),
                Statement(f"the record of {name}", None if self.record is None else self.record.pixel_size_angstrom),
                Statement("" if alignment is None else alignment.source, stated),
                Statement("" if self.mdoc is None else self.mdoc.path.name, mdoc_pixel_size(self.mdoc, self.path)),
                Statement(f"the extended header of {name}", self.extended_pixel_size_angstrom),
                *([Statement(f"the header of {name}", self.header_pixel_size_angstrom, is_header=True)] if self.record is None else []),
            ],
            note,
        )

    def angles(self) -> tuple[str, tuple[float, ...]] | None:
        """Return the tilt angles that the stack itself has, and where: wedge's record, the list beside it, its extended header."""
        if self.record is not None:
            return f"the record of {self.path}", self.record.tilt_angles_deg
        if (found := find_angles(self.path)) is not None:
            return str(found), read_angles(found)
        return None if self.header_angles_deg is None else (f"the extended header of {self.path}", self.header_angles_deg)


def stack_facts(path: str | Path) -> StackFacts:
    """Read what a stack says; nothing of its data.

    Raises
    ------
    InputError
        If the stack is missing, damaged or a volume.
    UsageError
        If its suffix is unknown.
    """
    path = Path(path)
    if not formats.is_file(path):
        series = store.open_tilts(path)
        views, rows, columns = series.array.shape
        return StackFacts(path, (views, rows, columns), series.geometry)
    data = formats.read_file(path)
    if data.stated_kind == "volume":
        raise InputError(f"is a volume, expected a tilt series: {path}")
    record = TiltGeometry.from_json(data.record["geometry"]) if "geometry" in data.record else None
    size = None if record is not None or data.spacing_angstrom is None else float(f"{data.spacing_angstrom[-1]:.7g}")
    views, rows, columns = data.array.shape
    return StackFacts(path, (views, rows, columns), record, size, data.pixel_size_angstrom, data.tilt_angles_deg, mdoc_beside(path))
