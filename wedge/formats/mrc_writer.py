"""Writing MRC files row by row, valid MRC2014, float32, with the record of how they were made beside them."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from filelock import BaseFileLock
from mrcfile.dtypes import HEADER_DTYPE

import wedge
from wedge.formats.file_array import FileArray
from wedge.formats.mrc import record_path
from wedge.geometry import TiltGeometry
from wedge.output import PendingOutput, Writer, writing
from wedge.statistics import RunningStatistics

_FLOAT_MODE = 2


class _MrcSink:
    """Rows by ordinary writes: on a full disk they fail with an error, where a memory map would end the process."""

    def __init__(self, output: PendingOutput, shape: tuple[int, int, int], header: np.ndarray, attributes: dict[str, Any]) -> None:
        self._output = output
        self._shape = shape
        self._header = header
        self._attributes = attributes
        self._file: BinaryIO = output.partial.open("wb")
        try:
            self._file.write(header.tobytes())
            if hasattr(os, "posix_fallocate"):
                # A disk that is too small is told before the work, not after it.
                os.posix_fallocate(self._file.fileno(), 0, header.nbytes + 4 * shape[0] * shape[1] * shape[2])
        except BaseException:
            self.close()
            raise

    def write_rows(self, y_start: int, block: np.ndarray) -> None:
        _, num_rows, num_columns = self._shape
        for section in range(self._shape[0]):
            self._file.seek(self._header.nbytes + 4 * (section * num_rows + y_start) * num_columns)
            self._file.write(np.ascontiguousarray(block[:, section, :], dtype="<f4").tobytes())

    def write_weights(self, y_start: int, block: np.ndarray) -> None:
        raise ValueError(f"{self._output.path} has no room for weights")

    def finish(self, provenance: dict[str, Any]) -> None:
        self._file.flush()
        statistics = RunningStatistics()
        written = FileArray(self._output.partial, np.dtype("<f4"), self._shape, self._header.nbytes)
        for section in range(self._shape[0]):
            statistics.update(written[section])
        if statistics.count:
            self._header["dmin"], self._header["dmax"] = statistics.minimum, statistics.maximum
            self._header["dmean"], self._header["rms"] = statistics.mean, statistics.std
        self._file.seek(0)
        self._file.write(self._header.tobytes())
        self._file.close()
        record = {"wedge": {**self._attributes, "shape": self._shape, "provenance": provenance}}
        partial = record_path(self._output.partial)
        try:
            partial.write_text(json.dumps(record, indent=1) + "\n")
            partial.replace(record_path(self._output.path))
        finally:
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def create_mrc_volume(
    path: Path,
    shape: tuple[int, int, int],
    *,
    voxel_size_angstrom: float | None = None,
    tilt_angles_deg: tuple[float, ...] | None = None,
    overwrite: bool = False,
    lock: BaseFileLock | None = None,
) -> Writer:
    """Begin an MRC file of a ``(z, y, x)`` volume; parameters and errors as of `wedge.store.create_volume`."""
    header = _header(shape, voxel_size_angstrom, "volume")
    angles = None if tilt_angles_deg is None else [float(angle) for angle in tilt_angles_deg]
    attributes = {"kind": "volume", "voxel_size_angstrom": voxel_size_angstrom, "tilt_angles_deg": angles}
    return _create(path, shape, header, attributes, overwrite, lock)


def create_mrc_tilts(
    path: Path, geometry: TiltGeometry, *, simulated: bool = False, overwrite: bool = False, lock: BaseFileLock | None = None
) -> Writer:
    """Begin an MRC stack of a ``(tilt, y, x)`` series; parameters and errors as of `wedge.store.create_tilts`."""
    shape = (geometry.num_tilts, *geometry.detector_shape)
    header = _header(shape, geometry.pixel_size_angstrom, "tilts")
    attributes = {"kind": "tilts", "simulated": simulated, "geometry": geometry.to_json()}
    return _create(path, shape, header, attributes, overwrite, lock)


def _create(
    path: Path, shape: tuple[int, int, int], header: np.ndarray, attributes: dict[str, Any], overwrite: bool, lock: BaseFileLock | None
) -> Writer:
    output = PendingOutput(path, overwrite=overwrite, lock=lock)
    try:
        with writing(path):
            sink = _MrcSink(output, shape, header, attributes)
    except BaseException:
        output.discard()
        raise
    return Writer(output, shape, sink)


def _header(shape: tuple[int, int, int], voxel_size_angstrom: float | None, kind: Literal["tilts", "volume"]) -> np.ndarray:
    """Make a header, ``()`` of mrcfile's type; a cell of size 0 is how MRC says that the voxel size is unknown."""
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nz"], header["ny"], header["nx"] = shape
    header["mz"], header["my"], header["mx"] = shape
    header["mode"] = _FLOAT_MODE
    for axis, count in zip("zyx", shape, strict=True):
        header["cella"][axis] = count * (voxel_size_angstrom or 0.0)
    header["cellb"] = (90, 90, 90)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = 0, -1, -2, -1  # "not determined"
    header["ispg"] = 1
    if kind == "tilts":
        header["ispg"], header["mz"] = 0, 1
        header["cella"]["z"] = voxel_size_angstrom or 0.0
    header["nversion"] = 20141
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nlabl"] = 1
    header["label"][0] = f"wedge {wedge.__version__}: {'tilt series' if kind == 'tilts' else 'volume'}".encode()
    return header
