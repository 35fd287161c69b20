"""How far a fit is, and how long it will still take."""

import time
from collections.abc import Callable
from typing import Any

_LEAST_SECONDS = 2.0


class Pace:
    """Work done since it was first heard of, and the time that took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun = clock, clock()
        self._from: tuple[int, float] | None = None
        self._done = self._total = 0

    def begin(self, done: int, total: int) -> None:
        """Begin at ``done`` of ``total``, unless more was heard already."""
        if self._from is None:
            self._from, self._done, self._total = (done, self._clock()), done, total

    def reach(self, done: int, total: int) -> None:
        """Be at ``done`` of ``total``; where that is another total than before, the pace is measured anew."""
        if self._from is None or total != self._total:
            self._from, self._total = (done, self._clock()), total
        self._done = done

    def to_json(self) -> dict[str, Any]:
        """Return ``progress``, ``seconds`` since the beginning, and ``seconds_left`` or None."""
        now, left = self._clock(), None
        if self._from is not None and self._done > self._from[0] and now - self._from[1] > _LEAST_SECONDS:
            left = (self._total - self._done) * (now - self._from[1]) / (self._done - self._from[0])
        return {"progress": [self._done, self._total], "seconds": round(now - self._begun, 2), "seconds_left": left}
