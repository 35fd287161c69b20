"""OME-Zarr metadata of a volume and its coarser copies: version 0.5 on Zarr 3, and 0.4 on Zarr 2 for programs that read no newer one."""

from typing import Any, Literal

from wedge.pyramid import level_scale, level_shapes

OmeZarrVersion = Literal["0.4", "0.5"]
VERSIONS: tuple[OmeZarrVersion, ...] = ("0.5", "0.4")
ZARR_FORMATS: dict[OmeZarrVersion, Literal[2, 3]] = {"0.4": 2, "0.5": 3}
"""The Zarr format that each version of OME-Zarr lies on."""


def ome_attributes(
    name: str, shape: tuple[int, int, int], voxel_size_angstrom: float | None, version: OmeZarrVersion = "0.5"
) -> dict[str, Any]:
    """Return the attributes of a volume's group.

    Parameters
    ----------
    name
        What viewers call the volume.
    shape
        ``(z, y, x)`` voxels of the finest level; the others follow from it.
    voxel_size_angstrom
        Edge of a voxel, or None where nobody knows it: axes then have no unit and the scale counts voxels.
    version
        Of OME-Zarr.
    """
    unit = {} if voxel_size_angstrom is None else {"unit": "angstrom"}
    axes = [{"name": axis, "type": "space", **unit} for axis in ("z", "y", "x")]
    voxel = 1.0 if voxel_size_angstrom is None else voxel_size_angstrom
    datasets = []
    for level in range(len(level_shapes(shape))):
        scale = [factor * voxel for factor in level_scale(shape, level)]
        # A coarse voxel's centre lies between those of the voxels that it is the mean of.
        translation = [(factor - 1) / 2 * voxel for factor in level_scale(shape, level)]
        transformations = [{"type": "scale", "scale": scale}] + ([{"type": "translation", "translation": translation}] if level else [])
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    multiscale = {"name": name, "axes": axes, "datasets": datasets}
    if version == "0.4":
        return {"multiscales": [{"version": version, **multiscale}]}
    return {"ome": {"version": version, "multiscales": [multiscale]}}
