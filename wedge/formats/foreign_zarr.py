"""Volumes that other programs wrote as OME-Zarr, versions 0.4 and 0.5: one volume, ``(z, y, x)``, or with further axes of length one.

Chunks that are not there are the array's fill value, as Zarr means it; only of its own stores does wedge know that all were written.
"""

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from wedge.data import Volume
from wedge.errors import InputError
from wedge.formats.file_array import full_key
from wedge.store_attributes import group_attributes, is_number

_ANGSTROM = {"angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4, "millimeter": 1e7, "picometer": 1e-2}
_VERSIONS = ("0.4", "0.5")
_LARGEST_AXIS = 2**31
_LARGEST_RATIO = 10_000
"""Of what is stated to what is held: no compression and no leaving out of empty chunks does better on a specimen."""


@dataclass(frozen=True)
class ForeignArray:
    """Three axes of a Zarr array that may have more, of length one, or these in another order.

    Parameters
    ----------
    array
        The Zarr array.
    axes
        Which of its axes is z, y and x.
    """

    array: Any
    axes: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Counts along z, y and x."""
        z, y, x = (int(self.array.shape[axis]) for axis in self.axes)
        return z, y, x

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Chunk lengths along z, y and x."""
        z, y, x = (int(self.array.chunks[axis]) for axis in self.axes)
        return z, y, x

    @property
    def dtype(self) -> Any:
        """Type of one value."""
        return self.array.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part; one integer or slice per axis, missing ones are whole."""
        full: list[Any] = [0] * self.array.ndim
        for axis, part in zip(self.axes, full_key(key), strict=True):
            # An integer stays an axis of length one until the axes are in order.
            full[axis] = slice(part, part + 1 or None) if isinstance(part, int | np.integer) else part
        ranks = [sorted(self.axes).index(axis) for axis in self.axes]
        block = np.asarray(self.array[tuple(full)]).transpose(ranks)
        return block[tuple(0 if isinstance(part, int | np.integer) else slice(None) for part in full_key(key))]


def is_foreign(path: Path) -> bool:
    """Say whether a folder is an OME-Zarr image without wedge's attributes.

    Raises
    ------
    InputError
        If it is no Zarr store, a damaged one, or a collection of images.
    """
    attributes = group_attributes(path)
    if "wedge" in attributes:
        return False
    ome = attributes.get("ome", attributes)
    if isinstance(ome, dict) and ("bioformats2raw.layout" in ome or "plate" in ome):
        raise InputError(f"is a collection of images, expected one: {path}; name the image inside, such as {path / '0'}")
    return _multiscales(attributes) is not None


def open_foreign_volume(path: Path, voxel_size_angstrom: float | None = None) -> Volume:
    """Open the finest level of an OME-Zarr image of any program; nothing is read but its metadata.

    Parameters
    ----------
    path
        The image's folder.
    voxel_size_angstrom
        Edge of a voxel; decides over what the metadata says.

    Raises
    ------
    InputError
        If it is damaged, not of OME-Zarr 0.4 or 0.5, has more than one time point or channel, complex values, voxels that are no cubes,
        or lengths in a unit that wedge does not know.
    """
    multiscale = _checked_multiscale(group_attributes(path), path)
    dataset = multiscale["datasets"][0]
    array = _open_array(path, dataset["path"])
    names = [axis["name"] for axis in multiscale["axes"]]
    if len(names) != array.ndim:
        raise InputError(f"damaged OME-Zarr: {array.ndim} axes in array {dataset['path']!r}, {len(names)} in the metadata: {path}")
    if not {"z", "y", "x"} <= set(names) or len(set(names)) != len(names):
        raise InputError(f"axes {', '.join(names)[:60]} in {path}: expected z, y and x, once each; write a 3-D volume")
    several = [f"{n} along {name[:20]}" for name, n in zip(names, array.shape, strict=True) if name not in ("z", "y", "x") and n != 1]
    if several:
        raise InputError(f"more than one volume in {path}: {', '.join(several)}; write each to a store of its own")
    axes = names.index("z"), names.index("y"), names.index("x")
    scale = _scale([*dataset.get("coordinateTransformations", []), *multiscale.get("coordinateTransformations", [])], len(names), path)
    units = [multiscale["axes"][axis].get("unit") for axis in axes]
    size = voxel_size_angstrom or _voxel_size([scale[axis] for axis in axes], units, path)
    return Volume(ForeignArray(array, axes), size, str(path))


def refuse_not_finite(volume: Volume) -> None:
    """Look at every value, chunk by chunk.

    Raises
    ------
    InputError
        If a value is NaN or infinite, or cannot be read.
    """
    array: Any = volume.array
    if np.dtype(array.dtype).kind != "f":
        return
    (nz, ny, nx), (cz, cy, cx) = array.shape, array.chunks
    for z, y, x in product(range(0, nz, cz), range(0, ny, cy), range(0, nx, cx)):
        try:
            block = array[z : z + cz, y : y + cy, x : x + cx]
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"cannot read the chunk at {(z, y, x)} of {volume.name}: {reason}; the file is damaged, copy it anew"
            ) from error
        if count := int(np.count_nonzero(~np.isfinite(block))):
            raise InputError(f"{count} values of the chunk at {(z, y, x)} of {volume.name} are NaN or infinite; repair the store")


def _multiscales(attributes: dict[str, Any]) -> Any:
    ome = attributes.get("ome", attributes)
    return ome.get("multiscales") if isinstance(ome, dict) else None


def _checked_multiscale(attributes: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the first image's metadata once all that is used of it is of the right kind."""
    multiscales = _multiscales(attributes)
    damaged = InputError(f"damaged OME-Zarr, or none: {path} names no axes and arrays; make it anew")
    if not (isinstance(multiscales, list) and multiscales and isinstance(multiscales[0], dict)):
        raise damaged
    first = multiscales[0]
    ome = attributes.get("ome")
    version = ome.get("version") if isinstance(ome, dict) else first.get("version", "0.4")
    if version not in _VERSIONS:
        raise InputError(f"OME-Zarr version {str(version)[:20]} in {path}: wedge reads {' and '.join(_VERSIONS)}; convert it")
    axes, datasets = first.get("axes"), first.get("datasets")
    if not (isinstance(axes, list) and all(isinstance(axis, dict) and isinstance(axis.get("name"), str) for axis in axes)):
        raise damaged
    if not (isinstance(datasets, list) and datasets and isinstance(datasets[0], dict) and isinstance(datasets[0].get("path"), str)):
        raise damaged
    for each in (datasets[0], first):
        if not isinstance(each.get("coordinateTransformations", []), list):
            raise damaged
    return first


def _open_array(path: Path, name: str) -> Any:
    place = path / name
    if path.resolve() not in place.resolve().parents:
        raise InputError(f"damaged OME-Zarr: array {name[:60]!r} lies outside {path}")
    try:
        array: Any = zarr.open_array(str(place), mode="r")
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except Exception as error:  # zarr raises many kinds for a damaged file, and all mean the same here
        raise InputError(f"damaged OME-Zarr: cannot open array {name[:60]!r} of {path}; copy or make it anew") from error
    if np.dtype(array.dtype).kind not in "fiub":
        raise InputError(f"values of type {array.dtype} in {path}: expected integers or real numbers; convert it")
    if not all(0 < n < _LARGEST_AXIS for n in (*array.shape, *array.chunks)):
        raise InputError(f"damaged OME-Zarr, or an empty one: {path} states the shape {array.shape} in chunks of {array.chunks}")
    claimed = array.nchunks * math.prod(array.chunks) * array.dtype.itemsize
    held = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    if claimed > _LARGEST_RATIO * held:
        raise InputError(
            f"damaged OME-Zarr, or an empty one: {path} states {claimed} bytes of values and holds {held}; copy or make it anew"
        )
    return array


def _scale(transformations: list[Any], count: int, path: Path) -> list[float]:
    """Multiply the scales of a level and of the whole image; shifts say nothing about a voxel's size."""
    total = [1.0] * count
    for each in transformations:
        if not isinstance(each, dict) or each.get("type") not in ("scale", "translation", "identity"):
            raise InputError(f"damaged OME-Zarr: a transformation that is neither a scale nor a translation in {path}")
        if each["type"] == "scale":
            factors = each.get("scale")
            if not (isinstance(factors, list) and len(factors) == count and all(is_number(f) and f > 0 for f in factors)):
                raise InputError(f"scale in {path} is {str(factors)[:60]}: expected {count} positive numbers")
            total = [one * factor for one, factor in zip(total, factors, strict=True)]
    return total


def _voxel_size(scale: list[float], units: list[Any], path: Path) -> float | None:
    """Return the edge of a voxel in angstrom, or None where no unit is stated."""
    if all(unit is None for unit in units):
        return None
    unknown = [unit for unit in units if not isinstance(unit, str) or unit not in _ANGSTROM]
    if unknown:
        raise InputError(f"unit {str(unknown[0])[:40]!r} of lengths in {path}: expected {', '.join(_ANGSTROM)}; give --voxel-size")
    sizes = [factor * _ANGSTROM[unit] for factor, unit in zip(scale, units, strict=True)]
    if max(sizes) > 1.01 * min(sizes):
        listed = " x ".join(f"{size:.4g}" for size in sizes)
        remedy = "give --voxel-size if that is wrong, else resample it first"
        raise InputError(f"voxels are no cubes: {path} states {listed} angstrom (z, y, x); {remedy}")
    if not math.isfinite(sizes[-1]) or sizes[-1] <= 0:
        raise InputError(f"voxel size in {path} is {sizes[-1]} angstrom: expected a positive number")
    return float(f"{sizes[-1]:.10g}")
