"""A raw tilt series as the aligned one that it becomes: shapes, place of the axis, and views that are computed when asked for."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from wedge.aligned_views import AlignedViews
from wedge.alignment import Alignment
from wedge.data import TiltSeries
from wedge.errors import InputError, UsageError
from wedge.formats.window import window
from wedge.reading import Reading

Note = Callable[[str], None]


def align_series(raw: TiltSeries, alignment: Alignment, reading: Reading, note: Note) -> tuple[TiltSeries, AlignedViews | None]:
    """Return the aligned series, and its views where they have to be computed first.

    Parameters
    ----------
    raw
        The raw views that are used.
    alignment
        Of these.
    reading
        Its binning, crops and thickness are those of the aligned series.
    note
        Told of sizes and binning.

    Raises
    ------
    UsageError
        If binning leaves nothing.
    InputError
        If the alignment moves a view out of sight.
    """
    factor = reading.bin or 1
    if alignment.binning not in (1, factor):
        note(f"the files of {alignment.source} bin by {alignment.binning}, this import by {factor}: --bin {alignment.binning} does so too")
    whole = unbinned_shape(alignment, raw.geometry.detector_shape)
    rows, columns = (size // factor for size in whole)
    if min(rows, columns) < 1:
        raise UsageError(f"--bin {factor} leaves nothing of {raw.name}: its aligned views are {whole[0]} x {whole[1]} (y, x); bin less")
    _refuse_out_of_sight(alignment, whole, raw)
    unmoved = replace(alignment, binning=1).is_identity and whole == raw.geometry.detector_shape and factor == 1
    aligned = None if unmoved else AlignedViews(raw.array, alignment, (rows, columns), factor)
    thickness = alignment.thickness_pixels
    depth = columns if thickness is None else max(1, round(thickness / factor))
    z, x = alignment.volume_shift_pixels
    size = raw.geometry.pixel_size_angstrom
    geometry = replace(
        raw.geometry,
        detector_shape=(rows, columns),
        volume_shape=(depth, rows, columns),
        pixel_size_angstrom=None if size is None else size * factor,
        volume_centre_pixels=(z / factor, x / factor),
        axis_offset_pixels=alignment.axis_offset_pixels / factor,
        acquisition_order=alignment.acquisition_order or raw.geometry.acquisition_order,
        dose_e_per_square_angstrom=alignment.dose_e_per_square_angstrom or raw.geometry.dose_e_per_square_angstrom,
    )
    if aligned is not None and raw.weights is not None:
        note(f"the weights of {raw.name} are left out: its views are moved, and they are not")
    weights = raw.weights if aligned is None else None
    series = TiltSeries(raw.array if aligned is None else aligned, geometry, raw.name, provenance=raw.provenance, weights=weights)
    seen = window(series, _binned(reading.crop_x, factor), _binned(reading.crop_y, factor))
    if reading.thickness is not None:
        box = seen.geometry
        shape = (reading.thickness, *box.volume_shape[1:])
        seen = replace(seen, geometry=box.with_volume(shape, box.voxel_size_in_pixels, box.volume_centre_pixels))
    else:
        source = "the width of the aligned view" if thickness is None else f"as the files of {alignment.source} say"
        note(f"thickness {depth} voxels, {source}; --thickness changes it")
    return seen, aligned


def unbinned_shape(alignment: Alignment, raw_shape: tuple[int, int]) -> tuple[int, int]:
    """Return ``(y, x)`` of the aligned view in raw pixels: what is said, else the raw view's, exchanged where the axis lies along x."""
    if alignment.output_shape is not None:
        rows, columns = (size * alignment.binning for size in alignment.output_shape)
        return rows, columns
    # Twice the angle, so that 89 and -89 degrees are near each other.
    doubled = 2 * np.deg2rad(alignment.rotations_deg)
    lies_along_x = float(np.cos(doubled).mean()) < 0
    return (raw_shape[1], raw_shape[0]) if lies_along_x else raw_shape


def _refuse_out_of_sight(alignment: Alignment, whole: tuple[int, int], raw: TiltSeries) -> None:
    """Refuse views whose middle, and all that is less than half a view from it, lies beyond the aligned view."""
    reach = (np.asarray(whole[::-1]) + np.linalg.norm(raw.geometry.detector_shape)) / 2
    for place, shift in enumerate(alignment.shifts_pixels):
        if (np.abs(shift) >= reach).any():
            angle = raw.geometry.tilt_angles_deg[place]
            raise InputError(
                f"{alignment.source} moves the view at {angle:g} degrees by {shift[0]:.5g}, {shift[1]:.5g} pixels (x, y), out of sight of"
                f" {whole[0]} x {whole[1]} (y, x): it is of other pixels than {raw.name}, or the view is to be excluded"
            )


def _binned(span: tuple[int, int | None] | None, factor: int) -> tuple[int, int | None] | None:
    return None if span is None else (span[0] // factor, None if span[1] is None else span[1] // factor)
