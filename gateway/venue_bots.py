"""The house bots: one child process beside the venue, a client like any other."""

import asyncio
import logging
import sys
from pathlib import Path

import msgspec

from persistence.embedded_redis import die_with_parent

log = logging.getLogger("gateway.bots")
MAX_STARTS = 4
RESTART_SECONDS = 2.0
STOP_SECONDS = 5.0
REPORT_SECONDS = 60
BOT_ROLES = ("maker", "taker", "liquidator")


class Bots:
    """Starts `python -m loadtest.bots`, again a few times where it ends, and stops it with the venue."""

    def __init__(self, url: str, keys: list[dict[str, str]], seed: int, log_file: Path):
        self._url, self._seed, self._log_file = url, seed, log_file
        self._keys = msgspec.json.encode([key for key in keys if key["name"] in BOT_ROLES])
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def _start(self) -> asyncio.subprocess.Process:
        with open(self._log_file, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "loadtest.bots", "--url", self._url, "--keys", "-", "--seed", str(self._seed)),
                *("--report", str(REPORT_SECONDS)),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),  # a killed venue leaves nobody trading
                start_new_session=True,  # an interrupt at the terminal is the venue's business
            )
        if process.stdin is not None:
            process.stdin.write(self._keys)
            process.stdin.close()
        self.starts += 1
        return process

    async def run(self) -> None:
        """Keep the bots running until cancelled, or until they have ended MAX_STARTS times."""
        try:
            while self.starts < MAX_STARTS:
                self._process = await self._start()
                status = await self._process.wait()
                log.warning("the bots ended with status %s (see %s)", status, self._log_file)
                await asyncio.sleep(RESTART_SECONDS)
            log.error("the bots do not stay up; the venue goes on without them")
        finally:
            await self._stop()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
