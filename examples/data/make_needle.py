"""Make the small needle series in ``needle/`` from the full one: blocks of 4x4 pixels of every view are replaced by their mean.

Usage: ``python make_needle.py NEEDLE.mrc``, with the full series (77, 256, 256) and its ``.rawtlt`` beside it.
"""

import sys
from pathlib import Path

import mrcfile
import numpy as np

FACTOR = 4
TARGET = Path(__file__).parent / "needle" / "needle_bin4.mrc"


def bin_views(views: np.ndarray, factor: int) -> np.ndarray:
    """Return ``(tilt, y, x)`` uint16 means, rounded, over blocks of ``factor`` x ``factor`` pixels."""
    num_views, rows, columns = views.shape
    blocks = views.reshape(num_views, rows // factor, factor, columns // factor, factor)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float64)).astype(np.uint16)


def main(source: Path, target: Path = TARGET) -> None:
    """Write the binned stack, its pixel size and its angles."""
    with mrcfile.open(source) as full:
        binned = bin_views(full.data, FACTOR)
        pixel_size_angstrom = FACTOR * round(float(full.voxel_size.x), 3)
    with mrcfile.new(target, overwrite=True) as small:
        small.set_data(binned)
        small.set_image_stack()
        small.voxel_size = pixel_size_angstrom
        small.header.label[0] = b"Metal needle, HAADF-STEM, binned 4x4; see LICENSE-etspy"
    target.with_suffix(".rawtlt").write_text(source.with_suffix(".rawtlt").read_text())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
