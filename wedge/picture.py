"""Pictures of volumes: orthoslices and the power spectrum in the plane of the beam."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wedge.data import ArrayLike3D, Volume
from wedge.errors import InputError
from wedge.slabs import read_slices, slab_ranges

PLANES = {"yx": (1, 2), "zx": (0, 2), "zy": (0, 1)}
"""Orthoslices by name: the axes that run down and to the right, z first. The first row is on top."""
_SPECTRUM_DECADES = 7.0
_SLAB_VALUES = 2**24
_SLAB_ROWS = 16
_DPI = 110
_MARGIN_INCHES = 0.4


@dataclass(frozen=True)
class Look:
    """What a picture of volumes shows.

    Parameters
    ----------
    planes
        Names of orthoslices, of `PLANES`.
    at
        ``(z, y, x)`` voxel that the planes go through; None: the middle.
    contrast
        Densities shown as black and white; None: the 0.2 and 99.8 percentiles of each volume's planes.
    spectrum
        Whether the power spectrum is drawn.
    invert
        Whether high density is dark.
    width_pixels
        Of a column. A coarser copy in the file is drawn where it is fine enough for that.
    spectrum_values
        Voxels to take the spectrum from, at most: of larger volumes some rows, evenly spread; None: all.
    """

    planes: tuple[str, ...] = ("yx", "zx")
    at: tuple[int, int, int] | None = None
    contrast: tuple[float, float] | None = None
    spectrum: bool = True
    invert: bool = False
    width_pixels: int = 352
    spectrum_values: int | None = None


AS_USUAL = Look()
"""Middle planes along the beam and across the tilt axis, and the spectrum."""


def spectrum_zx(volume: Volume, most_values: int | None = None) -> np.ndarray:
    """Return the mean over y of the power in the plane of the beam, ``(kz, kx)`` float64, zero frequency in the middle.

    Of volumes of more than ``most_values`` voxels it is the mean over slabs of rows, evenly spread. Memory is that of a slab and of four
    slices in double precision.
    """
    num_z, num_y, num_x = volume.array.shape
    window = np.hanning(num_z + 2)[1:-1, None] * np.hanning(num_x + 2)[1:-1]
    slabs = slab_ranges(num_y, min(_SLAB_ROWS, max(1, _SLAB_VALUES // (num_z * num_x))))
    if most_values is not None:
        count = max(1, min(len(slabs), most_values // (num_z * num_x * len(slabs[0]))))
        # Of either end as far away as of one another: the ends of a specimen are often empty.
        slabs = [slabs[(2 * i + 1) * len(slabs) // (2 * count)] for i in range(count)]
    total = np.zeros((num_z, num_x))
    for rows in slabs:
        for image in read_slices(volume, rows.start, rows.stop):
            total += np.abs(np.fft.fft2((image - image.mean(dtype=np.float64)) * window)) ** 2
    return np.fft.fftshift(total / sum(map(len, slabs)))


def orthoslices(volume: Volume, at: tuple[int, int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the planes ``(y, x)``, seen along the beam, and ``(z, x)``, across the tilt axis, through a voxel, by default the middle."""
    planes = plane_images(volume, ("yx", "zx"), at)
    return planes["yx"], planes["zx"]


def plane_images(volume: Volume, names: Sequence[str], at: tuple[int, int, int] | None = None) -> dict[str, np.ndarray]:
    """Return orthoslices by name, float32, through a voxel ``(z, y, x)``, by default the middle; memory is that of a slab of rows.

    Raises
    ------
    InputError
        If the volume cannot be read.
    """
    num_z, num_y, num_x = volume.array.shape
    z, y, x = at if at is not None else (num_z // 2, num_y // 2, num_x // 2)
    images = {"zx": read_slices(volume, y, y + 1)[0]} if "zx" in names else {}
    if "yx" in names or "zy" in names:
        along, beside = np.empty((num_y, num_x), np.float32), np.empty((num_z, num_y), np.float32)
        # As many rows as memory allows: each read of a file seeks through all of its sections.
        for rows in slab_ranges(num_y, max(1, _SLAB_VALUES // (num_z * num_x))):
            slices = read_slices(volume, rows.start, rows.stop)
            along[rows.start : rows.stop] = slices[:, z]
            beside[:, rows.start : rows.stop] = slices[:, :, x].T
        images |= {"yx": along, "zy": beside}
    return {name: images[name] for name in names}


def comparison_picture(volumes: Sequence[tuple[str, Volume]], path: Path, look: Look = AS_USUAL) -> None:
    """Write a PNG with a column for each titled volume: orthoslices and the (kz, kx) spectrum.

    Each volume's grey values span its own 0.2 to 99.8 percentiles unless told otherwise, since methods differ in scale; spectra are log
    power below each one's maximum. The first volume's tilt angles, where known, draw the border of the measured cone. A bar gives the scale
    in the first plane, where the voxel size is known.

    Raises
    ------
    InputError
        If the picture cannot be written.
    """
    # The object interface only: a picture must not touch the caller's matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shape = volumes[0][1].array.shape
    # One scale for all planes of a column: the widest fills it.
    widest = max([shape[PLANES[name][1]] for name in look.planes], default=1)
    heights = [shape[PLANES[name][0]] / widest for name in look.planes] + [1.0] * look.spectrum
    width = look.width_pixels / _DPI
    figure = Figure(figsize=(width * len(volumes), width * sum(heights) + _MARGIN_INCHES), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), len(volumes), squeeze=False, height_ratios=heights)
    for column, (title, volume) in enumerate(volumes):
        _draw_planes(axes[:, column], volume, look)
        _scale_alike(axes[:, column], volume.array.shape, look.planes)
        if look.spectrum:
            _draw_spectrum(axes[-1, column], volume, look, volume.tilt_angles_deg or volumes[0][1].tilt_angles_deg)
        # Names of files, not formulas: a dollar is a dollar, and bytes that are no text are drawn as what stands for them.
        name = title.encode("utf-8", "replace").decode()
        axes[0, column].set_title(name, fontsize="medium" if len(name) < width * 9 else "x-small", wrap=True, parse_math=False)
    for row, label in enumerate([f"{name[0]}, {name[1]}" for name in look.planes] + ["kz, kx (log power)"] * look.spectrum):
        axes[row, 0].set_ylabel(label)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise InputError(f"cannot write the picture {path}: {error.strerror}") from error


def _fine_enough(volume: Volume, pixels: int) -> ArrayLike3D:
    """Return the coarsest copy of a volume that still has this many voxels along its longest side."""
    fine_enough = [level for level in volume.coarser if max(level.shape) >= pixels]
    return min([volume.array, *fine_enough], key=lambda level: max(level.shape))


def _draw_planes(axes: Any, volume: Volume, look: Look) -> None:
    level = _fine_enough(volume, look.width_pixels)
    shape = volume.array.shape
    at = None
    if look.at is not None:
        z, y, x = (min(part - 1, place * part // full) for place, part, full in zip(look.at, level.shape, shape, strict=True))
        at = z, y, x
    images = plane_images(replace(volume, array=level, coarser=()), look.planes, at)
    if images:
        low, high = look.contrast or np.percentile(np.concatenate([image.ravel() for image in images.values()]), [0.2, 99.8])
    for row, (name, image) in enumerate(images.items()):
        down, right = PLANES[name]
        # Voxels stay squares as long as each has a pixel; beyond that, means of them are drawn and no selection.
        enlarged = max(image.shape) <= look.width_pixels
        style = {"cmap": "gray_r" if look.invert else "gray", "interpolation": "nearest" if enlarged else "antialiased"}
        extent = (0, shape[right], shape[down], 0)
        axes[row].imshow(image, vmin=low, vmax=max(high, low + 1e-12), extent=extent, **style)
        if row == 0 and volume.voxel_size_angstrom is not None:
            _draw_scale(axes[row], shape[down], shape[right], volume.voxel_size_angstrom)


def _scale_alike(axes: Any, shape: Sequence[int], names: Sequence[str]) -> None:
    """Give the planes of a column one scale: each in the middle of as much room to its sides as the widest takes."""
    widest = max([shape[PLANES[name][1]] for name in names], default=1)
    for axis, name in zip(axes, names, strict=False):
        down, right = PLANES[name]
        beside = (widest - shape[right]) / 2
        axis.set(xlim=(-beside, shape[right] + beside), ylim=(shape[down], 0))
        axis.set_frame_on(beside == 0)


def _draw_spectrum(axis: Any, volume: Volume, look: Look, angles_deg: tuple[float, ...] | None) -> None:
    power = spectrum_zx(volume, look.spectrum_values)
    power = np.log10(power / max(power.max(), 1e-300) + 1e-300)
    # Each pixel around its own frequency: of an even number, zero's is half a pixel beside the middle.
    top, left = (-(count // 2 + 0.5) / count for count in power.shape)
    axis.imshow(power, cmap="magma", vmin=-_SPECTRUM_DECADES, vmax=0, extent=(left, left + 1, top + 1, top))
    _draw_cone(axis, angles_deg)
    axis.set(xlim=(left, left + 1), ylim=(top + 1, top))


def _draw_cone(axis: Any, angles_deg: tuple[float, ...] | None) -> None:
    """Draw the outermost measured lines ``(kz, kx) = k (sin, cos)``."""
    if not angles_deg:
        return
    for angle in (min(angles_deg), max(angles_deg)):
        direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        end = 0.5 * direction / np.abs(direction).max()
        axis.plot([-end[0], end[0]], [-end[1], end[1]], color="white", linewidth=0.6, linestyle=":")


def scale_bar(width_voxels: int, voxel_size_angstrom: float) -> tuple[float, str]:
    """Return the length in voxels of a bar of a round length, at most a third of a width, and that length as text."""
    most = width_voxels * voxel_size_angstrom / 3
    power = 10.0 ** np.floor(np.log10(most))
    angstrom = max(factor * power for factor in (1, 2, 5) if factor * power <= most * (1 + 1e-9))
    unit, name = (1e4, "µm") if angstrom >= 1e4 else (10.0, "nm")
    return angstrom / voxel_size_angstrom, f"{angstrom / unit:.6g} {name}"


def _draw_scale(axis: Any, height: int, width: int, voxel_size_angstrom: float) -> None:
    length, text = scale_bar(width, voxel_size_angstrom)
    left, bottom, thick = 0.04 * width, height - 0.04 * width, 0.012 * width
    box = {"boxstyle": "square,pad=0.15", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}
    axis.text(left, bottom - 2 * thick, text, color="white", fontsize=8, va="bottom", bbox=box)
    axis.fill(
        [left, left + length, left + length, left], [bottom, bottom, bottom - thick, bottom - thick], color="white", ec="black", lw=0.5
    )
    # What is drawn beyond a plane must not enlarge it.
    axis.set(xlim=(0, width), ylim=(height, 0))
