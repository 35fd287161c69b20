"""Run by the Python that has DeepDeWedge: fit and refine in ``FOLDER`` as its ``setting.json`` says; what is finished is kept.

    python deepdewedge_run.py FOLDER

Calls the program's own three commands. Their fit asks for a GPU and for worker processes; where there is no GPU it is told otherwise here,
which changes no value. Every point of the curve is a call of the fit, resumed from the last one's checkpoint.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

# The checkpoints are this run's own, and hold more than tensors.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import pytorch_lightning as lightning
import torch
from ddw import fit_model, prepare_data, refine_tomogram


def let_cpu_fit() -> None:
    """Have the fit take the CPU where there is no GPU, and load data in its own process."""
    trainer, module = lightning.Trainer, sys.modules["ddw.fit_model"]
    loader = module.DataLoader

    def cpu_trainer(**given: Any) -> Any:
        return trainer(**{**given, "accelerator": "cpu", "devices": 1, "detect_anomaly": False, "enable_progress_bar": False})

    def plain_loader(**given: Any) -> Any:
        return loader(**{**given, "persistent_workers": given["num_workers"] > 0, "pin_memory": False})

    if not torch.cuda.is_available():
        lightning.Trainer = cpu_trainer
    module.DataLoader = plain_loader


def checkpoint(folder: Path, epochs: int) -> Path:
    """Return the newest checkpoint after some epochs: a fit that was stopped and begun anew has more than one."""
    found = (folder / "project" / "logs").glob(f"version_*/checkpoints/epoch/epoch={epochs - 1}*.ckpt")
    return max(found, key=lambda path: path.stat().st_mtime)


def peak_mib() -> int:
    """Return the largest memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run(folder: Path) -> None:
    """Prepare where nothing is, then fit and refine point after point."""
    setting = json.loads((folder / "setting.json").read_text())
    halves = {"tomo0_files": [folder / "half1.mrc"], "tomo1_files": [folder / "half2.mrc"]}
    common = {"subtomo_size": setting["cube"], "mw_angle": setting["missing_deg"], "num_workers": 0}
    record = folder / "points.json"
    points = json.loads(record.read_text()) if record.exists() else []
    cost = points[-1]["fit_seconds"] if points else 0.0
    begun = time.process_time()
    if not points:
        prepare_data(
            **halves,
            subtomo_size=setting["cube"],
            subtomo_extraction_strides=setting["strides"],
            val_fraction=0.0,
            standardize_full_tomos=True,
            project_dir=folder / "project",
            overwrite=True,
            seed=setting["seed"],
        )
    for number, epochs in enumerate(setting["points"]):
        if number < len(points):
            continue
        fit_model(
            **common,
            unet_params_dict={"chans": setting["channels"], "num_downsample_layers": 3, "drop_prob": 0.0},
            adam_params_dict={"lr": setting["learning_rate"]},
            num_epochs=epochs,
            batch_size=setting["batch"],
            gpu=0,
            project_dir=str(folder / "project"),
            logger="csv",
            update_subtomo_missing_wedges_every_n_epochs=setting["update_every"],
            save_model_every_n_epochs=setting["save_every"],
            save_n_models_with_lowest_fitting_loss=0,
            save_n_models_with_lowest_val_loss=0,
            resume_from_checkpoint=str(checkpoint(folder, points[-1]["done"])) if points else None,
            seed=setting["seed"] + number,
        )
        cost += time.process_time() - begun
        begun = time.process_time()
        refine_tomogram(
            **halves,
            **common,
            model_checkpoint_file=checkpoint(folder, epochs),
            standardize_full_tomos=True,
            gpu=[0] if torch.cuda.is_available() else None,
            output_dir=folder / f"point-{epochs}",
        )
        seconds = cost + time.process_time() - begun
        volume = f"point-{epochs}/half1+half2_refined.mrc"
        points.append({"done": epochs, "volume": volume, "fit_seconds": cost, "seconds": seconds, "peak_mib": peak_mib()})
        record.with_suffix(".part").write_text(json.dumps(points, indent=1) + "\n")
        record.with_suffix(".part").rename(record)
        begun = time.process_time()


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    let_cpu_fit()
    run(Path(sys.argv[1]))
