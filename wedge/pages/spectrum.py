"""Power spectra in the plane of the beam, in 8 bits, as pages show them."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from wedge.data import Volume
from wedge.slabs import chunk_rows, read_slices

_LONGEST_SIDE = 512
_DECADES = 7.0


def spectrum_message(log_power: np.ndarray, tilt_angles_deg: Sequence[float] | None) -> dict[str, Any]:
    """Return a spectrum ``(kz, kx)`` of log10 power, zero frequency in the middle, as plain data.

    ``codes`` is base64 of ``shape`` bytes, rows kz, from ``low`` to ``high``; ``tilt_range_deg`` the outermost views, None where unknown.
    """
    power = np.asarray(log_power, dtype=np.float64)
    for axis in (0, 1):
        # Neighbouring frequencies are averaged where there are more than a page has room for; an odd last one is left out.
        factor = -(-power.shape[axis] // _LONGEST_SIDE)
        count = power.shape[axis] // factor
        kept = power[: count * factor] if axis == 0 else power[:, : count * factor]
        power = kept.reshape((count, factor, -1) if axis == 0 else (kept.shape[0], count, factor)).mean(axis=axis + 1)
    finite = power[np.isfinite(power)]
    high = float(finite.max()) if finite.size else 0.0
    low = max(float(finite.min()) if finite.size else 0.0, high - _DECADES)
    shown = np.nan_to_num(power, nan=low, posinf=high, neginf=low)
    codes = np.rint(np.clip((shown - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    angles = [float(angle) for angle in tilt_angles_deg or ()]
    return {
        "shape": list(codes.shape),
        "low": low,
        "high": high,
        "tilt_range_deg": [min(angles), max(angles)] if angles else None,
        "codes": base64.b64encode(codes.tobytes()).decode(),
    }


def middle_spectrum(volume: Volume) -> dict[str, Any]:
    """Return the spectrum of a volume's middle rows, as many as one chunk holds: it is read at full resolution, and fast.

    Raises
    ------
    InputError
        If they cannot be read.
    """
    num_z, num_y, num_x = (int(count) for count in volume.array.shape)
    rows = min(chunk_rows((num_z, num_y, num_x)), num_y)
    start = num_y // 2 // rows * rows
    slices = read_slices(volume, start, min(start + rows, num_y))
    window = (np.hanning(num_z + 2)[1:-1, None] * np.hanning(num_x + 2)[1:-1]).astype(np.float32)
    total = np.zeros((num_z, num_x))
    for one in slices:
        total += np.abs(np.fft.fft2((one - one.mean()) * window)) ** 2
    power = np.fft.fftshift(total)
    return spectrum_message(np.log10(np.maximum(power, max(float(power.max()), 1e-300) * 1e-12)), volume.tilt_angles_deg)
