"""Writing MRC files row by row, valid MRC2014, with the record of how they were made beside them."""

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from filelock import BaseFileLock
from mrcfile.dtypes import HEADER_DTYPE

import wedge
from wedge.formats.file_array import FileArray
from wedge.formats.mrc import IMOD_AXES, IMOD_STAMP, SIGNED_BYTES, record_path
from wedge.formats.mrc_values import Values
from wedge.geometry import TiltGeometry
from wedge.output import PendingOutput, Writer, writing
from wedge.statistics import RunningStatistics

_FLOATS = Values()


class _MrcSink:
    """Rows by ordinary writes: on a full disk they fail with an error, where a memory map would end the process."""

    def __init__(
        self, output: PendingOutput, shape: tuple[int, int, int], header: np.ndarray, attributes: dict[str, Any], values: Values
    ) -> None:
        self._output = output
        self._shape = shape
        self._header = header
        self._attributes = attributes
        self._values = values
        self._beyond, self._largest = 0, 0.0
        self._imod_axes = attributes.get("axes") == IMOD_AXES
        self._file: BinaryIO = output.partial.open("wb")
        try:
            self._file.write(header.tobytes())
            if hasattr(os, "posix_fallocate"):
                # A disk that is too small is told before the work, not after it.
                os.posix_fallocate(self._file.fileno(), 0, header.nbytes + values.dtype.itemsize * math.prod(shape))
        except BaseException:
            self.close()
            raise

    def write_rows(self, y_start: int, block: np.ndarray) -> None:
        stored, beyond = self._values.encode(block)
        self._beyond += beyond
        self._largest = max(self._largest, float(np.abs(block).max(initial=0.0)))
        num_sections, num_rows, num_columns = self._shape
        if self._imod_axes:
            self._write_at(y_start * num_sections * num_columns, stored[:, ::-1, :])
            return
        for section in range(num_sections):
            self._write_at((section * num_rows + y_start) * num_columns, stored[:, section, :])

    def _write_at(self, place: int, values: np.ndarray) -> None:
        self._file.seek(self._header.nbytes + values.itemsize * place)
        self._file.write(np.ascontiguousarray(values).tobytes())

    def write_weights(self, y_start: int, block: np.ndarray) -> None:
        raise ValueError(f"{self._output.path} has no room for weights")

    def finish(self, provenance: dict[str, Any]) -> None:
        self._values.refuse_too_small(self._largest)
        self._file.flush()
        self._add_statistics()
        self._file.seek(0)
        self._file.write(self._header.tobytes())
        self._file.close()
        if self._values.mode == "int8":
            self._attributes["values"] = {**self._values.to_json(), "num_beyond": self._beyond}
        record = {"wedge": {**self._attributes, "shape": self._shape, "provenance": provenance}}
        partial = record_path(self._output.partial)
        try:
            partial.write_text(json.dumps(record, indent=1) + "\n")
            partial.replace(record_path(self._output.path))
        finally:
            partial.unlink(missing_ok=True)

    def _add_statistics(self) -> None:
        """Tell the header of the values as they are stored."""
        statistics = RunningStatistics()
        stored_shape = int(self._header["nz"]), int(self._header["ny"]), int(self._header["nx"])
        written = FileArray(self._output.partial, self._values.dtype, stored_shape, self._header.nbytes)
        for section in range(stored_shape[0]):
            statistics.update(written[section])
        if not statistics.count:
            return
        self._header["dmin"], self._header["dmax"] = statistics.minimum, statistics.maximum
        self._header["dmean"] = statistics.mean
        if self._values.mode != "float16":  # programs that check it do so in half precision, and call what is right wrong
            self._header["rms"] = statistics.std

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def create_mrc_volume(
    path: Path,
    shape: tuple[int, int, int],
    *,
    voxel_size_angstrom: float | None = None,
    tilt_angles_deg: tuple[float, ...] | None = None,
    values: Values = _FLOATS,
    imod_axes: bool = False,
    overwrite: bool = False,
    lock: BaseFileLock | None = None,
) -> Writer:
    """Begin an MRC file of a ``(z, y, x)`` volume.

    Parameters
    ----------
    values
        How densities are stored.
    imod_axes
        Write it as IMOD's ``tilt`` does, see `wedge.formats.mrc.IMOD_AXES`.

    Notes
    -----
    Other parameters and errors are those of `wedge.store.create_volume`.
    """
    z, y, x = shape
    header = _header((y, z, x) if imod_axes else shape, voxel_size_angstrom, "volume", values, imod_axes)
    angles = None if tilt_angles_deg is None else [float(angle) for angle in tilt_angles_deg]
    attributes: dict[str, Any] = {"kind": "volume", "voxel_size_angstrom": voxel_size_angstrom, "tilt_angles_deg": angles}
    return _create(path, shape, header, attributes | ({"axes": IMOD_AXES} if imod_axes else {}), values, overwrite, lock)


def create_mrc_tilts(
    path: Path,
    geometry: TiltGeometry,
    *,
    simulated: bool = False,
    values: Values = _FLOATS,
    overwrite: bool = False,
    lock: BaseFileLock | None = None,
) -> Writer:
    """Begin an MRC stack of a ``(tilt, y, x)`` series, stored as ``values`` says; the rest as of `wedge.store.create_tilts`."""
    shape = (geometry.num_tilts, *geometry.detector_shape)
    header = _header(shape, geometry.pixel_size_angstrom, "tilts", values, False)
    attributes = {"kind": "tilts", "simulated": simulated, "geometry": geometry.to_json()}
    return _create(path, shape, header, attributes, values, overwrite, lock)


def _create(
    path: Path,
    shape: tuple[int, int, int],
    header: np.ndarray,
    attributes: dict[str, Any],
    values: Values,
    overwrite: bool,
    lock: BaseFileLock | None,
) -> Writer:
    output = PendingOutput(path, overwrite=overwrite, lock=lock)
    try:
        with writing(path):
            sink = _MrcSink(output, shape, header, attributes, values)
    except BaseException:
        output.discard()
        raise
    return Writer(output, shape, sink)


def _header(
    shape: tuple[int, int, int], voxel_size_angstrom: float | None, kind: Literal["tilts", "volume"], values: Values, imod_axes: bool
) -> np.ndarray:
    """Make a header, ``()`` of mrcfile's type, of a file of ``shape`` as stored; a cell of size 0 says that the voxel size is unknown.

    Starts and origin stay 0: the first voxel's centre is the origin of space, for ChimeraX as for IMOD, whose signs of it differ.
    """
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nz"], header["ny"], header["nx"] = shape
    header["mz"], header["my"], header["mx"] = shape
    header["mode"] = values.number
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
    labels = [f"wedge {wedge.__version__}: {'tilt series' if kind == 'tilts' else 'volume'}"]
    if imod_axes:
        labels.append("axes as of IMOD's tilt, rows along falling z; trimvol -rx makes it (z, y, x)")
    if values.mode == "int8":
        # IMOD takes bytes for unsigned unless its stamp and flag say otherwise; to all others they are signed anyway.
        header["extra2"] = np.void(bytes(40) + np.array([IMOD_STAMP, SIGNED_BYTES], "<i4").tobytes() + bytes(36))
        labels.append(f"density = value * {values.scale:.9g} + {values.offset:.9g}")
    header["nlabl"] = len(labels)
    for place, label in enumerate(labels):
        header["label"][place] = label.encode()[:80]
    return header
