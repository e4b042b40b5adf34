"""The fund worker: the only one who talks to the shared insurance fund, always after the fact.

What the engine said to do with the fund becomes operations, done one at a time in the order of events, each
once its event is durable. Every operation has an id made of its place in the journal, so it may be repeated; the
answer of the fund enters the engine as a command. Replay never calls the fund: after a crash the operations
behind the cursor (a file holding the seq up to which all is confirmed) are simply done again. While the fund's
server is away operations wait here; nothing else does.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from exchange import commands
from exchange.commands import Actor, CommandKind
from exchange.events import BalanceCause, EventKind
from exchange.views import LeaseView
from gateway.records import decode
from persistence.insurance_fund import FundError, FundFenced, FundUnavailable, InsuranceFund

log = logging.getLogger("gateway.liquidator")
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
WARN_QUEUE = 10_000
DEFINITE = frozenset({"INSUFFICIENT", "EXCEEDED", "NOLEASE", "SETTLED", "CONFLICT", "OVERFLOW", "BADCALL"})
"""Refusals that no repetition changes."""
_WATCHED = frozenset(map(int, (EventKind.BALANCE_CHANGED, EventKind.AUCTION_LOT_SOLD))) | frozenset(
    map(int, (EventKind.FUND_LEASE_REQUESTED, EventKind.FUND_LEASE_SETTLED))
)


class Operation(msgspec.Struct, frozen=True):
    """One thing to do with the fund. Amounts in minor units; `amount_minor` is the event's."""

    seq: int
    place: int
    """Position of the event among those of its command."""
    kind: str
    currency: int
    amount_minor: int
    lease_id: int = 0

    @property
    def operation_id(self) -> str:
        """The same in every life of the venue."""
        return f"{self.seq}-{self.place}"


def operations(seq: int, facts: list[tuple[int, Any]]) -> list[Operation]:
    """What a command's events ask of the fund."""
    found = []
    for place, (kind, fields) in enumerate(facts):
        if kind not in _WATCHED:
            continue
        if kind == EventKind.FUND_LEASE_REQUESTED:
            found.append(Operation(seq, place, "lease", fields.currency, fields.amount_minor, fields.lease_id))
        elif kind == EventKind.FUND_LEASE_SETTLED:
            found.append(Operation(seq, place, "settle", fields.currency, fields.amount_minor, fields.lease_id))
        elif kind == EventKind.AUCTION_LOT_SOLD:
            if fields.fee_minor > 0:
                found.append(Operation(seq, place, "credit", fields.currency, fields.fee_minor))
        elif fields.account_id == 0 and fields.amount_minor > 0:
            if fields.cause == BalanceCause.FUND_ENDOWMENT:
                found.append(Operation(seq, place, "endow", fields.currency, fields.amount_minor))
            elif fields.cause == BalanceCause.DUST_SWEEP:
                found.append(Operation(seq, place, "credit", fields.currency, fields.amount_minor))
    return found


def read_cursor(path: Path) -> int:
    """The seq up to which every operation is confirmed; 0 where no file says so (then all are repeated)."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return 0
    return int(text) if text.endswith("\n") and text.strip().isdecimal() else 0


class FundWorker:
    """Owns the connection to the fund; `observe` takes events in, `run` works them off."""

    def __init__(
        self,
        url: str,
        epoch: int,
        cursor_file: Path,
        submit: Callable[[bytearray], bytes | None],
        on_fenced: Callable[[Exception], None] = lambda error: None,
    ):
        self._url, self._epoch, self._cursor_file = url, epoch, cursor_file
        self._submit, self._on_fenced = submit, on_fenced
        self._queue: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._durable_seq = 0
        self._engine: Any = None
        self._sequencer: Any = None
        self.cursor = read_cursor(cursor_file)
        self.fund: InsuranceFund | None = None
        self.failures = 0
        """Calls that had to be repeated because the server did not answer."""
        self.refused = 0
        """Operations that the fund refused for good: its record and the ledger differ by them."""

    @property
    def waiting(self) -> int:
        """Operations not confirmed yet."""
        return len(self._queue)

    # events in

    def observe(self, seq: int, events: bytes) -> None:
        """Take in one command's events (also those of a replay)."""
        facts = [(kind, fields) for kind, fields, _ in decode(events)]
        self.observe_facts(seq, facts)

    def observe_facts(self, seq: int, facts: list[tuple[int, Any]]) -> None:
        """The same, decoded."""
        found = operations(seq, facts)
        if not found:
            return
        self._queue.extend(found)
        if len(self._queue) >= WARN_QUEUE and len(self._queue) % WARN_QUEUE == 0:
            log.warning("%d operations of the insurance fund wait", len(self._queue))
        if self._sequencer is not None:
            self._sequencer.hold(lambda: self._durable(seq))

    def attach(self, engine: Any, sequencer: Any) -> None:
        """The engine to answer; what was observed before this came from the journal and is durable."""
        self._engine, self._sequencer = engine, sequencer
        if self._queue:
            seq = self._queue[-1].seq
            sequencer.hold(lambda: self._durable(seq))

    def _durable(self, seq: int) -> None:
        self._durable_seq = max(self._durable_seq, seq)
        self._wake.set()

    # the work

    async def run(self) -> None:
        """Work operations off until cancelled; unavailability means back-off, never loss."""
        try:
            while True:
                while not self._queue or self._queue[0].seq > self._durable_seq:
                    self._wake.clear()
                    await self._wake.wait()
                await self._insist(self._queue[0])
                done = self._queue.popleft()
                if not self._queue or self._queue[0].seq > done.seq:
                    # an answer to the engine must be durable before its question is forgotten
                    self._sequencer.hold(lambda seq=done.seq: self._confirmed(seq))
        finally:
            if self.fund is not None:
                await self.fund.close()
                self.fund = None

    async def drained(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until nothing waits; False after the timeout."""
        for _ in range(int(timeout_seconds / 0.01)):
            if not self._queue:
                return True
            await asyncio.sleep(0.01)
        return not self._queue

    async def _insist(self, operation: Operation) -> None:
        attempt = 0
        while True:
            try:
                fund = await self._open()
                await self._do(fund, operation)
                return
            except FundUnavailable as error:
                self.failures += 1
                if attempt == 0:
                    log.warning("the insurance fund does not answer (%s); operations wait", error)
                await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                attempt += 1
            except FundFenced as error:
                self._on_fenced(error)
                raise
            except FundError as error:
                if error.code not in DEFINITE:  # the server's own trouble: full, read-only, no right, still loading
                    self.failures += 1
                    if attempt == 0:
                        log.error("the insurance fund's server cannot do %s (%s); operations wait", operation, error)
                    await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                    attempt += 1
                    continue
                log.error("the insurance fund refused %s: %s", operation, error)
                self.refused += 1
                return

    async def _open(self) -> InsuranceFund:
        if self.fund is None:
            self.fund = await InsuranceFund.open(self._url, self._engine.config.venue_id, self._epoch)
            if self.fund.durable is False:
                log.warning("the insurance fund's server does not sync every write")
            await self._close_unknown(self.fund)
        return self.fund

    async def _close_unknown(self, fund: InsuranceFund) -> None:
        """Give back leases that the fund holds for this venue and that neither engine nor queue knows."""
        known = {f"lease-{view.lease_id}" for view in self._engine.leases()}
        known |= {f"lease-{operation.lease_id}" for operation in self._queue}
        for lease in await fund.leases():
            if lease.lease_id not in known:
                log.warning("giving back the unknown lease %s", lease.lease_id)
                await fund.settle(lease.lease_id, 0)

    async def _do(self, fund: InsuranceFund, operation: Operation) -> None:
        currency = self._engine.config.currencies[operation.currency].name
        if operation.kind == "endow":
            await fund.endow(operation.operation_id, currency, operation.amount_minor)
        elif operation.kind == "credit":
            await fund.credit(operation.operation_id, currency, operation.amount_minor)
        elif operation.kind == "lease":
            await self._lease(fund, operation, currency)
        else:
            await self._settle(fund, operation)

    def _live(self, lease_id: int) -> LeaseView | None:
        return next((view for view in self._engine.leases() if view.lease_id == lease_id), None)

    async def _lease(self, fund: InsuranceFund, operation: Operation, currency: str) -> None:
        """Bring the lease to the total asked for, as far as the fund reaches, and tell the engine."""
        view = self._live(operation.lease_id)
        later = any(one.lease_id == operation.lease_id for one in list(self._queue)[1:])
        if view is None or view.state != "requested" or later:
            return  # answered in an earlier life, over, or asked for anew
        name = f"lease-{operation.lease_id}"
        held = next((one.granted_minor for one in await fund.leases() if one.lease_id == name), None)
        if held is None:
            held = (await fund.reserve(name, currency, operation.amount_minor)).total_minor
        elif held < operation.amount_minor:
            # the id names the total held before: a repetition is the same call, or rightly another one
            top_up_id = f"{operation.operation_id}-{held}"
            held = (await fund.top_up(name, top_up_id, operation.amount_minor - held)).total_minor
        view = self._live(operation.lease_id)
        if view is None or view.state != "requested":
            return
        claim = self._engine.ledger(currency)["fund"]
        amount = min(held, view.requested_minor, view.used_minor + claim)
        await self._tell(
            commands.record(
                CommandKind.GRANT_FUND_LEASE,
                lease_id=operation.lease_id,
                amount_minor=max(amount, view.granted_minor),
                currency=operation.currency,
                exhausted=int(amount < view.requested_minor),
            )
        )

    async def _settle(self, fund: InsuranceFund, operation: Operation) -> None:
        """Draw what was used, give the rest back, and tell the engine."""
        name = f"lease-{operation.lease_id}"
        try:
            await fund.settle(name, operation.amount_minor)
        except FundError as error:
            if error.code != "NOLEASE" or operation.amount_minor:
                raise  # a lease that was opened without a request was never known to the fund
        view = self._live(operation.lease_id)
        if view is None or view.state != "settling":
            return
        await self._tell(
            commands.record(
                CommandKind.SETTLE_FUND_LEASE,
                lease_id=operation.lease_id,
                used_minor=operation.amount_minor,
                currency=operation.currency,
            )
        )

    async def _tell(self, record: bytearray) -> None:
        while self._submit(commands.by(Actor.FUND_WORKER, bytearray(record))) is None:
            await asyncio.sleep(BACKOFF_SECONDS[0])

    def _confirmed(self, seq: int) -> None:
        """Everything up to `seq` is done and its answers are durable."""
        self.cursor = seq
        temporary = self._cursor_file.with_name(self._cursor_file.name + ".new")
        temporary.write_text(f"{seq}\n")
        os.replace(temporary, self._cursor_file)

    async def difference(self) -> dict[str, int]:
        """Fund's record of this venue's claim less the ledger's, per currency; zeros at rest."""
        fund = await self._open()
        found = {}
        for currency in self._engine.config.currencies:
            state = await fund.state(currency.name)
            claim = state.claims_minor.get(fund.venue_id, 0)
            found[currency.name] = claim - self._engine.ledger(currency.name)["fund"]
        return found
