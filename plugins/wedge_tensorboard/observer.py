"""Write a fit's scalars and pictures as TensorBoard events."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.tensorboard import SummaryWriter

from wedge.plugin_api import RunInfo
from wedge_tensorboard.surface import surface

_MESH_SHARE = 0.05  # of the time of a fit that meshes may take: the whole field has to be computed for each


class TensorBoardOptions(BaseModel):
    """Options of `TensorBoardObserver`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = Field(10, ge=1, description="steps between two points of a curve")
    directory: str | None = Field(None, description="where to write instead of OUT.run/tensorboard")
    mesh: bool = Field(True, description="write the surface of the specimen too, a mesh of triangles, now and then and at the end")
    mesh_threshold: float | None = Field(None, description="density of the surface in units of the fit; by default Otsu's threshold")
    mesh_faces: int = Field(50_000, ge=100, description="most triangles of a mesh; a surface of more is made of a coarser volume")
    low_percentile: float = Field(0.5, ge=0, lt=50, description="percentile that pictures show as black; 100 less this is white")


class TensorBoardObserver:
    """Scalars every few steps; orthoslices and spectra when the fit offers them, the surface of the whole less often.

    Notes
    -----
    Values are asked for, and the device waited for, only when they are written. A mesh is written at the first preview and at the last, and
    in between as often as all of them together take a twentieth of the time. Its vertices are x, y, z in points of the coarse volume from
    its middle.
    """

    def __init__(self, options: TensorBoardOptions) -> None:
        self._options = options
        self._writer: SummaryWriter | None = None
        self._waiting: tuple[int, dict[str, torch.Tensor | float]] | None = None
        self._last_step = 0
        self._next_mesh = 0.0

    def start(self, run: RunInfo) -> None:
        """Open the events; what an earlier run wrote beyond ``first_step`` is hidden."""
        self._last_step, self._next_mesh = run.num_steps, 0.0
        directory = Path(self._options.directory or Path(run.run_dir) / "tensorboard")
        # Without a purge step TensorBoard would draw the steps that a resumed fit repeats twice.
        self._writer = SummaryWriter(str(directory), purge_step=run.first_step or None)
        self._writer.add_text("config", f"```\n{json.dumps(run.config, indent=2, default=str)}\n```", run.first_step)

    def step(self, step: int, scalars: Mapping[str, torch.Tensor | float]) -> None:
        """Write the scalars of every ``every``-th step, and keep those of the others for the end."""
        self._waiting = (step, dict(scalars))
        if step % self._options.every == 0:
            self._write_waiting()

    def preview(self, step: int, previews: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        """Compute and write every picture, grey values between two percentiles of its own, and the mesh if it is its time."""
        if self._writer is None:
            return
        for name, compute in previews.items():
            if name == "volume":
                self._write_mesh(step, compute)
                continue
            self._writer.add_image(name, _to_grey(compute(), self._options.low_percentile), step, dataformats="HW")
        self._writer.flush()

    def end(self, summary: Mapping[str, Any]) -> None:
        """Write the last step and the summary, and close."""
        if self._writer is not None:
            self._write_waiting()
            self._writer.add_text("summary", f"```\n{json.dumps(dict(summary), indent=2, default=str)}\n```")
        self._close()

    def failed(self, error: BaseException) -> None:
        """Write the last step and why the fit ended, and close."""
        if self._writer is not None:
            self._write_waiting()
            self._writer.add_text("failed", f"{type(error).__name__}: {error}")
        self._close()

    def _write_mesh(self, step: int, compute: Callable[[], torch.Tensor]) -> None:
        """Write the surface of the whole, unless it would take too much of the time."""
        start = time.monotonic()
        if self._writer is None or not self._options.mesh or (start < self._next_mesh and step < self._last_step):
            return
        slices = compute().detach().float().cpu().numpy()
        vertices, faces = surface(slices, self._options.mesh_threshold, self._options.mesh_faces)
        if len(faces):
            self._writer.add_mesh("surface", torch.from_numpy(vertices)[None], faces=torch.from_numpy(faces)[None], global_step=step)
        now = time.monotonic()
        self._next_mesh = now + (now - start) / _MESH_SHARE

    def _write_waiting(self) -> None:
        """Write the scalars that wait, if any."""
        if self._waiting is None or self._writer is None:
            return
        (step, scalars), self._waiting = self._waiting, None
        for name, value in scalars.items():
            self._writer.add_scalar(name, value.item() if isinstance(value, torch.Tensor) else value, step)

    def _close(self) -> None:
        """Close the events; more than once does no harm."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _to_grey(image: torch.Tensor, low_percentile: float) -> torch.Tensor:
    """Map a 2-D float image to uint8; a constant or partly infinite one does no harm."""
    image = torch.nan_to_num(image.detach().float().cpu(), nan=0.0, posinf=0.0, neginf=0.0)
    # kthvalue, as quantile refuses large images.
    values = image.flatten()
    rank = int(low_percentile / 100 * (values.numel() - 1))
    low, high = values.kthvalue(rank + 1).values, values.kthvalue(values.numel() - rank).values
    return ((image - low) / (high - low).clamp_min(1e-12) * 255).clamp(0, 255).to(torch.uint8)
