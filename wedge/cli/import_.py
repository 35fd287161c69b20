"""``wedge import``: a foreign tilt series to a store."""

import sys
from contextlib import ExitStack
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
    stack: Annotated[Path, typer.Argument(help="Tilt series, raw or aligned: .mrc, .st, .ali, .mrcs, .tif or .zarr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The tilt series to write, .zarr or .mrc.")],
    alignment: Annotated[
        str | None,
        typer.Option(
            "--alignment",
            metavar="FILE|none",
            help="What to align by: .xf, newst.com, .aln, .star, .xml, or .mdoc for its axis; by default what lies beside the stack.",
        ),
    ] = None,
    tilt_axis: Annotated[
        float | None,
        typer.Option("--tilt-axis", metavar="DEG", help="Turn views whose tilt axis lies so far from y, counterclockwise with y upwards."),
    ] = None,
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a tilt series as people have it into a store: angles, pixel size and thickness settled, raw views aligned.

    An alignment is applied once: stacks that are aligned by their suffix or their record are left as they lie.
    """
    from wedge import formats
    from wedge.convert import copy_tilts
    from wedge.formats.space import require_space
    from wedge.import_plan import plan_import
    from wedge.output import refuse_existing, refuse_same
    from wedge.provenance import RunClock

    clock = RunClock()
    refuse_same(output, stack)
    refuse_existing(output, overwrite=overwrite)
    plan = plan_import(stack, reading, alignment=alignment, tilt_axis_deg=tilt_axis, on_note=say)
    refuse_same(output, *plan.inputs)
    tilts, geometry = plan.series, plan.series.geometry
    list_used = formats.angles_path(stack, reading.angles)
    config = {
        "stack": str(stack),
        "alignment": alignment,
        "tilt_axis_deg": tilt_axis,
        **reading.options(),
        "angles": None if list_used is None else str(list_used),
        "thickness": geometry.volume_shape[0],
    }
    require_space([output], (geometry.num_tilts, *geometry.detector_shape), is_volume=False, copied=True, on_note=say)
    kept: dict[str, Any] = {"simulated": tilts.simulated, "weighted": tilts.weights is not None, "on_note": say}
    with formats.create_tilts(output, geometry, overwrite=overwrite, **kept) as writer, ExitStack() as views:
        if plan.aligned is not None:
            with progress("align", geometry.num_tilts) as advance:
                views.enter_context(plan.aligned.computed(output.parent, advance))
        with progress("import", tilts.array.shape[1]) as advance:
            copy_tilts(tilts, writer, on_progress=advance)
        record = clock.record(sys.argv, config, inputs=plan.inputs)
        record |= {"alignment": plan.applied} if plan.applied else {}
        path = writer.commit(record | ({"source": tilts.provenance} if tilts.provenance else {}))
    result = {
        "output": path,
        "num_tilts": geometry.num_tilts,
        "tilt_range_deg": [min(geometry.tilt_angles_deg), max(geometry.tilt_angles_deg)],
        "detector_shape": geometry.detector_shape,
        "volume_shape": geometry.volume_shape,
        "pixel_size_angstrom": geometry.pixel_size_angstrom,
        "alignment": plan.applied or None,
    }
    emit(result, as_json=as_json, text=str(path))
