"""Curves of a fit of any length, in bounded room."""

import math
from collections.abc import Mapping
from typing import Any

MOST_POINTS = 800


class Curves:
    """Named series of points; where one grows long, every other point is left out."""

    def __init__(self) -> None:
        self._series: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of some series; what is not finite is left out."""
        for name, value in values.items():
            if not math.isfinite(value):
                continue
            steps, points = self._series.setdefault(name, ([], []))
            steps.append(float(step))
            points.append(float(value))
            if len(steps) > MOST_POINTS:
                del steps[1:-1:2], points[1:-1:2]

    def to_json(self) -> dict[str, Any]:
        """Return ``{name: [steps, values]}``."""
        return {name: [list(steps), list(points)] for name, (steps, points) in self._series.items()}

    def load(self, data: Mapping[str, Any], before: int) -> None:
        """Take the points of an earlier run up to a step; what is no curve is left out."""
        for name, series in data.items():
            try:
                for step, value in zip(*series, strict=True):
                    if float(step) <= before:
                        self.add(int(step), {str(name): float(value)})
            except (TypeError, ValueError):
                continue
