"""Between the fund worker and its venue: what there is to do, what the engine knows, and answers as commands.

`LocalDesk` serves a worker on the venue's own loop, and through the administration socket one in another process
(`gateway/fund_remote.py`); the worker is the same.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from exchange import commands
from exchange.commands import Actor, CommandKind
from exchange.views import LeaseView
from gateway.fund_queue import IN_MEMORY, FundQueue, Operation
from gateway.records import decode

ATTACHMENTS = 1 << 20
"""Workers that may attach in one life of the venue; the fund's epoch is the venue's times this, plus which one."""
RETRY_SECONDS = 0.05


class Desk(Protocol):
    """The venue as a fund worker sees it."""

    venue_id: str
    epoch: int
    """Of the fund: larger for every later worker of the venue."""
    currencies: list[str]

    async def next(self) -> Operation:
        """The oldest operation whose event is durable; waits for one."""

    async def done(self, operation: Operation) -> None:
        """The operation is done; once its answers are durable it is never asked for again."""

    async def leases(self) -> list[LeaseView]:
        """The engine's leases."""

    async def claims(self) -> list[int]:
        """The ledger's claim on the fund by currency, minor units."""

    async def grant(self, lease_id: int, currency: int, amount_minor: int, exhausted: bool) -> None:
        """The fund now holds so much for a lease."""

    async def settled(self, lease_id: int, currency: int, used_minor: int) -> None:
        """The fund has closed a lease."""


class LocalDesk:
    """A venue's side of the work, on its loop."""

    def __init__(
        self,
        epoch: int,
        cursor_file: Path,
        submit: Callable[[bytearray], bytes | None],
        in_memory: int = IN_MEMORY,
        on_failure: Callable[[Exception], None] = lambda error: None,
    ):
        """`epoch`: of the data directory. `on_failure`: the disk cannot take what waits."""
        self._venue_epoch, self._submit, self._on_failure = epoch, submit, on_failure
        self.attachment = 0
        self.queue = FundQueue(cursor_file, in_memory)
        self._wake = asyncio.Event()
        self._durable_seq = 0
        self._engine: Any = None
        self._sequencer: Any = None

    @property
    def venue_id(self) -> str:
        """Of the configuration."""
        return str(self._engine.config.venue_id)

    @property
    def epoch(self) -> int:
        """Of the fund."""
        return self._venue_epoch * ATTACHMENTS + self.attachment

    @property
    def currencies(self) -> list[str]:
        """Names by number."""
        return [currency.name for currency in self._engine.config.currencies]

    # events in

    def observe(self, seq: int, events: bytes) -> None:
        """Take in one command's events (also those of a replay)."""
        self.observe_facts(seq, [(kind, fields) for kind, fields, _ in decode(events)])

    def observe_facts(self, seq: int, facts: list[tuple[int, Any]]) -> None:
        """The same, decoded."""
        try:
            if self.queue.observe_facts(seq, facts):
                self._hold(seq)
        except OSError as error:
            self._on_failure(error)

    def attach(self, engine: Any, sequencer: Any) -> None:
        """The engine to answer; what was observed before this came from the journal and is durable."""
        self._engine, self._sequencer = engine, sequencer
        if len(self.queue):
            self._hold(self.queue.last_seq)

    def _hold(self, seq: int) -> None:
        if self._sequencer is not None:
            self._sequencer.hold(lambda: self._durable(seq))

    def _durable(self, seq: int) -> None:
        self._durable_seq = max(self._durable_seq, seq)
        self._wake.set()

    # the worker's side

    def ready(self, most: int = 1) -> list[Operation]:
        """The oldest operations whose events are durable."""
        return [one for one in self.queue.first(most) if one.seq <= self._durable_seq]

    async def next(self) -> Operation:
        """The oldest operation whose event is durable; waits for one."""
        while not (found := self.ready()):
            self._wake.clear()
            await self._wake.wait()
        return found[0]

    async def done(self, operation: Operation) -> None:
        """Take it off the queue; its command is confirmed when the answers to it are durable."""
        self.finish(operation.seq, operation.place)

    def finish(self, seq: int, place: int) -> None:
        """The same; again is no harm. ValueError for an operation that is not the oldest."""
        found = self.queue.first()
        if not found or (found[0].seq, found[0].place) > (seq, place):
            return  # an answer that got lost on the way, sent again
        if (found[0].seq, found[0].place) != (seq, place):
            raise ValueError(f"operation {seq}-{place} is not the oldest, {found[0].operation_id} is")
        whole = self.queue.done()
        if whole:
            self._sequencer.hold(lambda: self.queue.confirmed(whole))

    async def leases(self) -> list[LeaseView]:
        """The engine's leases."""
        found: list[LeaseView] = self._engine.leases()
        return found

    async def claims(self) -> list[int]:
        """The ledger's claim on the fund by currency, minor units."""
        return self.claims_now()

    def claims_now(self) -> list[int]:
        """The same at once."""
        return [int(self._engine.ledger(name)["fund"]) for name in self.currencies]

    async def grant(self, lease_id: int, currency: int, amount_minor: int, exhausted: bool) -> None:
        """As a command; waits where the journal is full."""
        await self._tell(grant_record(lease_id, currency, amount_minor, exhausted))

    async def settled(self, lease_id: int, currency: int, used_minor: int) -> None:
        """As a command; waits where the journal is full."""
        await self._tell(settled_record(lease_id, currency, used_minor))

    async def _tell(self, record: bytearray) -> None:
        while not self.tell(record):
            await asyncio.sleep(RETRY_SECONDS)

    def tell(self, record: bytearray) -> bool:
        """Submit an answer now; False where the journal is full or the venue has stopped."""
        return self._submit(commands.by(Actor.FUND_WORKER, bytearray(record))) is not None


def grant_record(lease_id: int, currency: int, amount_minor: int, exhausted: bool) -> bytearray:
    """GRANT_FUND_LEASE."""
    return commands.record(
        CommandKind.GRANT_FUND_LEASE,
        lease_id=lease_id,
        amount_minor=amount_minor,
        currency=currency,
        exhausted=int(exhausted),
    )


def settled_record(lease_id: int, currency: int, used_minor: int) -> bytearray:
    """SETTLE_FUND_LEASE."""
    return commands.record(CommandKind.SETTLE_FUND_LEASE, lease_id=lease_id, used_minor=used_minor, currency=currency)
