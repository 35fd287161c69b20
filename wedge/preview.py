"""A volume small enough to be looked at anywhere: coarse, in 8 bits, in one piece."""

import json
import struct
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from wedge.data import ArrayLike3D, Volume
from wedge.errors import InputError
from wedge.slabs import read_slices, rows_first

LONGEST_SIDE = 256
_MAGIC = b"WEDGEPV1"
_CLIPPED_PERCENT = 0.01  # at each end: a hot voxel must not take the grey values of all others
_SHOWN_PERCENTILES = 0.5, 99.5
_BLOCK_VALUES = 2**24
_SAMPLE_VALUES = 2**21


@dataclass(frozen=True)
class Preview:
    """A coarse volume in 8 bits.

    Parameters
    ----------
    codes
        ``(z, y, x)`` uint8: density from ``low`` to ``high``.
    low, high
        Densities of code 0 and 255.
    window
        Densities to be shown as black and white at first.
    spacing_voxels
        ``(z, y, x)`` distance of neighbouring codes in voxels of the volume.
    voxel_size_angstrom
        Edge of a voxel of the volume, or None where nobody knows it.
    """

    codes: np.ndarray
    low: float
    high: float
    window: tuple[float, float]
    spacing_voxels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    voxel_size_angstrom: float | None = None

    def to_bytes(self) -> bytes:
        """Return it as one message: a magic word, the length of a JSON header (uint32, little-endian), the header, the codes."""
        header = {
            "shape": list(self.codes.shape),
            "low": self.low,
            "high": self.high,
            "window": list(self.window),
            "spacing_voxels": list(self.spacing_voxels),
            "voxel_size_angstrom": self.voxel_size_angstrom,
        }
        text = json.dumps(header).encode()
        text += b" " * (-(len(_MAGIC) + 4 + len(text)) % 8)
        return _MAGIC + struct.pack("<I", len(text)) + text + np.ascontiguousarray(self.codes).tobytes()

    @classmethod
    def from_bytes(cls, message: bytes) -> Self:
        """Read what `to_bytes` returned.

        Raises
        ------
        InputError
            If it is damaged.
        """
        try:
            if message[: len(_MAGIC)] != _MAGIC:
                raise ValueError("no preview")
            (length,) = struct.unpack_from("<I", message, len(_MAGIC))
            start = len(_MAGIC) + 4 + length
            header = json.loads(message[len(_MAGIC) + 4 : start])
            shape, spacing, window = (tuple(header.pop(key)) for key in ("shape", "spacing_voxels", "window"))
            codes = np.frombuffer(message, np.uint8, offset=start).reshape(shape)
            return cls(codes, window=window, spacing_voxels=spacing, **header)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
            raise InputError(f"damaged preview: {str(error).splitlines()[0]}; it is written anew as the fit goes on") from error


def preview_of_slices(slices: np.ndarray, spacing_voxels: tuple[float, float, float], voxel_size_angstrom: float | None) -> Preview:
    """Return the preview of ``(y, z, x)`` densities; what is not finite is shown as the lowest."""
    return _coded(rows_first(slices), spacing_voxels, voxel_size_angstrom)


def preview_of(volume: Volume, longest_side: int = LONGEST_SIDE) -> Preview:
    """Return the preview of a volume, at most ``longest_side`` along each axis, by means over blocks of voxels.

    A coarser copy in the file is read where there is one of a fitting size; else the volume is read once, slab by slab.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    levels: list[ArrayLike3D] = [volume.array, *volume.coarser]
    # The coarsest one that is still fine enough: of a pyramid of halves none is read that is more than twice too large.
    fine_enough = [level for level in levels if max(level.shape) > longest_side / 2]
    level = min(fine_enough or levels[:1], key=lambda each: max(each.shape))
    factor = -(-max(level.shape) // longest_side)
    density = _block_means(replace(volume, array=level, coarser=()), factor)
    sizes = zip(volume.array.shape, level.shape, strict=True)
    spacing = [float(2 ** round(np.log2(full / part)) * min(factor, part)) for full, part in sizes]
    return _coded(density, (spacing[0], spacing[1], spacing[2]), volume.voxel_size_angstrom)


def _block_means(volume: Volume, factor: int) -> np.ndarray:
    """Return ``(z, y, x)`` float32 means over cubes of ``factor`` voxels; what fills no cube at an end is left out."""
    num_z, num_y, num_x = volume.array.shape
    step_z, step_y, step_x = (min(factor, count) for count in (num_z, num_y, num_x))
    rows = max(1, _BLOCK_VALUES // (num_z * num_x) // step_y) * step_y
    parts = []
    for start in range(0, num_y // step_y * step_y, rows):
        slices = read_slices(volume, start, min(start + rows, num_y // step_y * step_y))
        slices = slices[:, : num_z // step_z * step_z, : num_x // step_x * step_x]
        blocks = slices.reshape(slices.shape[0] // step_y, step_y, num_z // step_z, step_z, num_x // step_x, step_x)
        parts.append(blocks.mean(axis=(1, 3, 5), dtype=np.float32))
    return rows_first(np.concatenate(parts))


def _coded(density: np.ndarray, spacing_voxels: tuple[float, float, float], voxel_size_angstrom: float | None) -> Preview:
    finite = np.isfinite(density)
    if not finite.all():
        density = np.where(finite, density, density[finite].min() if finite.any() else 0.0)
    sample = density.reshape(-1)[:: max(1, density.size // _SAMPLE_VALUES)]
    low, *window, high = (float(each) for each in np.percentile(sample, [_CLIPPED_PERCENT, *_SHOWN_PERCENTILES, 100 - _CLIPPED_PERCENT]))
    high = high if high > low else low + 1.0
    codes = np.clip((density - low) * (255 / (high - low)), 0, 255)
    return Preview(np.rint(codes).astype(np.uint8), low, high, (window[0], window[1]), spacing_voxels, voxel_size_angstrom)
