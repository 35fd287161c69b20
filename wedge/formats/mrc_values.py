"""How densities lie in an MRC file: as they are, in half precision, or as signed bytes with a scale and an offset."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from wedge.errors import InputError
from wedge.formats.file_array import FileArray
from wedge.store_attributes import is_number

Mode = Literal["float32", "float16", "int8"]
MODES: tuple[Mode, ...] = ("float32", "float16", "int8")
_NUMBERS = {"float32": 2, "float16": 12, "int8": 0}
_LARGEST_HALF, _SMALLEST_HALF = 65504.0, 2.0**-14


@dataclass(frozen=True)
class Values:
    """What a stored value means: density = value * ``scale`` + ``offset``.

    Parameters
    ----------
    mode
        Type of a stored value.
    scale, offset
        Of ``"int8"``; 1 and 0 with the other modes.
    """

    mode: Mode = "float32"
    scale: float = 1.0
    offset: float = 0.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored value, little-endian."""
        return np.dtype(self.mode).newbyteorder("<")

    @property
    def number(self) -> int:
        """The header's number of the mode."""
        return _NUMBERS[self.mode]

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, int]:
        """Return float32 densities of any shape as they are stored, and how many were beyond the range and became its ends.

        Raises
        ------
        InputError
            If a value does not fit half precision.
        """
        if self.mode == "int8":
            levels = np.rint((block.astype(np.float64) - self.offset) / self.scale)
            beyond = int(np.count_nonzero((levels < -128) | (levels > 127)))
            return np.clip(levels, -128, 127).astype(np.int8), beyond
        if self.mode == "float16" and block.size and (largest := float(np.abs(block).max())) > _LARGEST_HALF:
            raise InputError(f"value {largest:.4g} is beyond {_LARGEST_HALF:g}, the largest of float16; write float32 or int8")
        return np.ascontiguousarray(block, dtype=self.dtype), 0

    def refuse_too_small(self, largest: float) -> None:
        """Refuse half precision for values that are all below what it keeps its digits of.

        Raises
        ------
        InputError
            If the largest magnitude is not 0 and is too small.
        """
        if self.mode == "float16" and 0 < largest < _SMALLEST_HALF:
            raise InputError(f"values of at most {largest:.4g} lose their digits in float16; write float32 or int8")

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `values_of` reads back."""
        return asdict(self)


def bytes_between(low: float, high: float) -> Values:
    """Return signed bytes that span densities from ``low`` to ``high``; where both are one, that density is byte 0."""
    if not high > low:
        return Values("int8", 1.0, low)
    scale = (high - low) / 255
    return Values("int8", scale, low + 128 * scale)


def values_of(record: dict[str, Any], dtype: np.dtype[Any]) -> Values | None:
    """Return what the record of a file says that its bytes mean, or None where it says nothing of this type."""
    told = record.get("values")
    if not isinstance(told, dict) or told.get("mode") != "int8" or dtype != np.int8:
        return None
    scale: Any = told.get("scale")
    offset: Any = told.get("offset")
    return Values("int8", float(scale), float(offset)) if is_number(scale) and scale > 0 and is_number(offset) else None


@dataclass(frozen=True)
class DensityArray:
    """Bytes of a file as the densities that they stand for.

    Parameters
    ----------
    stored
        The bytes, ``(section, y, x)``.
    values
        What they mean.
    """

    stored: FileArray
    values: Values

    @property
    def shape(self) -> tuple[int, int, int]:
        """Counts along z (or views), y and x."""
        return self.stored.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a density."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part; one integer or slice per axis, missing ones are whole."""
        return (self.stored[key] * np.float64(self.values.scale) + self.values.offset).astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype=dtype)
