"""Filtered backprojection through any projector: ``f = sum_k dtheta_k (filter * p_k)(x cos + z sin)``.

The core filters and weighs each view by the true angle that it stands for; the projector's transpose does the rest. So the density is right
inside the measured cone, whatever the number and the spacing of views.

Filters
-------
``ramp``
    ``|k|``, sampled in space. Sharpest and noisiest.
``hamming``, ``hann``
    The ramp under a window that falls to 0.08 or 0 at Nyquist.
``sirt-like``
    The ramp times ``1 - (1 - a / |k|)**n``: what ``n`` iterations of SIRT let through, ``a = 1 / (D * angular range)``.
``overlap``
    Exact filter: each frequency divided by the number of views that see it in a specimen of thickness D, counted by triangles.

D is the thickness of the volume in detector pixels.

References
----------
Harauz and van Heel (1986), Exact filters for general geometry three dimensional reconstruction, Optik 73, 146-156
Zeng (2012), https://doi.org/10.1118/1.3673956
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch

from wedge.contracts import Projector
from wedge.data import TiltSeries
from wedge.errors import DeviceError, InputError, UsageError
from wedge.fourier import ramp_weight, voronoi_weights_rad
from wedge.geometry import TiltGeometry
from wedge.out_of_memory import RowsAtOnce
from wedge.output import Writer
from wedge.overlap import WriteBehind, computed, on_its_way
from wedge.provenance import resident_bytes
from wedge.slabs import available_memory_bytes, chunk_rows, read_sinograms

FilterName = Literal["ramp", "hamming", "hann", "sirt-like", "overlap"]
Edges = Literal["zero", "taper"]

_WORKING_COPIES = 9
"""Arrays of the size of a padded sinogram that are held at once: by filtering, scratch space included, and by what reads ahead."""

_SLICE_COPIES = 6
"""Arrays of the size of the slices, those that are written meanwhile, chunk beside chunk, among them."""


def default_edges(tilts: TiltSeries) -> Edges:
    """Return what suits a tilt series: ``zero`` where the zero of intensity is known to be zero density, else ``taper``."""
    return "zero" if tilts.simulated else "taper"


def filter_response(
    geometry: TiltGeometry, filter: str = "ramp", *, iterations: int = 20, edges: str = "zero", device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return what each view's spectrum is multiplied by, ``(tilt, frequency)`` float32, angular weights included.

    Parameters
    ----------
    geometry
        Angles, detector and thickness.
    filter
        One of the names above.
    iterations
        Of ``sirt-like``: more let through more noise and detail.
    edges
        See `filter_sinograms`; ``taper`` sets the zero frequency to 0.
    device
        Where to put it.

    Raises
    ------
    UsageError
        If the filter or the edges are unknown, or ``iterations`` is below 1.
    """
    if edges not in get_args(Edges):
        raise UsageError(f"unknown edges {edges!r}: choose one of auto, {', '.join(get_args(Edges))}")
    if filter not in get_args(FilterName):
        raise UsageError(f"unknown filter {filter!r}: choose one of {', '.join(get_args(FilterName))}")
    if iterations < 1:
        raise UsageError(f"iterations of the SIRT-like filter are {iterations}: expected 1 or more")
    n_fft = _padded_length(geometry.detector_shape[1])
    frequency = torch.arange(n_fft // 2 + 1, dtype=torch.float64) / n_fft
    angles_rad = torch.from_numpy(geometry.tilt_angles_rad)
    thickness = geometry.volume_shape[0] * geometry.voxel_size_in_pixels
    if filter == "overlap":
        response = _overlap_response(frequency, angles_rad, thickness)
    else:
        weights = torch.from_numpy(voronoi_weights_rad(geometry.tilt_angles_deg))
        window = _window(filter, frequency, iterations, 1 / (thickness * float(weights.sum())))
        response = weights[:, None] * (ramp_weight(n_fft).double() * window)
    if edges == "taper":
        response[:, 0] = 0
    return response.float().to(device)


def _padded_length(detector_width: int) -> int:
    """Return the smallest length of at least twice the detector that has small factors only."""
    length = 2 * detector_width
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and length % 2 == 0:
            return length
        length += 1


def _window(filter: str, frequency: torch.Tensor, iterations: int, step: float) -> torch.Tensor:
    """Return what multiplies the ramp at each frequency (cycles per pixel)."""
    if filter == "hamming":
        return 0.54 + 0.46 * torch.cos(2 * math.pi * frequency)
    if filter == "hann":
        return 0.5 + 0.5 * torch.cos(2 * math.pi * frequency)
    if filter == "sirt-like":
        converged = torch.clamp(step / torch.clamp(frequency, min=1e-12), max=1.0)
        return 1 - (1 - converged) ** iterations
    return torch.ones_like(frequency)


def _overlap_response(frequency: torch.Tensor, angles_rad: torch.Tensor, thickness: float) -> torch.Tensor:
    """Return ``1 / (D sum_j triangle(D k sin(theta_i - theta_j)))``: the ramp times the angle where views overlap, 1 / D elsewhere."""
    rows = []
    for angle in angles_rad:
        apart = thickness * frequency * torch.abs(torch.sin(angle - angles_rad))[:, None]
        rows.append(1 / (thickness * torch.clamp(1 - apart, min=0).sum(dim=0)))
    return torch.stack(rows)


def filter_sinograms(
    sinograms: torch.Tensor, geometry: TiltGeometry, filter: str = "ramp", *, iterations: int = 20, edges: str = "zero"
) -> torch.Tensor:
    """Filter every view and weigh it by the angle that it stands for.

    Parameters
    ----------
    sinograms
        ``(y, tilt, x)`` float32.
    geometry
        Of these views.
    filter, iterations
        See the module.
    edges
        What lies beyond the detector. ``zero``: nothing, as for a specimen that no view cuts off. ``taper``: the edge pixels' values, led
        into one another by a cosine, and the zero frequency removed: for truncated views, and for views with a background, of which it
        leaves nothing.

    Returns
    -------
    torch.Tensor
        ``(y, tilt, x)`` float32 on the same device.
    """
    return _apply(sinograms, filter_response(geometry, filter, iterations=iterations, edges=edges, device=sinograms.device), edges)


def _apply(sinograms: torch.Tensor, response: torch.Tensor, edges: str) -> torch.Tensor:
    """Filter by a response made for these edges."""
    width = sinograms.shape[-1]
    n_fft = 2 * (response.shape[-1] - 1)
    padded = torch.nn.functional.pad(sinograms.float(), (0, n_fft - width))
    if edges == "taper":
        place = (torch.arange(n_fft - width, device=sinograms.device) + 0.5) / (n_fft - width)
        towards_left = 0.5 - 0.5 * torch.cos(math.pi * place)
        padded[..., width:] = sinograms[..., -1:] * (1 - towards_left) + sinograms[..., :1] * towards_left
    return torch.fft.irfft(torch.fft.rfft(padded) * response, n=n_fft)[..., :width].contiguous()


def fbp_slices(
    sinograms: torch.Tensor,
    projector: Projector,
    geometry: TiltGeometry,
    filter: str = "ramp",
    *,
    iterations: int = 20,
    edges: str = "zero",
) -> torch.Tensor:
    """Reconstruct ``(y, z, x)`` density from ``(y, tilt, x)`` sinograms; see `filter_sinograms` for the options."""
    return _backproject(filter_sinograms(sinograms, geometry, filter, iterations=iterations, edges=edges), projector, geometry)


def _backproject(filtered: torch.Tensor, projector: Projector, geometry: TiltGeometry) -> torch.Tensor:
    # A voxel's shadow on one view sums to its area, so the transpose is the mean over the shadow times the area.
    return projector.backproject(filtered) / geometry.voxel_size_in_pixels**2


def fbp(
    tilts: TiltSeries,
    writer: Writer,
    make_projector: Callable[[TiltGeometry, torch.device], Projector],
    *,
    filter: str = "ramp",
    iterations: int = 20,
    edges: str = "zero",
    device: torch.device | str = "cpu",
    slab_rows: int | None = None,
    max_memory: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Reconstruct a tilt series slab by slab into ``writer``, which the caller commits, and return the rows of a slab.

    Where memory runs out all the same, slabs are halved with a warning; every row is a problem of its own.

    Parameters
    ----------
    tilts
        The views; their geometry says which box is reconstructed.
    writer
        Takes ``(y, z, x)`` rows.
    make_projector
        Builds the projector from a geometry and a device.
    filter, iterations, edges
        See `filter_sinograms`.
    device
        Where to work.
    slab_rows
        Rows at a time; by default as many chunks as ``max_memory`` bytes hold, at most 4.
    max_memory
        Bound on the bytes of the whole process on a CPU, of the tensors on a GPU; by default what is free.
    on_progress
        Told the number of rows finished since the last call.

    Raises
    ------
    InputError
        If the tilt series does not fit its geometry.
    DeviceError
        If ``max_memory`` is too small for one row.
    """
    geometry, device = tilts.geometry, torch.device(device)
    if tilts.array.shape != (geometry.num_tilts, *geometry.detector_shape) or geometry.volume_shape[1] != geometry.detector_shape[0]:
        raise InputError(
            f"{tilts.name}: shape {tilts.array.shape} does not fit {geometry.num_tilts} views of {geometry.detector_shape} pixels"
        )
    response = filter_response(geometry, filter, iterations=iterations, edges=edges, device=device)
    taken = resident_bytes() if device.type == "cpu" else 0
    if max_memory is None:
        max_memory = taken + available_memory_bytes() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    projector = make_projector(geometry, device)
    try:
        at_once = RowsAtOnce(slab_rows or _rows_that_fit(geometry, projector, taken, max_memory, tilts.weights is not None))

        def read(rows: range) -> torch.Tensor:
            return on_its_way(read_sinograms(tilts, rows.start, rows.stop), device)

        def slices_of(sinograms: torch.Tensor) -> torch.Tensor:
            return _backproject(_apply(sinograms.to(device, non_blocking=True), response, edges), projector, geometry)

        with WriteBehind(writer) as behind:
            for rows, slices in computed(read, slices_of, geometry.detector_shape[0], at_once):
                # Still on the device: the thread that writes waits for them and fetches them.
                behind.write_rows(rows.start, slices)
                if on_progress is not None:
                    on_progress(len(rows))
    finally:
        projector.close()
    return at_once.rows


def _rows_that_fit(geometry: TiltGeometry, projector: Projector, taken_bytes: int, max_memory: int, weighted: bool) -> int:
    """Return the rows of a slab: four chunks, fewer where ``max_memory`` bytes, some of them taken, would not do."""
    nz, _, nx = geometry.volume_shape
    row_bytes = 4 * (
        _SLICE_COPIES * nz * nx + (_WORKING_COPIES + 3 * weighted) * geometry.num_tilts * _padded_length(geometry.detector_shape[1])
    )
    rows = 4 * min(chunk_rows(geometry.volume_shape), chunk_rows((geometry.num_tilts, *geometry.detector_shape)))

    def needed(rows: int) -> int:
        return taken_bytes + projector.memory_bytes(rows) + rows * row_bytes

    while rows > 1 and needed(rows) > max_memory:
        rows //= 2
    if needed(rows) > max_memory:
        raise DeviceError(
            f"memory limit of {max_memory / 2**20:.0f} MiB is too small for one slice of {nz} x {nx} voxels: "
            f"allow at least {needed(1) / 2**20 + 1:.0f} MiB (--max-memory)"
        )
    return rows
