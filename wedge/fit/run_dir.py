"""The folder ``OUT.run`` of a fit: its configuration, its checkpoint and its log."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wedge.data import TiltSeries
from wedge.errors import InputError, OutputExistsError
from wedge.fit.checkpoint import CHECKPOINT_NAME, Progress, load_progress
from wedge.fit.config import FitConfig
from wedge.fit.job import Reconstruction
from wedge.fit.normalization import Normalization, sample_rows, sample_weights

CONFIG_NAME = "config.json"
LOG_NAME = "log.jsonl"
SETTLED_NAME = "settled.json"


def fingerprint(tilts: TiltSeries, half: TiltSeries | None = None) -> str:
    """Return a hash of the geometry and of some rows, of a second half too: enough to tell whether a checkpoint belongs to a series."""
    digest = hashlib.blake2b(json.dumps(tilts.geometry.to_json()).encode(), digest_size=16)
    digest.update(sample_rows(tilts).tobytes())
    if tilts.weights is not None:
        digest.update(sample_weights(tilts).tobytes())
    if half is not None:
        digest.update(fingerprint(half).encode())
    return digest.hexdigest()


def refuse_other_input(run_dir: Path, tilts: TiltSeries, half: TiltSeries | None) -> None:
    """Refuse to go on with the fit in ``run_dir`` on other data.

    Raises
    ------
    InputError
        If its configuration is missing, or of another series, second half or geometry.
    """
    stored_config(run_dir)
    if json.loads((run_dir / CONFIG_NAME).read_text()).get("input") != fingerprint(tilts, half):
        halves = f" and {half.name}" if half is not None else " alone"
        raise InputError(f"{run_dir} holds a fit of other data or geometry than {tilts.name}{halves}: give the same input and options")


def stored_config(run_dir: Path) -> FitConfig:
    """Return the configuration of the fit that left ``run_dir``.

    Raises
    ------
    InputError
        If there is none or it cannot be read.
    """
    path = run_dir / CONFIG_NAME
    try:
        return FitConfig.model_validate(json.loads(path.read_text())["config"])
    except FileNotFoundError as error:
        raise InputError(f"nothing to resume: {path} is missing; run without --resume") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}; start again with --overwrite") from error


def stored_inputs(run_dir: Path) -> dict[str, Any]:
    """Return the options that the tilt series in ``run_dir`` was read with."""
    stored_config(run_dir)
    return dict(json.loads((run_dir / CONFIG_NAME).read_text()).get("input_options", {}))


def write_settled(run_dir: Path, result: Reconstruction) -> None:
    """Keep the units of a finished fit and all that the data chose, for fits that are to be like it.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    settled = Progress(0, result.normalization, settled=result.config.model_dump(mode="json"), chosen=result.chosen)
    kept = {key: value for key, value in asdict(settled).items() if key in ("step", "normalization", "settled", "chosen")}
    try:
        (run_dir / SETTLED_NAME).write_text(json.dumps(kept))
    except OSError as error:
        raise InputError(f"cannot write {run_dir / SETTLED_NAME}: {error.strerror}; free some disk space") from error


def read_settled(run_dir: Path) -> Progress:
    """Return what `write_settled` kept, as the state of a fit before its first step.

    Raises
    ------
    InputError
        If there is nothing, or it is damaged.
    """
    path = run_dir / SETTLED_NAME
    try:
        data = json.loads(path.read_text())
        return Progress(**data | {"normalization": Normalization(**data["normalization"])})
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: it says how the whole was made; make it again with --overwrite") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}; make the whole again with --overwrite") from error


def prepare_run_dir(
    run_dir: Path,
    tilts: TiltSeries,
    config: FitConfig,
    *,
    half: TiltSeries | None = None,
    resume: bool,
    overwrite: bool,
    input_options: dict[str, Any] | None = None,
) -> None:
    """Make ``run_dir`` for a new fit, or check that the fit in it can go on.

    ``input_options`` are kept there for whoever reads the tilt series again.

    Raises
    ------
    OutputExistsError
        If it holds an unfinished fit that would be lost.
    InputError
        If there is nothing to resume, or it is a fit of other data.
    """
    if resume:
        load_progress(run_dir / CHECKPOINT_NAME)
        refuse_other_input(run_dir, tilts, half)
        return
    if (run_dir / CHECKPOINT_NAME).exists() and not overwrite:
        raise OutputExistsError(f"an unfinished fit is in {run_dir}: continue it with --resume, or drop it with --overwrite")
    if run_dir.exists():
        if not (run_dir / CONFIG_NAME).exists() and any(run_dir.iterdir()):
            raise OutputExistsError(f"{run_dir} is no folder of a fit: move it away or choose another output")
        shutil.rmtree(run_dir)
    try:
        run_dir.mkdir(parents=True)
        record = {
            "input": fingerprint(tilts, half),
            "input_options": input_options or {},
            "config": config.model_dump(mode="json"),
            "geometry": tilts.geometry.to_json(),
        }
        (run_dir / CONFIG_NAME).write_text(json.dumps(record, indent=1, default=str))
    except OSError as error:
        raise InputError(f"cannot write {run_dir}: {error.strerror}; choose another output") from error
