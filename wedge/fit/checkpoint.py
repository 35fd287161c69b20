"""Checkpoints: one safetensors file of tensors, with JSON in its header. Nothing in it runs when it is read."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from wedge.errors import InputError
from wedge.fit.model import Field
from wedge.fit.normalization import Normalization

CHECKPOINT_NAME = "checkpoint.safetensors"
_VERSION = 1


@dataclass
class Progress:
    """Where a fit is.

    Parameters
    ----------
    step
        Steps done.
    normalization
        The fit's units.
    reference_loss
        Loss of the first step, by which divergence is judged.
    seconds
        Time spent in earlier runs and this one.
    history
        Scalars told now and then: ``step``, ``loss`` and others.
    settled
        The configuration as it was after the data had chosen, as plain data; empty in the one told.
    chosen
        What the data chose, for the record.
    """

    step: int
    normalization: Normalization
    reference_loss: float = float("nan")
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    settled: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}


def _regularizer_tensors(regularizers: Sequence[object]) -> dict[str, torch.Tensor]:
    tensors = {}
    for index, regularizer in enumerate(regularizers):
        state = getattr(regularizer, "state_dict", None)
        if callable(state):
            tensors.update({f"regularizer.{index}.{key}": value for key, value in state().items()})
    return tensors


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with memory of their own; tied parameters are one tensor under two names, which the format refuses."""
    taken: set[int] = set()
    apart = {}
    for name, value in tensors.items():
        memory = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if memory in taken else value
        taken.add(memory)
    return apart


def save_checkpoint(
    path: Path, field_: Field, optimizer: torch.optim.Optimizer, regularizers: Sequence[object], progress: Progress
) -> None:
    """Write all that a fit needs to go on; the file at ``path`` is replaced at once or not at all.

    Raises
    ------
    InputError
        If it cannot be written, as on a full disk.
    """
    tensors = {f"network.{name}": value for name, value in field_.network.state_dict().items()}
    tensors |= _optimizer_tensors(optimizer) | _regularizer_tensors(regularizers)
    write_checkpoint(path, _apart({name: value.detach().cpu().contiguous() for name, value in tensors.items()}), progress)


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], progress: Progress) -> None:
    """Write tensors and where a fit is; the file at ``path`` is replaced at once or not at all.

    Raises
    ------
    InputError
        If it cannot be written, as on a full disk.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        save_file(tensors, temporary, {"wedge": json.dumps({"version": _VERSION, "progress": asdict(progress)})})
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write checkpoint {path}: {error}; free some disk space and resume") from error


def load_progress(path: Path) -> Progress:
    """Read where a fit was.

    Raises
    ------
    InputError
        If there is no checkpoint or it is damaged.
    """
    return read_checkpoint(path)[0]


def load_checkpoint(
    path: Path, field_: Field, optimizer: torch.optim.Optimizer, regularizers: Sequence[object], device: torch.device
) -> Progress:
    """Put a checkpoint's state into a field, its optimizer and its regularizers, and return where the fit was.

    Raises
    ------
    InputError
        If there is no checkpoint, it is damaged or it is of another network.
    """
    progress, tensors = read_checkpoint(path, device)
    try:
        field_.network.load_state_dict(_with_prefix(tensors, "network."))
        state = optimizer.state_dict()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _with_prefix(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            # Adam keeps its step counter on the CPU.
            moments.setdefault(int(index), {})[key] = value.cpu() if key == "step" else value
        optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
        for place, regularizer in enumerate(regularizers):
            load = getattr(regularizer, "load_state_dict", None)
            if callable(load):
                load(_with_prefix(tensors, f"regularizer.{place}."))
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"checkpoint {path} does not fit this network: {reason}; start again with --overwrite") from error
    return progress


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def read_checkpoint(path: Path, device: torch.device | None = None) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Read where a fit was and, onto a device where one is given, its tensors by name.

    Raises
    ------
    InputError
        If there is no checkpoint or it is damaged.
    """
    if not path.exists():
        raise InputError(f"no checkpoint at {path}: nothing to resume; run without --resume")
    try:
        with safe_open(path, framework="pt", device=str(device or "cpu")) as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["wedge"])
            data = header["progress"]
            progress = Progress(**data | {"normalization": Normalization(**data["normalization"])})
            tensors = {name: file.get_tensor(name) for name in file.keys()} if device is not None else {}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"checkpoint {path} is damaged ({error}): start again with --overwrite") from error
    return progress, tensors
