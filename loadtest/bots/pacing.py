"""A bound on how many orders a bot sends."""

import asyncio
import time


class Pacer:
    """A token bucket: `per_second` orders on average, at most `burst` at once."""

    def __init__(self, per_second: float, burst: int):
        self._per_second, self._burst = per_second, float(burst)
        self._tokens, self._updated_s = float(burst), time.monotonic()

    async def spend(self) -> None:
        """Wait until one more order may be sent."""
        while True:
            now_s = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now_s - self._updated_s) * self._per_second)
            self._updated_s = now_s
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                return
            await asyncio.sleep((1.0 - self._tokens) / self._per_second)
