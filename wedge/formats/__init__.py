"""Tilt series and volumes from and to any format, chosen by the suffix: Zarr stores, foreign OME-Zarr too, MRC files, and TIFF to be read.

Everything a user should know about what was assumed goes to ``on_note``, one line each.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wedge import store
from wedge.data import TiltSeries, Volume
from wedge.errors import InputError, OutputExistsError, UsageError
from wedge.formats import foreign_zarr, mrc, mrc_writer
from wedge.formats.angles import find_angles, read_angles
from wedge.formats.beside import note_unapplied, pixel_size, with_view_notes
from wedge.formats.files import is_file, read_file
from wedge.formats.views import SelectedViews, select_views
from wedge.formats.window import window
from wedge.geometry import TiltGeometry
from wedge.output import Writer
from wedge.store import Kind

Note = Callable[[str], None]
_KIND_NAMES = {"tilts": "a tilt series", "volume": "a volume"}


def open_tilts(
    path: str | Path,
    *,
    angles: str | Path | Sequence[float] | None = None,
    voxel_size_angstrom: float | None = None,
    thickness: int | None = None,
    tilt_range: tuple[float, float] | None = None,
    views: str | None = None,
    exclude_views: Iterable[int] | None = None,
    crop_x: tuple[int, int | None] | None = None,
    crop_y: tuple[int, int | None] | None = None,
    bin: int = 1,
    on_note: Note | None = None,
) -> TiltSeries:
    """Open a tilt series; the data stays on disk.

    Parameters
    ----------
    path
        A Zarr store, an MRC stack or a TIFF stack.
    angles
        List of tilt angles; by default what the store says, else the list beside the stack that has its name, else the extended header.
    voxel_size_angstrom
        Edge of a detector pixel, before binning; decides over what the file says. An extended header decides over the header.
    thickness
        The volume's size in z, in voxels of the binned series; by default what the store says, else the detector's width.
    tilt_range
        Lowest and highest angle of the views to use, in degrees, both included.
    views
        Views to use, ``"all"``, ``"even"``, ``"odd"`` or a list, as `wedge.formats.views.select_views` takes them.
    exclude_views
        Views to leave out, by their place in the stack, from 0.
    crop_x, crop_y
        Part of the specimen to take, as `wedge.formats.window.window` takes it.
    bin
        Pixels along each side that are averaged to one.
    on_note
        Told what was assumed.

    Raises
    ------
    InputError
        If the file is missing, damaged, incomplete, a volume, has NaN, or does not fit its angles.
    UsageError
        If the suffix is unknown, an excluded view does not exist, or no view is left.
    """
    path, note = Path(path), on_note or _ignore
    stack_file = is_file(path)
    series = _open_file_tilts(path, angles, voxel_size_angstrom, note) if stack_file else store.open_tilts(path)
    geometry = series.geometry
    if angles is not None and not stack_file:
        geometry = replace(geometry, tilt_angles_deg=_matching_angles(angles, path, geometry.num_tilts))
    if voxel_size_angstrom is not None:
        require_voxel_size(voxel_size_angstrom)
        geometry = replace(geometry, pixel_size_angstrom=voxel_size_angstrom)
    _note_size(geometry.pixel_size_angstrom, "pixel size", path, note, doubtful=stack_file and voxel_size_angstrom is None)
    selected = select_views(replace(series, geometry=geometry), tilt_range, exclude_views or (), views)
    if stack_file:
        kept = selected.array.indices if isinstance(selected.array, SelectedViews) else None
        mrc.refuse_not_finite(series.array, path, "view", kept)
    seen = window(selected, crop_x, crop_y, bin)
    if thickness is not None:
        seen = replace(seen, geometry=_with_thickness(seen.geometry, thickness))
    else:
        source = f"as {path} says" if not stack_file or series.provenance else "the width of the detector"
        note(f"thickness {seen.geometry.volume_shape[0]} voxels, {source}; --thickness changes it")
    return seen


def _with_thickness(geometry: TiltGeometry, thickness: int) -> TiltGeometry:
    shape = (thickness, *geometry.volume_shape[1:])
    return geometry.with_volume(shape, geometry.voxel_size_in_pixels, geometry.volume_centre_pixels)


def open_volume(
    path: str | Path, *, voxel_size_angstrom: float | None = None, imod_axes: bool = False, on_note: Note | None = None
) -> Volume:
    """Open a volume; the data stays on disk.

    Parameters
    ----------
    path
        A Zarr store, an OME-Zarr image of any program, or an MRC file.
    voxel_size_angstrom
        Edge of a voxel; decides over what the file says.
    imod_axes
        An MRC file as IMOD's ``tilt`` writes it, see `wedge.formats.mrc.IMOD_AXES`; a record beside it says so by itself.
    on_note
        Told what was assumed.

    Raises
    ------
    InputError
        If the file is missing, damaged, incomplete, a tilt series or has NaN, or its voxels are no cubes.
    UsageError
        If the suffix is unknown, or ``imod_axes`` is for a store.
    """
    path, note = Path(path), on_note or _ignore
    of_file = is_file(path)
    if imod_axes and not of_file:
        raise UsageError(f"axes of IMOD are for MRC files, and a Zarr store names its axes itself: {path}; leave --from-axes out")
    volume = _open_mrc_volume(path, voxel_size_angstrom, imod_axes) if of_file else _open_zarr_volume(path, voxel_size_angstrom)
    if voxel_size_angstrom is not None:
        require_voxel_size(voxel_size_angstrom)
        volume = replace(volume, voxel_size_angstrom=voxel_size_angstrom)
    _note_size(volume.voxel_size_angstrom, "voxel size", path, note, doubtful=of_file and voxel_size_angstrom is None)
    return volume


def angles_path(path: str | Path, angles: str | Path | None = None) -> Path | None:
    """Return the angle list that `open_tilts` reads for a stack, or None where there is none or the stack's record knows its angles."""
    if angles is not None:
        return Path(angles)
    path = Path(path)
    return None if not is_file(path) or read_file(path).record else find_angles(path)


def kind_of(path: str | Path) -> Kind:
    """Return what a file or store holds as far as it can be known: an MRC file without evidence of being a stack counts as a volume.

    Raises
    ------
    InputError
        If it is missing, damaged or incomplete.
    UsageError
        If the suffix is unknown.
    """
    path = Path(path)
    if not is_file(path):
        return "volume" if foreign_zarr.is_foreign(path) else store.store_kind(path)
    data = read_file(path)
    return data.stated_kind or ("tilts" if _angles_of(data) else "volume")


def create_tilts(
    path: str | Path, geometry: TiltGeometry, *, weighted: bool = False, on_note: Note | None = None, **options: Any
) -> Writer:
    """Begin a tilt series in the format that the suffix says; options and errors as of `wedge.store.create_tilts`.

    Only stores hold weights: `Writer.weighted` says whether this one does, and ``on_note`` is told where weights will be lost.
    """
    path = Path(path)
    if is_file(path, for_output=True):
        if weighted:
            (on_note or _ignore)(f"weights are not written: an MRC file has no room for them; name a .zarr instead of {path.name}")
        _refuse_place_of_other_kind(path, "tilts")
        return mrc_writer.create_mrc_tilts(path, geometry, **options)
    return store.create_tilts(path, geometry, weighted=weighted, **options)


def create_volume(path: str | Path, shape: tuple[int, int, int], **options: Any) -> Writer:
    """Begin a volume in the format that the suffix says; options and errors as of `wedge.store.create_volume`."""
    path = Path(path)
    if is_file(path, for_output=True):
        _refuse_place_of_other_kind(path, "volume")
        return mrc_writer.create_mrc_volume(path, shape, **options)
    return store.create_volume(path, shape, **options)


def _open_file_tilts(path: Path, angles: str | Path | Sequence[float] | None, voxel_size_angstrom: float | None, note: Note) -> TiltSeries:
    data = read_file(path)
    if data.stated_kind == "volume":
        raise InputError(f"is a volume, expected a tilt series: {path}")
    num_views, rows, columns = data.array.shape
    if data.record:
        geometry = TiltGeometry.from_json(data.record["geometry"])
        if angles is not None:
            geometry = replace(geometry, tilt_angles_deg=_matching_angles(angles, path, num_views))
        return TiltSeries(data.array, geometry, str(path), bool(data.record.get("simulated")), data.record.get("provenance", {}))
    found = angles if angles is not None else find_angles(path)
    values = data.tilt_angles_deg if found is None else _matching_angles(found, path, num_views)
    if values is None:
        expected = f"neither {path.stem}.tlt, {path.stem}.rawtlt nor {path.name}.mdoc lies beside it"
        raise InputError(f"no tilt angles for {path} with {num_views} sections: {expected}; give --angles, unless it is a volume")
    if angles is None:
        note(f"tilt angles from {found or f'the extended header of {path}'}")
    if angles is None or isinstance(angles, str | Path):
        note_unapplied(path, note)
    geometry = with_view_notes(TiltGeometry(values, (rows, columns), (columns, rows, columns)), path)
    if voxel_size_angstrom is None:
        geometry = replace(geometry, pixel_size_angstrom=pixel_size(data, note))
    return TiltSeries(data.array, geometry, str(path))


def _open_mrc_volume(path: Path, voxel_size_angstrom: float | None, imod_axes: bool) -> Volume:
    data = mrc.read_mrc(path, imod_axes=True) if imod_axes else read_file(path)
    if data.stated_kind == "tilts":
        raise InputError(f"is a tilt series, expected a volume: {path}")
    if not data.stated_kind and (angles := _angles_of(data)):
        raise InputError(f"is a tilt series, expected a volume: {path} has as many sections as {angles} has angles")
    mrc.refuse_not_finite(data.array, path, "section")
    size = None
    if voxel_size_angstrom is None and data.spacing_angstrom is not None:
        size = mrc.one_size(data.spacing_angstrom, path, "voxels are no cubes")
    stated = data.record.get("tilt_angles_deg")
    return Volume(data.array, size, str(path), None if stated is None else tuple(stated), data.record.get("provenance", {}))


def _open_zarr_volume(path: Path, voxel_size_angstrom: float | None) -> Volume:
    if not foreign_zarr.is_foreign(path):
        return store.open_volume(path)
    volume = foreign_zarr.open_foreign_volume(path, voxel_size_angstrom)
    foreign_zarr.refuse_not_finite(volume)
    return volume


def _angles_of(data: mrc.MrcData) -> str | None:
    """Name the angle list beside a file, or its extended header, if it has an angle for each section: evidence that it is a stack."""
    extended = "its extended header" if data.tilt_angles_deg is not None and data.array.shape[0] > 1 else None
    angles = find_angles(data.path)
    if angles is None:
        return extended
    try:
        return f"{angles.name} beside it" if len(read_angles(angles)) == data.array.shape[0] else extended
    except InputError:
        return extended


def _matching_angles(angles: str | Path | Sequence[float], stack: Path, num_views: int) -> tuple[float, ...]:
    values = read_angles(angles) if isinstance(angles, str | Path) else tuple(angles)
    if len(values) != num_views:
        where = f" in {angles}" if isinstance(angles, str | Path) else ""
        raise InputError(f"{len(values)} tilt angles{where}, but {num_views} views in {stack}; give the list of this stack by --angles")
    return values


def _note_size(size_angstrom: float | None, name: str, path: Path, note: Note, *, doubtful: bool) -> None:
    if size_angstrom is None:
        note(f"{name} unknown: {path} does not say it; give --voxel-size")
    elif doubtful and size_angstrom == 1.0:
        note(f"{name} 1 angstrom, as the header of {path} says; many programs write that where it is unknown: --voxel-size corrects it")


def require_voxel_size(voxel_size_angstrom: float | None) -> None:
    """Refuse a voxel size that is none.

    Raises
    ------
    UsageError
        If it is not positive and finite.
    """
    if voxel_size_angstrom is not None and not 0 < voxel_size_angstrom < float("inf"):
        raise UsageError(f"--voxel-size is {voxel_size_angstrom}: expected a positive number of angstrom")


def _refuse_place_of_other_kind(path: Path, kind: Kind) -> None:
    stated = mrc.suffix_kind(path)
    if stated is not None and stated != kind:
        raise UsageError(f"suffix {path.suffix} is for {_KIND_NAMES[stated]}, not for {_KIND_NAMES[kind]}: {path}; use .mrc")
    try:
        there = kind_of(path)
    except InputError:
        return  # nothing, or nothing worth keeping
    if kind == "volume" and there == "tilts":
        raise OutputExistsError(f"output is a tilt series and is not replaced by a volume: {path}; choose another name")


def _ignore(message: str) -> None:
    """Keep quiet: nobody asked."""
