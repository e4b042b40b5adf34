"""The insurance fund's server of a venue that brings its own: started with it, and again when it died."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from persistence.data_dir import DataDirectory
from persistence.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from persistence.redis_access import RedisAccess

log = logging.getLogger("gateway.venue")
LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0


class FundServer:
    """An embedded server. The fund's worker waits while it is away; its file has whatever was answered."""

    def __init__(self, directory: DataDirectory):
        self._path = directory.redis
        self._server = EmbeddedRedis.start(self._path)
        self.access = RedisAccess(self._server.url)

    async def run(self, moved: Callable[[RedisAccess], Awaitable[None]]) -> None:
        """Start it again whenever it has ended, until cancelled; `moved` hears where it is then. It is this thread's
        child and ends with the venue."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._server.running:
                continue
            log.error("the insurance fund's server has ended; starting it again")
            self._server.stop()  # its socket
            try:
                self._server = EmbeddedRedis.start(self._path, timeout_seconds=1.0)
                self.access = RedisAccess(self._server.url)
                await moved(self.access)
            except (EmbeddedRedisError, OSError) as error:
                log.error("the insurance fund's server does not start: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._server.stop()
