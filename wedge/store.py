"""Zarr stores of tilt series and volumes: the only module that writes and reads them.

A store is a Zarr 3 group, or for OME-Zarr 0.4 a Zarr 2 group. Its attribute ``wedge`` says of which kind it is, whether it is complete,
and how it was made; a tilt series is its array ``tilts``, ``(tilt, y, x)``, and ``weights`` of that shape where rays don't count alike; a
volume is its array ``0``, ``(z, y, x)``, as OME-Zarr names it, and where it is large the arrays ``1``, ``2`` and so on are coarser copies.
Chunks span all of the first and last axis and a few rows.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numcodecs
import numpy as np
import zarr
from filelock import BaseFileLock
from zarr.codecs import BloscCodec

from wedge.coarser import CoarserCopies
from wedge.data import TiltSeries, Volume
from wedge.errors import InputError, OutputExistsError
from wedge.geometry import TiltGeometry
from wedge.ome_zarr import ZARR_FORMATS, OmeZarrVersion, ome_attributes
from wedge.output import PendingOutput, Writer, lock_output, refuse_existing, release_output, writing
from wedge.pyramid import level_shapes
from wedge.slabs import chunk_rows, write_rows
from wedge.store_attributes import FORMAT_VERSION, KIND_NAMES, Kind, wedge_attributes
from wedge.zarr_array import open_array

__all__ = [
    "Kind",
    "Writer",
    "create_tilts",
    "create_volume",
    "lock_output",
    "open_tilts",
    "open_volume",
    "refuse_existing",
    "release_output",
    "store_kind",
]

_ARRAYS: dict[str, str] = {"tilts": "tilts", "volume": "0"}
_WEIGHTS = "weights"


def store_kind(path: str | Path) -> Kind:
    """Return what a complete store holds, ``"tilts"`` or ``"volume"``.

    Raises
    ------
    InputError
        If there is no store, it was not written by wedge, or it is incomplete.
    """
    return wedge_attributes(Path(path))["kind"]


def open_tilts(path: str | Path) -> TiltSeries:
    """Open a tilt series; nothing is read but its metadata.

    Raises
    ------
    InputError
        If there is no store, it is incomplete or damaged, or it is a volume.
    """
    path = Path(path)
    attributes = wedge_attributes(path, "tilts")
    geometry = TiltGeometry.from_json(attributes["geometry"])
    shape = (geometry.num_tilts, *geometry.detector_shape)
    array = open_array(path, _ARRAYS["tilts"], shape)
    weights = open_array(path, _WEIGHTS, shape) if attributes.get("weighted") else None
    return TiltSeries(array, geometry, str(path), bool(attributes.get("simulated")), attributes.get("provenance", {}), weights)


def open_volume(path: str | Path) -> Volume:
    """Open a volume; nothing is read but its metadata.

    Raises
    ------
    InputError
        If there is no store, it is incomplete or damaged, or it is a tilt series.
    """
    path = Path(path)
    attributes = wedge_attributes(path, "volume")
    shape = tuple(attributes["shape"])
    array = open_array(path, _ARRAYS["volume"], shape)
    # Copies are for looking alone: a store without them is whole.
    coarser = [(str(level), coarse) for level, coarse in enumerate(level_shapes(shape)) if level and (path / str(level)).is_dir()]
    angles = attributes.get("tilt_angles_deg")
    return Volume(
        array,
        attributes.get("voxel_size_angstrom"),
        str(path),
        None if angles is None else tuple(float(angle) for angle in angles),
        attributes.get("provenance", {}),
        tuple(open_array(path, name, coarse) for name, coarse in coarser),
    )


def create_tilts(
    path: str | Path,
    geometry: TiltGeometry,
    *,
    simulated: bool = False,
    weighted: bool = False,
    overwrite: bool = False,
    lock: BaseFileLock | None = None,
) -> Writer:
    """Begin a store of a tilt series, ``(tilt, y, x)`` of the geometry's shapes.

    Parameters
    ----------
    path
        Where it will be, once committed.
    geometry
        Angles and shapes.
    simulated
        True where the zero of intensity is known to be zero density.
    weighted
        Whether the rays have weights, which `Writer.write_weights` then takes.
    overwrite
        Replace what is there, at the commit.
    lock
        The output's lock from `lock_output`, where the caller holds it.

    Raises
    ------
    OutputExistsError
        If the output exists, or another run is writing it.
    InputError
        If the place cannot be written or the disk is full.
    """
    shape = (geometry.num_tilts, *geometry.detector_shape)
    attributes = {"simulated": simulated, "geometry": geometry.to_json(), **({"weighted": True} if weighted else {})}
    return _create(Path(path), "tilts", shape, ("tilt", "y", "x"), attributes, {}, overwrite, lock)


def create_volume(
    path: str | Path,
    shape: tuple[int, int, int],
    *,
    voxel_size_angstrom: float | None = None,
    tilt_angles_deg: tuple[float, ...] | None = None,
    ome_zarr: OmeZarrVersion = "0.5",
    overwrite: bool = False,
    lock: BaseFileLock | None = None,
) -> Writer:
    """Begin a store of a ``(z, y, x)`` volume.

    Parameters
    ----------
    path
        Where it will be, once committed.
    shape
        ``(z, y, x)`` voxels.
    voxel_size_angstrom
        Edge of a voxel, or None where nobody knows it.
    tilt_angles_deg
        Angles of the views it is made from, where known.
    ome_zarr
        Version of OME-Zarr, and so of Zarr.
    overwrite
        Replace what is there, at the commit.
    lock
        The output's lock from `lock_output`, where the caller holds it.

    Raises
    ------
    OutputExistsError
        If the output exists, or another run is writing it.
    InputError
        If the place cannot be written or the disk is full.
    """
    angles = None if tilt_angles_deg is None else [float(angle) for angle in tilt_angles_deg]
    voxel = None if voxel_size_angstrom is None else float(voxel_size_angstrom)
    attributes = {"shape": [int(n) for n in shape], "voxel_size_angstrom": voxel, "tilt_angles_deg": angles}
    ome = ome_attributes(Path(path).stem, shape, voxel, ome_zarr)
    return _create(Path(path), "volume", shape, ("z", "y", "x"), attributes, ome, overwrite, lock, ZARR_FORMATS[ome_zarr])


class _ZarrSink:
    """Rows into the array of a partial store, and into its coarser copies; the attribute ``complete`` at the end."""

    def __init__(
        self, group: zarr.Group, array: zarr.Array[Any], weights: zarr.Array[Any] | None, copies: Sequence[zarr.Array[Any]]
    ) -> None:
        self._group = group
        self._array = array
        self._weights = weights
        self._coarser = CoarserCopies(array, copies) if copies else None

    def write_rows(self, y_start: int, block: np.ndarray) -> None:
        if self._coarser is None:
            write_rows(self._array, y_start, block)
        else:
            write_rows(self._array, y_start, block, partial(self._coarser.add, y_start, block))

    def write_weights(self, y_start: int, block: np.ndarray) -> None:
        if self._weights is not None:
            write_rows(self._weights, y_start, block)

    def finish(self, provenance: dict[str, Any]) -> None:
        if self._coarser is not None:
            self._coarser.finish()
        attributes: Any = self._group.attrs["wedge"]
        self._group.attrs["wedge"] = {**attributes, "provenance": provenance, "complete": True}

    def close(self) -> None:
        """Close nothing: a store keeps no file open."""


def _create_array(group: zarr.Group, name: str, shape: tuple[int, int, int], axes: tuple[str, str, str]) -> zarr.Array[Any]:
    by_format: dict[str, Any] = {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), "dimension_names": axes}
    if group.metadata.zarr_format == 2:
        by_format = {
            "compressors": numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    return group.create_array(
        name,
        shape=shape,
        chunks=(shape[0], min(chunk_rows(shape), shape[1]), shape[2]),
        dtype="float32",
        # A hole, should there ever be one, is seen as NaN instead of passing for an empty specimen.
        fill_value=float("nan"),
        **by_format,
    )


def _create(
    path: Path,
    kind: Kind,
    shape: tuple[int, int, int],
    axes: tuple[str, str, str],
    attributes: dict[str, Any],
    other_attributes: dict[str, Any],
    overwrite: bool,
    lock: BaseFileLock | None,
    zarr_format: Literal[2, 3] = 3,
) -> Writer:
    if overwrite:
        _refuse_other_kind(path, kind)
    output = PendingOutput(path, overwrite=overwrite, lock=lock)
    wedge = {"kind": kind, "complete": False, "format_version": FORMAT_VERSION, **attributes}
    try:
        with writing(path):
            group = zarr.create_group(str(output.partial), zarr_format=zarr_format, attributes={**other_attributes, "wedge": wedge})
            array = _create_array(group, _ARRAYS[kind], shape, axes)
            weights = _create_array(group, _WEIGHTS, shape, axes) if attributes.get("weighted") else None
            coarse = level_shapes(shape)[1:] if kind == "volume" else []
            copies = [_create_array(group, str(level), level_shape, axes) for level, level_shape in enumerate(coarse, start=1)]
    except BaseException:
        output.discard()
        raise
    return Writer(output, shape, _ZarrSink(group, array, weights, copies), weights is not None)


def _refuse_other_kind(path: Path, kind: Kind) -> None:
    """Refuse a slip that costs data: overwriting is for making a result anew."""
    try:
        there = store_kind(path)
    except InputError:
        return
    if there != kind:
        raise OutputExistsError(f"output is {KIND_NAMES[there]} and is not replaced by {KIND_NAMES[kind]}: {path}; choose another name")
