"""A fund worker in a process of its own: the same work over the venue's administration socket (`margrave liquidator`).

It attaches, which fences whoever worked for the venue before, asks for operations, and answers. Where the venue goes
away it waits and attaches again; where another worker attaches later this one ends.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from exchange.views import LeaseView
from gateway.admin import MAX_LINE_BYTES, check_path
from gateway.admin_operations import AdminError
from gateway.fund_queue import Operation
from gateway.liquidator import BACKOFF_SECONDS, Worker
from persistence.redis_access import RedisAccess

log = logging.getLogger("gateway.liquidator")
CALL_SECONDS = 30.0
POLL_SECONDS = 0.02
PAGE = 64
GONE = (ConnectionError, OSError, TimeoutError, asyncio.IncompleteReadError)
FINAL = frozenset({"superseded", "own_worker", "too_many_workers", "unknown_operation"})
"""Refusals after which this worker has nothing to do here; others (a full journal, a stopping venue) pass."""


class VenueGone(ConnectionError):
    """The administration socket is closed or silent."""


class AdminConnection:
    """An asyncio client of the administration socket, one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self._lock = asyncio.Lock()
        self._last_id = 0

    @classmethod
    async def open(cls, path: Path) -> Self:
        """VenueGone where nobody listens."""
        try:
            return cls(*await asyncio.open_unix_connection(str(check_path(path)), limit=MAX_LINE_BYTES))
        except OSError as error:
            raise VenueGone(f"{path}: {error}") from None

    async def call(self, operation: str, **params: Any) -> Any:
        """The result; AdminError where it is refused, VenueGone where no answer comes."""
        async with self._lock:
            self._last_id += 1
            request = {"id": self._last_id, "operation": operation, "params": params}
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    self._writer.write(msgspec.json.encode(request) + b"\n")
                    await self._writer.drain()
                    line = await self._reader.readline()
            except GONE as error:
                raise VenueGone(str(error) or "no answer in time") from None
        if not line.endswith(b"\n"):
            raise VenueGone("the venue closed the administration socket")
        answer = msgspec.json.decode(line)
        if "error" in answer:
            raise AdminError(answer["error"]["reason"], answer["error"]["message"])
        return answer["result"]

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


class RemoteDesk:
    """The venue through its administration socket; see `gateway.fund_desk.Desk`."""

    def __init__(self, admin: AdminConnection, attached: dict[str, Any]):
        self._admin = admin
        self.attachment: int = attached["attachment"]
        self.venue_id: str = attached["venue_id"]
        self.epoch: int = attached["epoch"]
        self.currencies: list[str] = attached["currencies"]
        self._taken: deque[Operation] = deque()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Attach to the venue; whoever was attached before is superseded."""
        admin = await AdminConnection.open(path)
        try:
            return cls(admin, await admin.call("fund_attach"))
        except BaseException:
            admin.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._admin.close()

    async def _call(self, operation: str, **params: Any) -> Any:
        """A call that waits while the venue's journal is full."""
        while True:
            try:
                return await self._admin.call(operation, attachment=self.attachment, **params)
            except AdminError as error:
                if error.reason != "journal_full":
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def next(self) -> Operation:
        """The oldest operation whose event is durable; asks until there is one."""
        while not self._taken:
            found = await self._call("fund_next", most=PAGE)
            self._taken.extend(msgspec.convert(found, list[Operation]))
            if not self._taken:
                await asyncio.sleep(POLL_SECONDS)
        return self._taken[0]

    async def done(self, operation: Operation) -> None:
        """Tell the venue; a repetition after a lost answer is no harm."""
        await self._call("fund_done", seq=operation.seq, place=operation.place)
        self._taken.popleft()

    async def leases(self) -> list[LeaseView]:
        """The engine's leases."""
        return msgspec.convert(await self._call("fund_leases"), list[LeaseView])

    async def claims(self) -> list[int]:
        """The ledger's claim on the fund by currency, minor units."""
        found: list[int] = await self._call("fund_claims")
        return found

    async def grant(self, lease_id: int, currency: int, amount_minor: int, exhausted: bool) -> None:
        """As a command of the venue."""
        fields = {"lease_id": lease_id, "currency": currency, "amount_minor": amount_minor, "exhausted": exhausted}
        await self._call("fund_grant", **fields)

    async def settled(self, lease_id: int, currency: int, used_minor: int) -> None:
        """As a command of the venue."""
        await self._call("fund_settled", lease_id=lease_id, currency=currency, used_minor=used_minor)


async def run(path: Path, access: RedisAccess, on_attached: Callable[[RemoteDesk], None] = lambda desk: None) -> None:
    """Work for the venue behind an administration socket until cancelled. AdminError or FundFenced where another worker
    has taken over, or the venue has one of its own."""
    attempt = 0
    while True:
        desk = None
        try:
            desk = await RemoteDesk.open(path)
            attempt = 0
            on_attached(desk)
            await Worker(access, desk).work()
        except GONE as error:
            if attempt == 0:
                log.warning("the venue is away (%s); waiting for it", error)
        except AdminError as error:
            if error.reason in FINAL:
                raise
            log.warning("the venue refuses (%s); waiting for it", error)
        finally:
            if desk is not None:
                desk.close()
        await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
        attempt += 1
