"""What a file or store holds, in plain data."""

from pathlib import Path
from typing import Any

from wedge import formats
from wedge.already_aligned import why_aligned
from wedge.data import ArrayLike3D
from wedge.formats import foreign_zarr, mrc, tiff
from wedge.formats.beside import find_beside
from wedge.formats.mrc import IMOD_AXES
from wedge.formats.mrc_values import DensityArray
from wedge.geometry import TiltGeometry
from wedge.slabs import chunk_rows, read_block
from wedge.statistics import RunningStatistics


def describe(path: str | Path, *, statistics: bool = False) -> dict[str, Any]:
    """Return what is known of a tilt series or a volume.

    Parameters
    ----------
    path
        A Zarr store, an MRC file or a TIFF stack.
    statistics
        Whether to read all values and tell their range, mean and deviation.

    Raises
    ------
    InputError
        If it is missing, damaged or incomplete.
    UsageError
        If the suffix is unknown.
    """
    path = Path(path)
    kind = formats.kind_of(path)
    result: dict[str, Any] = {"path": str(path), "kind": kind, "complete": True}
    describe_format = _describe_file if path.suffix.lower() in (*mrc.SUFFIXES, *tiff.SUFFIXES) else _describe_store
    array = describe_format(path, kind, result)
    if statistics:
        result["statistics"] = _statistics(array, str(path))
    return result


def _describe_store(path: Path, kind: str, result: dict[str, Any]) -> ArrayLike3D:
    result["format"] = "zarr"
    if kind == "tilts":
        tilts = formats.open_tilts(path)
        _add_array(result, tilts.array, "tilt, y, x")
        _add_geometry(result, tilts.geometry)
        result |= {"simulated": tilts.simulated, "weighted": tilts.weights is not None, "provenance": tilts.provenance}
        return tilts.array
    is_foreign = foreign_zarr.is_foreign(path)
    volume = foreign_zarr.open_foreign_volume(path) if is_foreign else formats.open_volume(path)
    _add_array(result, volume.array, "z, y, x")
    if is_foreign:
        result["note"] = "OME-Zarr of another program: whether all of it was written is not known"
    result |= {"voxel_size_angstrom": volume.voxel_size_angstrom, "provenance": volume.provenance}
    if volume.tilt_angles_deg is not None:
        _add_angles(result, volume.tilt_angles_deg)
    return volume.array


def _describe_file(path: Path, kind: str, result: dict[str, Any]) -> ArrayLike3D:
    """Describe what is there; unlike opening for use, this needs neither angles nor finite values."""
    data = formats.read_file(path)
    result |= {"format": "tiff" if path.suffix.lower() in tiff.SUFFIXES else "mrc", "provenance": data.record.get("provenance", {})}
    _add_array(result, data.array, "tilt, y, x" if kind == "tilts" else "z, y, x")
    result["voxel_size_angstrom"] = None if data.spacing_angstrom is None else float(f"{data.spacing_angstrom[-1]:.7g}")
    if kind == "tilts" and data.pixel_size_angstrom is not None:
        result["voxel_size_angstrom"] = data.pixel_size_angstrom
    if "geometry" in data.record:
        _add_geometry(result, TiltGeometry.from_json(data.record["geometry"]))
    elif (angles := formats.angles_path(path)) is not None:
        result["angles_file"] = str(angles)
        _add_angles(result, formats.read_angles(angles))
    elif kind == "tilts" and data.tilt_angles_deg is not None:
        result["angles_file"] = f"the extended header of {path}"
        _add_angles(result, data.tilt_angles_deg)
    elif data.record.get("tilt_angles_deg"):
        _add_angles(result, tuple(data.record["tilt_angles_deg"]))
    if isinstance(data.array, DensityArray):
        values = data.array.values
        result["stored_as"] = f"{values.mode}, density = value * {values.scale:.6g} + {values.offset:.6g}"
    if data.record.get("axes") == IMOD_AXES:
        result["file_axes"] = "y, -z, x: the order of IMOD's tilt, before trimvol -rx"
    if kind == "tilts" and why_aligned(path) is None and (found := find_beside(path).alignments):
        result["beside"] = [str(each) for each in found]
    if data.stated_kind is None and kind == "volume":
        result["note"] = "an MRC header does not say whether this is a volume or a stack of views; it counts as a volume, having no angles"
    return data.array


def _add_array(result: dict[str, Any], array: ArrayLike3D, axes: str) -> None:
    result |= {"axes": axes, "shape": [int(n) for n in array.shape], "dtype": str(array.dtype)}


def _add_geometry(result: dict[str, Any], geometry: TiltGeometry) -> None:
    result |= {"voxel_size_angstrom": geometry.pixel_size_angstrom, "volume_shape": list(geometry.volume_shape)}
    _add_angles(result, geometry.tilt_angles_deg)


def _add_angles(result: dict[str, Any], angles_deg: tuple[float, ...]) -> None:
    result |= {"num_tilts": len(angles_deg), "tilt_range_deg": [min(angles_deg), max(angles_deg)], "tilt_angles_deg": list(angles_deg)}


def _statistics(array: ArrayLike3D, name: str) -> dict[str, Any]:
    """Look at all values; a store is read by its chunks, rows across all sections, and a file by its sections, as both lie on disk."""
    seen = RunningStatistics()
    if hasattr(array, "chunks"):
        rows = chunk_rows((array.shape[0], array.shape[1], array.shape[2]))
        for start in range(0, array.shape[1], rows):
            seen.update(read_block(array, name, start, min(start + rows, array.shape[1])))
    else:
        for index in range(array.shape[0]):
            seen.update(array[index])
    return {"min": seen.minimum, "max": seen.maximum, "mean": seen.mean, "std": seen.std, "num_not_finite": seen.num_not_finite}
