"""Zarr stores of tilt series and volumes: the only module that writes and reads them.

A store is a Zarr 3 group. Its attribute ``wedge`` says of which kind it is, whether it is complete, and how it was made; a tilt series is
its array ``tilts``, ``(tilt, y, x)``, and ``weights`` of that shape where rays don't count alike; a volume is its array ``0``,
``(z, y, x)``, as OME-Zarr 0.5 names it, and where it is large the arrays ``1``, ``2`` and so on are coarser copies. Chunks span all of the
first and last axis and a few rows.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from filelock import BaseFileLock
from zarr.codecs import BloscCodec

from wedge.data import TiltSeries, Volume
from wedge.errors import InputError, OutputExistsError
from wedge.geometry import TiltGeometry
from wedge.output import PendingOutput, Writer, lock_output, partial_path, refuse_existing, release_output, writing
from wedge.pyramid import halve, level_scale, level_shapes
from wedge.slabs import chunk_rows, slab_ranges, write_rows
from wedge.zarr_array import open_array

__all__ = [
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

FORMAT_VERSION = 1
Kind = Literal["tilts", "volume"]
_NAMES: dict[str, str] = {"tilts": "a tilt series", "volume": "a volume"}
_ARRAYS: dict[str, str] = {"tilts": "tilts", "volume": "0"}
_WEIGHTS = "weights"


def store_kind(path: str | Path) -> Kind:
    """Return what a complete store holds, ``"tilts"`` or ``"volume"``.

    Raises
    ------
    InputError
        If there is no store, it was not written by wedge, or it is incomplete.
    """
    return _read_attributes(Path(path))["kind"]


def open_tilts(path: str | Path) -> TiltSeries:
    """Open a tilt series; nothing is read but its metadata.

    Raises
    ------
    InputError
        If there is no store, it is incomplete or damaged, or it is a volume.
    """
    path = Path(path)
    attributes = _read_attributes(path, "tilts")
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
    attributes = _read_attributes(path, "volume")
    array = open_array(path, _ARRAYS["volume"], tuple(attributes["shape"]))
    angles = attributes.get("tilt_angles_deg")
    return Volume(
        array,
        attributes.get("voxel_size_angstrom"),
        str(path),
        None if angles is None else tuple(float(angle) for angle in angles),
        attributes.get("provenance", {}),
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
    ome = _ome_metadata(Path(path).stem, shape, voxel)
    return _create(Path(path), "volume", shape, ("z", "y", "x"), attributes, {"ome": ome}, overwrite, lock)


class _ZarrSink:
    """Rows into the array of a partial store; coarser copies and the attribute ``complete`` at the end."""

    def __init__(
        self, group: zarr.Group, array: zarr.Array[Any], axes: tuple[str, str, str], kind: Kind, weights: zarr.Array[Any] | None
    ) -> None:
        self._group = group
        self._weights = weights
        self._array = array
        self._axes = axes
        self._kind = kind

    def write_rows(self, y_start: int, block: np.ndarray) -> None:
        write_rows(self._array, y_start, block)

    def write_weights(self, y_start: int, block: np.ndarray) -> None:
        if self._weights is not None:
            write_rows(self._weights, y_start, block)

    def finish(self, provenance: dict[str, Any]) -> None:
        if self._kind == "volume":
            self._write_coarser_levels()
        attributes: Any = self._group.attrs["wedge"]
        self._group.attrs["wedge"] = {**attributes, "provenance": provenance, "complete": True}

    def _write_coarser_levels(self) -> None:
        finer = self._array
        z, y, x = finer.shape
        for level, shape in enumerate(level_shapes((z, y, x))[1:], start=1):
            coarser = _create_array(self._group, str(level), shape, self._axes)
            factor = 2 if finer.shape[1] > 1 else 1
            for rows in slab_ranges(shape[1], coarser.chunks[1]):
                block = np.asarray(finer[:, factor * rows.start : factor * rows.stop, :])
                coarser[:, rows.start : rows.stop, :] = halve(block)
            finer = coarser

    def close(self) -> None:
        """Close nothing: a store keeps no file open."""


def _create_array(group: zarr.Group, name: str, shape: tuple[int, int, int], axes: tuple[str, str, str]) -> zarr.Array[Any]:
    return group.create_array(
        name,
        shape=shape,
        chunks=(shape[0], min(chunk_rows(shape), shape[1]), shape[2]),
        dtype="float32",
        # A hole, should there ever be one, is seen as NaN instead of passing for an empty specimen.
        fill_value=float("nan"),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        dimension_names=axes,
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
) -> Writer:
    if overwrite:
        _refuse_other_kind(path, kind)
    output = PendingOutput(path, overwrite=overwrite, lock=lock)
    wedge = {"kind": kind, "complete": False, "format_version": FORMAT_VERSION, **attributes}
    try:
        with writing(path):
            group = zarr.create_group(str(output.partial), zarr_format=3, attributes={**other_attributes, "wedge": wedge})
            array = _create_array(group, _ARRAYS[kind], shape, axes)
            weights = _create_array(group, _WEIGHTS, shape, axes) if attributes.get("weighted") else None
    except BaseException:
        output.discard()
        raise
    return Writer(output, shape, _ZarrSink(group, array, axes, kind, weights), weights is not None)


def _refuse_other_kind(path: Path, kind: Kind) -> None:
    """Refuse a slip that costs data: overwriting is for making a result anew."""
    try:
        there = store_kind(path)
    except InputError:
        return
    if there != kind:
        raise OutputExistsError(f"output is {_NAMES[there]} and is not replaced by {_NAMES[kind]}: {path}; choose another name")


def _ome_metadata(name: str, shape: tuple[int, int, int], voxel_size_angstrom: float | None) -> dict[str, Any]:
    unit = {} if voxel_size_angstrom is None else {"unit": "angstrom"}
    voxel = 1.0 if voxel_size_angstrom is None else voxel_size_angstrom
    datasets = []
    for level in range(len(level_shapes(shape))):
        scale = [factor * voxel for factor in level_scale(shape, level)]
        # A coarse voxel's centre lies between those of the voxels that it is the mean of.
        translation = [(factor - 1) / 2 * voxel for factor in level_scale(shape, level)]
        transformations = [{"type": "scale", "scale": scale}] + ([{"type": "translation", "translation": translation}] if level else [])
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    axes = [{"name": axis, "type": "space", **unit} for axis in ("z", "y", "x")]
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}


def _read_attributes(path: Path, expected: Kind | None = None) -> dict[str, Any]:
    if not path.exists():
        partial = partial_path(path)
        hint = f"{partial} is a write that did not finish: run its command again" if partial.exists() else "check the path"
        raise InputError(f"no such store: {path}; {hint}")
    if not path.is_dir():
        raise InputError(f"not a Zarr store but a file: {path}; name the folder that ends in .zarr")
    if not (path / "zarr.json").is_file():
        raise InputError(f"not a Zarr 3 store, or an incomplete one: {path} has no zarr.json; make it anew")
    try:
        attributes = json.loads((path / "zarr.json").read_text())["attributes"].get("wedge")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"damaged store: cannot read {path / 'zarr.json'}; make it anew") from error
    if not isinstance(attributes, dict) or attributes.get("kind") not in _ARRAYS:
        raise InputError(f"not a store that wedge wrote: {path}; export it to MRC and read that")
    if path.name.endswith(".partial") or attributes.get("complete") is not True:
        raise InputError(f"incomplete store, its writing did not finish: {path}; run the command that makes it again")
    if attributes.get("format_version") != FORMAT_VERSION:
        raise InputError(f"store of format {attributes.get('format_version')}, this wedge reads {FORMAT_VERSION}: {path}; update wedge")
    kind = attributes["kind"]
    needed, record = ("geometry", dict) if kind == "tilts" else ("shape", list), attributes.get("provenance", {})
    if not isinstance(attributes.get(needed[0]), needed[1]) or not isinstance(record, dict):
        raise InputError(f"damaged store: {path / 'zarr.json'} lacks the {needed[0]} or how it was made; make it anew")
    if expected is not None and kind != expected:
        raise InputError(f"is {_NAMES[kind]}, expected {_NAMES[expected]}: {path}")
    return attributes
