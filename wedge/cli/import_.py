"""``wedge import``: a foreign tilt series to a store."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from wedge.cli.common import (
    JsonOption,
    OverwriteOption,
    emit,
    progress,
    say,
)
from wedge.cli.reading import reads_tilts
from wedge.reading import AS_STORED, Reading


@reads_tilts
def command(
    stack: Annotated[Path, typer.Argument(help="Tilt series: .mrc, .st, .ali, .mrcs or .zarr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The tilt series to write, .zarr or .mrc.")],
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a foreign tilt series into a store, with its angles, pixel size and the thickness of the volume to make from it."""
    from wedge import formats
    from wedge.convert import copy_tilts
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock

    clock = RunClock()
    refuse_same(output, stack)
    refuse_existing(output, overwrite=overwrite)
    tilts = formats.open_tilts(stack, **reading.options(), on_note=say)
    list_used = formats.angles_path(stack, reading.angles)
    config = {
        "stack": str(stack),
        **reading.options(),
        "angles": None if list_used is None else str(list_used),
        "thickness": tilts.geometry.volume_shape[0],
    }
    kept: dict[str, Any] = {"simulated": tilts.simulated, "weighted": tilts.weights is not None, "on_note": say}
    with formats.create_tilts(output, tilts.geometry, overwrite=overwrite, **kept) as writer:
        with progress("import", tilts.array.shape[1]) as advance:
            copy_tilts(tilts, writer, on_progress=advance)
        inputs = [stack] if list_used is None else [stack, list_used]
        record = clock.record(sys.argv, config, inputs=inputs)
        path = writer.commit(record | ({"source": tilts.provenance} if tilts.provenance else {}))
    geometry = tilts.geometry
    result = {
        "output": path,
        "num_tilts": geometry.num_tilts,
        "tilt_range_deg": [min(geometry.tilt_angles_deg), max(geometry.tilt_angles_deg)],
        "detector_shape": geometry.detector_shape,
        "volume_shape": geometry.volume_shape,
        "pixel_size_angstrom": geometry.pixel_size_angstrom,
    }
    emit(result, as_json=as_json, text=str(path))
