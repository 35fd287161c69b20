"""Make the small raw needle series in ``needle/`` from the full one: means of 4x4 pixels, the headers as the microscope wrote them.

Usage: ``python make_raw_needle.py HAADF.mrc``, with ``HAADF.mrc`` of the etspy 1.3.0 source package (folder ``etspy/tests/test_data``).

Only what binning changes is changed in the headers: the counts, and the pixel size in the extended header of FEI. The header's own pixel
size stays wrong, the background stays near -30000, the tilt axis along x, and the views unaligned.
"""

import sys
from pathlib import Path

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

FACTOR = 4
TARGET = Path(__file__).parent / "needle" / "needle_raw_bin4.mrc"
_RECORD_FLOATS = 32  # an extended header of FEI: 1024 records of 128 bytes, of which the twelfth float is the pixel size in metres
_PIXEL_SIZE_FLOAT = 11


def main(source: Path, target: Path = TARGET) -> None:
    """Write the binned stack with its headers."""
    content = source.read_bytes()
    header = np.frombuffer(content[:1024], HEADER_DTYPE).copy()
    extended_bytes = int(header["nsymbt"][0])
    extended = np.frombuffer(content[1024 : 1024 + extended_bytes], "<f4").copy().reshape(-1, _RECORD_FLOATS)
    num_views, rows, columns = (int(header[name][0]) for name in ("nz", "ny", "nx"))
    views = np.frombuffer(content, "<i2", num_views * rows * columns, 1024 + extended_bytes).reshape(num_views, rows, columns)
    kept = views[:, : rows // FACTOR * FACTOR, : columns // FACTOR * FACTOR]
    blocks = kept.reshape(num_views, rows // FACTOR, FACTOR, columns // FACTOR, FACTOR)
    binned = np.rint(blocks.mean(axis=(2, 4), dtype=np.float64)).astype("<i2")
    extended[:num_views, _PIXEL_SIZE_FLOAT] *= FACTOR
    for name, count in zip(("nz", "ny", "nx"), binned.shape, strict=True):
        header[name] = count
    for axis, name, count in zip("zyx", ("mz", "my", "mx"), binned.shape, strict=True):
        header["cella"][axis] *= count / header[name]
        header[name] = count
    target.write_bytes(header.tobytes() + extended.tobytes() + binned.tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
