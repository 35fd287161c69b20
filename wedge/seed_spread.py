"""Volumes that differ by their seed alone: how far apart they are."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wedge.data import Volume
from wedge.intensity import common_shape
from wedge.slabs import chunk_rows, read_slices, slab_ranges


def seed_groups(volumes: Sequence[Volume]) -> list[list[int]]:
    """Return which volumes were made alike, of the same input with the same settings, but for their seeds; groups of two or more."""
    groups: dict[str, dict[Any, int]] = {}
    for place, volume in enumerate(volumes):
        record = volume.provenance
        fit = record.get("config", {}).get("fit") if isinstance(record.get("config"), dict) else None
        if not isinstance(fit, dict) or "seed" not in fit:
            continue
        settings = {key: value for key, value in fit.items() if key != "seed"}
        inputs = [entry.get("blake2b") for entry in record.get("inputs", [])]
        key = json.dumps([settings, record["config"].get("input"), inputs, list(volume.array.shape)], sort_keys=True, default=str)
        groups.setdefault(key, {}).setdefault(fit["seed"], place)
    return [sorted(group.values()) for group in groups.values() if len(group) > 1]


def relative_spread(volumes: Sequence[Volume]) -> float:
    """Return the root mean square over voxels of the standard deviation over volumes, over the deviation of their mean density.

    Raises
    ------
    InputError
        If shapes differ.
    """
    shape = common_shape(volumes)
    total = squares = variance = 0.0
    for rows in slab_ranges(shape[1], chunk_rows(shape)):
        stack = np.stack([read_slices(volume, rows.start, rows.stop) for volume in volumes]).astype(np.float64)
        mean = stack.mean(axis=0)
        variance += float(stack.var(axis=0, ddof=1).sum())
        total, squares = total + float(mean.sum()), squares + float(np.square(mean).sum())
    count = math.prod(shape)
    deviation = squares / count - (total / count) ** 2
    return math.sqrt(variance / count / deviation) if deviation > 0 else math.nan
