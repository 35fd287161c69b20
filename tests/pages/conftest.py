"""Folders of runs as fits leave them, made by hand."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wedge import formats, store
from wedge.pages.run_files import RunFiles
from wedge.pages.spectrum import spectrum_message
from wedge.preview import preview_of_slices

SHAPE = (12, 20, 24)


@dataclass
class FakeRun:
    """A run at ``output``, whose process is this one as far as anybody can tell."""

    output: Path

    def __post_init__(self) -> None:
        self.run_dir.mkdir()
        (self.run_dir / "config.json").write_text(json.dumps({"config": {"method": "network"}}))
        self.beat = 0

    @property
    def run_dir(self) -> Path:
        return self.output.with_name(self.output.name + ".run")

    @property
    def files(self) -> RunFiles:
        files = RunFiles(self.run_dir / "watch")
        files.prepare()
        return files

    def tell(self, state: str = "running", **more: Any) -> None:
        self.beat += 1
        told = {
            "state": state, "step": 3, "num_steps": 10, "progress": [3, 10], "seconds": 12.0, "seconds_left": 28.0,
            "host": socket.gethostname(), "pid": 1, "beat": self.beat, "beat_seconds": 2.0, "written": time.time(),
            "stage": ["fitting", 0, 0], "method": "network",
            "command": ["wedge", "reconstruct", "t.zarr", "-o", "o.zarr", "--overwrite", "--preset", "study"],
            "scalars": {"loss": 0.5, "held_out": 0.25}, "resident_bytes": 2**30, "device": "cpu", "said": ["one", "two"],
        }  # fmt: skip
        self.files.write_state(told | more)

    def show(self, step: int = 3, side: int = 0) -> None:
        """Write a preview, a ball that grows with the step, and its spectrum and curves."""
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, side or count) for count in SHAPE), indexing="ij")
        ball = (z**2 + y**2 + x**2 < 0.2 + 0.05 * step).astype(np.float32).swapaxes(0, 1)
        made = preview_of_slices(ball, (1.0, 1.0, 1.0), 10.0)
        self.files.write_preview(made, spectrum_message(np.random.default_rng(step).normal(size=(12, 24)), [-60, 60]))
        steps = list(range(1, step + 1))
        self.files.write_curves({"loss": [steps, [1 / n for n in steps]], "held_out": [steps, [2 / n for n in steps]]})

    def checkpoint(self, step: int = 4) -> None:
        import torch

        from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, write_checkpoint
        from wedge.fit.normalization import Normalization

        progress = Progress(step, Normalization(0.0, 1.0, True), seconds=9.0, settled={"method": "network"})
        write_checkpoint(self.run_dir / CHECKPOINT_NAME, {"a": torch.zeros(3)}, progress)

    def result(self, value: float = 1.0, ended: float | None = None) -> None:
        make_volume(self.output, value, ended=ended)


def make_volume(path: Path, value: float = 1.0, shape: tuple[int, int, int] = SHAPE, ended: float | None = None) -> None:
    """Write noise around a value, by its record done at ``ended``, seconds since 1970."""
    started = datetime.fromtimestamp((ended or time.time()) - 10, UTC).isoformat(timespec="seconds")
    rows = np.random.default_rng(0).normal(value, 0.1, (shape[1], shape[0], shape[2])).astype(np.float32)
    made = store.create_volume if path.suffix == ".zarr" else formats.create_volume
    with made(path, shape, voxel_size_angstrom=10.0, tilt_angles_deg=(-60.0, 60.0), overwrite=True) as writer:
        writer.write_rows(0, rows)
        writer.commit({"command": ["wedge", "made", "it"], "started": started, "seconds": 10.0})


@pytest.fixture
def fake_at() -> type[FakeRun]:
    """Make a run at a place of one's own."""
    return FakeRun


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "o.zarr")


@pytest.fixture
def write_volume() -> Callable[..., None]:
    """Write a volume of noise around a value."""
    return make_volume
