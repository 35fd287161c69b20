"""Pictures of volumes: orthoslices and the power spectrum in the plane of the beam."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wedge.data import Volume
from wedge.errors import InputError
from wedge.slabs import read_slices, slab_ranges

_SPECTRUM_DECADES = 7.0
_SLAB_ROWS = 16


def spectrum_zx(volume: Volume) -> np.ndarray:
    """Return the mean over y of the power in the plane of the beam, ``(kz, kx)`` float64, zero frequency in the middle."""
    num_z, num_y, num_x = volume.array.shape
    window = np.hanning(num_z + 2)[1:-1, None] * np.hanning(num_x + 2)[1:-1]
    total = np.zeros((num_z, num_x))
    for rows in slab_ranges(num_y, _SLAB_ROWS):
        slices = read_slices(volume, rows.start, rows.stop).astype(np.float64)
        slices -= slices.mean(axis=(1, 2), keepdims=True)
        total += (np.abs(np.fft.fft2(slices * window)) ** 2).sum(axis=0)
    return np.fft.fftshift(total / num_y)


def orthoslices(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle planes ``(y, x)``, seen along the beam, and ``(z, x)``, across the tilt axis."""
    num_z, num_y, _ = volume.array.shape
    along = np.concatenate([read_slices(volume, rows.start, rows.stop)[:, num_z // 2] for rows in slab_ranges(num_y, _SLAB_ROWS)])
    return along, read_slices(volume, num_y // 2, num_y // 2 + 1)[0]


def comparison_picture(volumes: Sequence[tuple[str, Volume]], path: Path) -> None:
    """Write a PNG with a column for each titled volume: planes (y, x) and (z, x) and the (kz, kx) spectrum.

    Each volume's grey values span its own 0.2 to 99.8 percentiles, since methods differ in scale; spectra are log power below each
    one's maximum. The first volume's tilt angles, where known, draw the border of the measured cone.

    Raises
    ------
    InputError
        If the picture cannot be written.
    """
    # The object interface only: a picture must not touch the caller's matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_z, num_y, num_x = volumes[0][1].array.shape
    heights = [num_y / num_x, num_z / num_x, 1.0]
    width = 3.2 * len(volumes)
    figure = Figure(figsize=(width, 3.2 * sum(heights) + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(volumes), squeeze=False, height_ratios=heights)
    for column, (title, volume) in enumerate(volumes):
        along, across = orthoslices(volume)
        low, high = np.percentile(np.concatenate([along.ravel(), across.ravel()]), [0.2, 99.8])
        for row, image in enumerate((along, across)):
            axes[row, column].imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
        power = spectrum_zx(volume)
        power = np.log10(power / max(power.max(), 1e-300) + 1e-300)
        axes[2, column].imshow(power, cmap="magma", vmin=-_SPECTRUM_DECADES, vmax=0, extent=(-0.5, 0.5, 0.5, -0.5))
        _draw_cone(axes[2, column], volume.tilt_angles_deg or volumes[0][1].tilt_angles_deg)
        axes[0, column].set_title(title)
    for row, label in enumerate(("y, x", "z, x", "kz, kx (log power)")):
        axes[row, 0].set_ylabel(label)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    try:
        figure.savefig(path)
    except OSError as error:
        raise InputError(f"cannot write the picture {path}: {error.strerror}") from error


def _draw_cone(axis: object, angles_deg: tuple[float, ...] | None) -> None:
    """Draw the outermost measured lines ``(kz, kx) = k (sin, cos)``."""
    if not angles_deg:
        return
    for angle in (min(angles_deg), max(angles_deg)):
        direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        end = 0.5 * direction / np.abs(direction).max()
        axis.plot([-end[0], end[0]], [-end[1], end[1]], color="white", linewidth=0.6, linestyle=":")  # type: ignore[attr-defined]
