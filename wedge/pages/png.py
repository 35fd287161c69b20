"""PNG images from 8-bit codes, grey or through a palette: pictures that a page shows without scripts."""

import base64
import struct
import zlib

import numpy as np

_ENDS = (12, 74, 160), (186, 62, 0)


def png(codes: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """Return a PNG of ``(row, column)`` uint8 codes: grey values, or places in a ``(256, 3)`` uint8 palette."""
    height, width = codes.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter, none
    rows[:, 1:] = codes
    parts = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0 if palette is None else 3, 0, 0, 0))]
    parts += [] if palette is None else [_chunk(b"PLTE", palette.astype(np.uint8).tobytes())]
    parts += [_chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_uri(codes: np.ndarray, palette: np.ndarray | None = None) -> str:
    """Return `png` as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(png(codes, palette)).decode()


def signed_palette() -> np.ndarray:
    """Return blue over white to orange-red, ``(256, 3)`` uint8, which the colour-blind tell apart too: the colours of differences."""
    value = np.linspace(-1, 1, 256)[:, None]
    ends = np.where(value < 0, _ENDS[0], _ENDS[1])
    return np.rint(255 + (ends - 255) * np.abs(value)).astype(np.uint8)


def coded(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return codes of an image, 0 at ``low`` and 255 at ``high``; what is not finite is 0."""
    span = high - low if high > low else 1.0
    finite = np.where(np.isfinite(image), image, low)
    return np.rint(np.clip((finite - low) * (255 / span), 0, 255)).astype(np.uint8)


def block_means(image: np.ndarray, longest_side: int) -> np.ndarray:
    """Return means over square blocks of an image, ``(row, column)`` float32, at most ``longest_side`` long; a remainder is left out."""
    factor = -(-max(image.shape) // longest_side)
    down, right = (min(factor, count) for count in image.shape)
    rows, columns = image.shape[0] // down, image.shape[1] // right
    blocks = image[: rows * down, : columns * right].reshape(rows, down, columns, right)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32))
