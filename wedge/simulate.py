"""The simulator: a specimen of hollow spheres and its tilt series, written a few rows at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from wedge import store
from wedge.errors import UsageError
from wedge.geometry import TiltGeometry
from wedge.noise import add_poisson, check_eta
from wedge.output import refuse_existing, writing
from wedge.provenance import RunClock
from wedge.slabs import MAX_CHUNK_ROWS, slab_ranges
from wedge.spheres import Spheres, chords, make_spheres, rasterize

if TYPE_CHECKING:
    from wedge.registry import Resolved

NoiseName = Literal["none", "poisson"]


def simulate_spheres(
    directory: str | Path,
    *,
    shape: tuple[int, int, int],
    num_tilts: int,
    tilt_range_deg: tuple[float, float],
    noise: str = "none",
    eta: float = 0.0,
    seed: int = 0,
    projector: "Resolved | None" = None,
    device: str = "cpu",
    pixel_size_angstrom: float = 10.0,
    overwrite: bool = False,
    command: Sequence[str] = (),
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Path, Path]:
    """Write ``directory/tilts.zarr`` and ``directory/volume.zarr``, a few rows at a time, and return their paths.

    Parameters
    ----------
    directory
        Made if it is missing.
    shape
        ``(z, y, x)`` voxels; the detector is ``(y, x)`` pixels of the same size.
    num_tilts, tilt_range_deg
        Views at equal increments, both ends included.
    noise, eta
        See `wedge.noise`.
    seed
        Of spheres and noise.
    projector
        A projector that makes the views from the voxels, or None for chord lengths in closed form.
    device
        Where the projector works.
    pixel_size_angstrom
        Edge of a pixel and a voxel; spheres have no size of their own.
    overwrite
        Replace existing stores.
    command
        The command line, for the record.
    on_progress
        Told the number of rows finished since the last call.

    Raises
    ------
    UsageError
        If the shape, the angles or the noise level make no sense.
    OutputExistsError
        If a store exists; before any work.
    """
    clock, directory = RunClock(), Path(directory)
    _check_noise(noise, eta)
    geometry = _simulated_geometry(shape, num_tilts, tilt_range_deg, pixel_size_angstrom)
    spheres = make_spheres(geometry.volume_shape, seed)
    tilts_path, volume_path = directory / "tilts.zarr", directory / "volume.zarr"
    for path in (tilts_path, volume_path):
        refuse_existing(path, overwrite=overwrite)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    mean_projection = spheres.total_density / (geometry.detector_shape[0] * geometry.detector_shape[1])
    voxel = geometry.voxel_size_angstrom
    with (
        _view_maker(spheres, geometry, projector, device) as views,
        store.create_volume(volume_path, geometry.volume_shape, voxel_size_angstrom=voxel, overwrite=overwrite) as volume,
        store.create_tilts(tilts_path, geometry, simulated=True, overwrite=overwrite) as tilts,
    ):
        for rows in slab_ranges(geometry.volume_shape[1], MAX_CHUNK_ROWS):
            slices = rasterize(spheres, rows.start, rows.stop)
            volume.write_rows(rows.start, slices)
            sinograms = views(slices, rows.start, rows.stop)
            if noise == "poisson":
                sinograms = add_poisson(sinograms, rows.start, mean_projection=mean_projection, eta=eta, seed=seed)
            tilts.write_rows(rows.start, sinograms)
            if on_progress is not None:
                on_progress(len(rows))
        config = {
            "shape": list(geometry.volume_shape),
            "num_tilts": num_tilts,
            "tilt_range_deg": list(tilt_range_deg),
            "noise": noise,
            "eta": eta,
            "mean_projection": mean_projection,
            "projections": "analytic chords" if projector is None else projector.entry.component.name,
            "projector_options": None if projector is None or projector.options is None else projector.options.model_dump(mode="json"),
            "pixel_size_angstrom": pixel_size_angstrom,
            "num_spheres": len(spheres.centres),
        }
        columns = np.column_stack([spheres.centres, spheres.outer_radii, spheres.inner_radii])
        positions = {"spheres_zyx_outer_inner": columns.round(4).tolist()}
        volume.commit(clock.record(command, config | positions, seed, device=device))
        tilts.commit(clock.record(command, config, seed, device=device))
    return tilts_path, volume_path


def _check_noise(noise: str, eta: float) -> None:
    """Refuse noise that is unknown, or a level without noise."""
    if noise not in get_args(NoiseName):
        raise UsageError(f"unknown noise {noise!r}: choose one of {', '.join(get_args(NoiseName))}")
    check_eta(eta)
    if noise == "none" and eta > 0:
        raise UsageError(f"noise level eta is {eta}, but there is no noise: add --noise poisson")


def _simulated_geometry(
    shape: tuple[int, int, int], num_tilts: int, tilt_range_deg: tuple[float, float], pixel_size_angstrom: float
) -> TiltGeometry:
    """Return equally spaced views of a box on a detector of its width and height."""
    low, high = tilt_range_deg
    if num_tilts < 1:
        raise UsageError(f"number of tilts is {num_tilts}: expected 1 or more")
    if not -180 <= low <= high <= 180 or (low == high and num_tilts > 1):
        raise UsageError(f"tilt range is {low} to {high} degrees: expected LO below HI, both within -180 to 180")
    if not 0 < pixel_size_angstrom < float("inf"):
        raise UsageError(f"voxel size is {pixel_size_angstrom}: expected a positive number of angstrom")
    if min(shape) < 1:
        raise UsageError(f"shape {tuple(shape)} is empty: expected positive counts of voxels")
    angles = tuple(float(angle) for angle in np.linspace(low, high, num_tilts))
    return TiltGeometry(angles, (shape[1], shape[2]), (shape[0], shape[1], shape[2]), pixel_size_angstrom=pixel_size_angstrom)


@contextmanager
def _view_maker(
    spheres: Spheres, geometry: TiltGeometry, projector: "Resolved | None", device: str
) -> Iterator[Callable[[np.ndarray, int, int], np.ndarray]]:
    """Give a function from slices and their rows to ``(y, tilt, x)`` projections."""
    if projector is None:
        yield lambda slices, y_start, y_stop: chords(spheres, geometry, y_start, y_stop)
        return
    import torch

    built: Any = projector.build(geometry, torch.device(device))
    try:
        yield lambda slices, y_start, y_stop: built.project(torch.from_numpy(slices).to(device)).cpu().numpy()
    finally:
        built.close()
