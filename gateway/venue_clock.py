"""The venue clock stamps commands: monotone, and simulated or accelerated where the feed is."""

import time
from collections.abc import Callable

MAX_LAG_NS = 250_000_000
"""An accelerated clock that could not be pumped for longer than this real time slips instead of leaping."""


class VenueClock:
    """Venue time in ns; calling it is what the sequencer does.

    At speed 1 it runs with real time from `start_ns`. At any other speed it stands still between the steps
    that the pump makes (`set`), so that commands of clients are stamped with the time of the marks they saw.
    """

    def __init__(self, start_ns: int, speed: float = 1.0, monotonic_ns: Callable[[], int] = time.monotonic_ns):
        if speed <= 0:
            raise ValueError("speed must be positive")
        self.speed = speed
        self._monotonic_ns = monotonic_ns
        self._anchor_ns, self._anchor_real_ns = start_ns, monotonic_ns()
        self._last_ns = start_ns

    @property
    def stepped(self) -> bool:
        """Whether time moves by `set` alone."""
        return self.speed != 1.0

    def __call__(self) -> int:
        """Venue time now, never less than before."""
        if not self.stepped:
            self._last_ns = max(self._last_ns, self._natural_ns())
        return self._last_ns

    def _natural_ns(self) -> int:
        return self._anchor_ns + int((self._monotonic_ns() - self._anchor_real_ns) * self.speed)

    def target_ns(self) -> int:
        """Where venue time should stand now; a stepped clock goes there by `set`."""
        natural_ns = self._natural_ns()
        limit_ns = self._last_ns + int(MAX_LAG_NS * self.speed)
        if self.stepped and natural_ns > limit_ns:
            self.restart(limit_ns)
            return limit_ns
        return max(natural_ns, self._last_ns)

    def set(self, time_ns: int) -> None:
        """Step to a time; earlier ones are ignored, and so are all where the clock runs by itself."""
        if self.stepped:
            self._last_ns = max(self._last_ns, time_ns)

    def restart(self, time_ns: int) -> None:
        """Run on from a time, at once and without the real time that has passed."""
        self._anchor_ns, self._anchor_real_ns = time_ns, self._monotonic_ns()
