"""Run by the Python that has Icecream: train and predict in ``FOLDER`` as its ``setting.json`` says; what is finished is kept.

    python icecream_run.py FOLDER

Uses the package's own defaults, trainer and prediction. Its command computes in half precision, which needs a GPU; here everything is in
single precision on either device. Every point of the curve goes on from the last one's weights and optimizer.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mrcfile
import numpy as np
import torch
from icecream.cli import load_defaults
from icecream.models import get_model
from icecream.trainer import EquivariantTrainer

NEVER = 10**9
"""Iterations between its own plots and checkpoints."""


class Single(torch.nn.Module):
    """A network that is handed half precision by the prediction and computes in single."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.network(crops.float())


def build(folder: Path, setting: dict[str, Any]) -> Any:
    """Return a trainer with the published defaults but for what the setting says, the halves loaded."""
    published = load_defaults()
    chosen = {key: setting[key] for key in ("crop_size", "batch_size", "learning_rate", "no_window")}
    fixed = {"use_mixed_precision": False, "save_n_iterations": NEVER, "compute_avg_loss_n_iterations": NEVER}
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(setting["seed"])
    trainer = EquivariantTrainer(
        configs=SimpleNamespace(**{**published["train_params"], **chosen, **fixed, "device": device}),
        model=get_model(**published["model_params"], f_maps=setting["channels"]),
        angle_max_set=[setting["tilt_max_deg"]],
        angle_min_set=[setting["tilt_min_deg"]],
        save_path=str(folder),
    )
    halves = [str(folder / "half1.mrc")], [str(folder / "half2.mrc")]
    # Its own mask looks for dark particles; these volumes are sample all over.
    trainer.load_data(*halves, vol_mask_path=[str(folder / "mask.mrc")])
    return trainer


def predict(trainer: Any, crop_size: int, batch_size: int) -> np.ndarray:
    """Return the mean of what is predicted from either half, ``(z, y, x)``."""
    network, trainer.model = trainer.model, Single(trainer.model)
    (volume,) = trainer.predict_dir(stride=crop_size // 2, batch_size=batch_size)
    trainer.model = network
    # It holds volumes as (y, x, z).
    return np.moveaxis(volume.astype(np.float32), 2, 0)


def peak_mib() -> int:
    """Return the largest memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run(folder: Path) -> None:
    """Train and predict point after point."""
    setting = json.loads((folder / "setting.json").read_text())
    record = folder / "points.json"
    points = json.loads(record.read_text()) if record.exists() else []
    cost, begun = points[-1]["fit_seconds"] if points else 0.0, time.process_time()
    trainer = build(folder, setting)
    done = points[-1]["done"] if points else 0
    if points:
        trainer.load_model(str(folder / "model" / f"model_iteration_{done}.pt"))
    for number, iterations in enumerate(setting["points"]):
        if number < len(points):
            continue
        torch.manual_seed(setting["seed"] + number)
        np.random.seed(setting["seed"] + number)  # noqa: NPY002 (the package draws from it)
        # It does one iteration more than it is asked for.
        trainer.configs.iterations = iterations - done - 1
        trainer.train()
        done = iterations
        trainer.save_model(iteration=done)
        cost += time.process_time() - begun
        begun = time.process_time()
        volume = folder / f"point-{done}.mrc"
        with mrcfile.new(volume, overwrite=True) as file:
            file.set_data(predict(trainer, setting["crop_size"], setting["batch_size"]))
        seconds = cost + time.process_time() - begun
        points.append({"done": done, "volume": volume.name, "fit_seconds": cost, "seconds": seconds, "peak_mib": peak_mib()})
        record.with_suffix(".part").write_text(json.dumps(points, indent=1) + "\n")
        record.with_suffix(".part").rename(record)
        begun = time.process_time()


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    run(Path(sys.argv[1]))
