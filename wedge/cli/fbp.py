"""``wedge fbp``: filtered backprojection."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wedge.cli.common import (
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    OverwriteOption,
    ProjectorOption,
    ProjectorOptOption,
    emit,
    progress,
    resolve_device,
    say,
)
from wedge.cli.half_runs import HalvesOption, half_series, refuse_outputs, refuse_same_paths
from wedge.cli.reading import reads_tilts
from wedge.reading import AS_STORED, Reading

if TYPE_CHECKING:
    import torch

    from wedge.data import TiltSeries
    from wedge.output import Writer
    from wedge.registry import Resolved


@reads_tilts
def command(
    tilts: Annotated[Path, typer.Argument(help="Tilt series: .zarr, or .mrc/.st/.ali with its angles.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Volume to write, .zarr or .mrc/.rec.")],
    filter: Annotated[
        str, typer.Option("--filter", metavar="ramp|hamming|hann|sirt-like|overlap", help="From sharp to smooth; overlap knows D.")
    ] = "ramp",
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="SIRT iterations that sirt-like resembles; fewer are smoother.")
    ] = 20,
    edges: Annotated[
        str, typer.Option("--edges", metavar="auto|zero|taper", help="Beyond the detector: nothing, or a taper; auto: zero if simulated.")
    ] = "auto",
    halves: HalvesOption = None,
    projector: ProjectorOption = None,
    projector_opt: ProjectorOptOption = None,
    device: DeviceOption = "auto",
    max_memory: MaxMemoryOption = None,
    reading: Reading = AS_STORED,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Reconstruct a tilt series by filtered backprojection.

    Densities are right inside the measured cone, whatever the views' number and spacing; the missing wedge stays empty.
    """
    from wedge import formats
    from wedge.defaults import load_defaults
    from wedge.fbp import default_edges
    from wedge.options import parse_settings
    from wedge.provenance import RunClock, cost_of
    from wedge.registry import Registry
    from wedge.slabs import parse_memory

    clock = RunClock()
    outputs = (output, *(halves or ()))
    refuse_same_paths(outputs)
    refuse_outputs(outputs, [tilts], overwrite=overwrite)
    limit = parse_memory(max_memory) if max_memory else None
    chosen = Registry.load().resolve("projector", projector or load_defaults()["projector"], parse_settings(projector_opt or []))
    target = resolve_device(device)
    series = formats.open_tilts(tilts, **reading.options(), on_note=say)
    filtering = {"filter": filter, "iterations": iterations, "edges": default_edges(series) if edges == "auto" else edges}
    config = filtering | {
        "projector": chosen.entry.component.name,
        "projector_options": None if chosen.options is None else chosen.options.model_dump(mode="json"),
        **reading.options(),
        "thickness": series.geometry.volume_shape[0],
    }
    used = [path for path in (tilts, formats.angles_path(tilts, reading.angles)) if path is not None]
    record: dict[str, Any] = {}
    for place, path in reversed(list(enumerate(outputs))):
        part = series if place == 0 else half_series(series, place - 1)
        half = {"half": ("even", "odd")[place - 1]} if place else {}
        with _new_volume(path, part, overwrite) as writer:
            _fill(writer, part, chosen, filtering, target, limit)
            record = clock.record(sys.argv, config | half, inputs=used, device=str(target), distributions=[chosen.entry.distribution])
            writer.commit(record)
    more = {"halves": halves} if halves else {}
    emit({"output": output, **more, **config, **cost_of(record)}, as_json=json, text="\n".join(map(str, outputs)))


def _new_volume(output: Path, series: TiltSeries, overwrite: bool) -> Writer:
    """Begin the volume that explains a tilt series."""
    from wedge import formats
    from wedge.formats.space import require_space

    geometry = series.geometry
    require_space([output], geometry.volume_shape, on_note=say)
    return formats.create_volume(
        output,
        geometry.volume_shape,
        voxel_size_angstrom=geometry.voxel_size_angstrom,
        tilt_angles_deg=geometry.tilt_angles_deg,
        overwrite=overwrite,
    )


def _fill(
    writer: Writer, series: TiltSeries, projector: Resolved, filtering: dict[str, Any], device: torch.device, limit: int | None
) -> None:
    """Reconstruct with progress shown."""
    from wedge.fbp import fbp

    with progress("filtered backprojection", series.geometry.detector_shape[0]) as advance:
        fbp(series, writer, projector.build, device=device, max_memory=limit, on_progress=advance, **filtering)
