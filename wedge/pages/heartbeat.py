"""Whether a fit lives, by the signs of life that it writes, on this machine or on another whose clock may be wrong."""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from wedge.pages.process_place import is_gone

_MISSED_BEATS = 10
_CACHED_SECONDS = 60.0  # a shared disk shows files of another machine so late
_DEFAULT_BEAT_SECONDS = 2.0

Life = Literal["alive", "waiting", "stalled", "gone"]


class Heartbeat:
    """Watches the count of beats in a state; what counts is that it changes while it is watched.

    Parameters
    ----------
    clock
        Seconds, for how long nothing has changed.
    wall_clock
        Seconds since 1970, compared with the state's only where both are of this machine.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._beat: object = None
        self._since: float | None = None
        self._changes = 0

    def judge(self, state: Mapping[str, Any]) -> Life:
        """Return ``alive``; ``waiting`` where the next beat is yet to show whether it is; ``stalled``; or ``gone`` for good."""
        now, beat = self._clock(), (state.get("pid"), state.get("beat"))
        if self._since is None or beat != self._beat:
            self._changes += self._since is not None
            self._beat, self._since = beat, now
        if is_gone(state.get("place"), state.get("pid")):
            return "gone"
        here = state.get("host") == socket.gethostname()
        limit = self.limit(state) + (0.0 if here else _CACHED_SECONDS)
        if now - self._since > limit:
            return "stalled"
        if self._changes:
            return "alive"
        age = self._wall_clock() - _number(state.get("written"), 0.0)
        if abs(age) <= limit:
            return "alive"
        return "stalled" if here and age > 0 else "waiting"

    @staticmethod
    def limit(state: Mapping[str, Any]) -> float:
        """Return after how many seconds without a beat a fit is taken for stalled: some of its own beats."""
        return _MISSED_BEATS * min(60.0, max(0.05, _number(state.get("beat_seconds"), _DEFAULT_BEAT_SECONDS)))


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
