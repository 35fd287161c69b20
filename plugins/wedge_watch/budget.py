"""What watching may cost: a share of the fit's own time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MARGIN = 1.25  # the next one may take longer than the last


class Budget:
    """Keeps account of what was spent, and says when there is room for more.

    Parameters
    ----------
    share
        Of the time that the fit has taken so far without what was spent.
    clock
        Seconds.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock, self._begun, self.spent = share, clock, clock(), 0.0

    @property
    def fit_seconds(self) -> float:
        """Time that the fit has taken so far, without what was spent."""
        return self._clock() - self._begun - self.spent

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time of the block."""
        begun = self._clock()
        try:
            yield
        finally:
            self.spent += self._clock() - begun

    def add(self, seconds: float) -> None:
        """Count what was spent elsewhere, by another thread."""
        self.spent += seconds

    def has_room_for(self, seconds: float) -> bool:
        """Say whether something that took ``seconds`` the last time may be done now."""
        return self.spent + _MARGIN * seconds <= self._share * self.fit_seconds
