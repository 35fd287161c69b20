"""A walk over settings, by the error that trials have on views that they have not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_WORTH_IT = 0.004
_DISPROVED, _MOST_OF = 0.5, 0.67
_ALIKE = 0.03  # of what is not noise


@dataclass
class Search:
    """A walk over settings, one at a time, that never asks for the same error twice.

    Parameters
    ----------
    error
        Of a setting, a dictionary of values.
    noise
        What every error holds of noise: the rest is what settings are compared by.
    tried
        Errors by setting, in the order of the trials.
    """

    error: Callable[[dict[str, Any]], float]
    noise: float = 0.0
    tried: list[tuple[dict[str, Any], float]] = field(default_factory=list)

    def of(self, setting: dict[str, Any]) -> float:
        """Return the error of a setting."""
        for known, value in self.tried:
            if known == setting:
                return value
        value = self.error(setting)
        self.tried.append((dict(setting), value))
        return value

    def better(self, setting: dict[str, Any], than: dict[str, Any]) -> bool:
        """Return whether a setting is worth a step: by more than 0.4 % of what is not noise."""
        return self.of(setting) < self.of(than) - _WORTH_IT * max(self.of(than) - self.noise, 0.0)

    def along(self, setting: dict[str, Any], key: str, values: Sequence[Any]) -> dict[str, Any]:
        """Return the setting with ``key`` at the lowest error, walking from where it is among ordered ``values`` as long as that helps."""
        place = int(np.argmin([abs(np.log((value + 0.05) / (setting[key] + 0.05))) for value in values]))
        best = {**setting, key: values[place]}
        for direction in (1, -1):
            at = place + direction
            moved = False
            while 0 <= at < len(values):
                other = {**best, key: values[at]}
                if not self.better(other, best):
                    break
                best, moved = other, True
                at += direction
            if moved:
                break
        return best

    def largest_alike(self, setting: dict[str, Any], key: str, values: Sequence[Any]) -> dict[str, Any]:
        """Return the setting with the largest of ordered ``values`` whose error is all but the lowest.

        Held-out views see little of what a weight is for, the wedge: among those that they cannot tell apart the smoothest is the safest.
        """
        lowest = self.of(setting)
        noise = self._noise_within(lowest)
        for value in values:
            if value > setting[key]:
                found = self.of({**setting, key: value})
                lowest = min(lowest, found)
                if found > lowest + _ALIKE * max(lowest - noise, 0.0):
                    break
                setting = {**setting, key: value}
        return setting

    def lowered(self, setting: dict[str, Any], key: str, values: Sequence[Any]) -> dict[str, Any]:
        """Return the setting with ``key`` as far down ordered ``values`` as each step is worth more than those that are alike differ."""
        for value in reversed(values):
            if value < setting[key]:
                lower = {**setting, key: value}
                error = self.of(setting)
                if self.of(lower) >= error - _ALIKE * (error - self._noise_within(error)):
                    break
                setting = lower
        return setting

    def _noise_within(self, error: float) -> float:
        """Return what of an error is noise, where differences count relative to the rest."""
        # One far below it shows that what was taken for noise is detail; near it the estimate is not good enough to subtract all of it.
        return min(self.noise, _MOST_OF * error) if error > _DISPROVED * self.noise else 0.0
