"""The fund worker: the only one who talks to the shared insurance fund, always after the fact.

What the engine said to do with the fund becomes operations (`gateway/fund_queue.py`), done one at a time in the order
of events, each once its event is durable. Every operation has an id made of its place in the journal, so it may be
repeated; the answer of the fund enters the engine as a command. Replay never calls the fund: after a crash the
operations behind the cursor are simply done again. While the fund's server is away operations wait; nothing else does.

The same worker runs on the venue's loop (`FundWorker`) or as a process of its own (`gateway/fund_remote.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exchange.views import LeaseView
from gateway.fund_desk import Desk, LocalDesk
from gateway.fund_queue import IN_MEMORY, Operation, operations, read_cursor
from persistence.insurance_fund import FundError, FundFenced, FundUnavailable, InsuranceFund
from persistence.redis_access import RedisAccess

log = logging.getLogger("gateway.liquidator")
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
DEFINITE = frozenset({"INSUFFICIENT", "EXCEEDED", "NOLEASE", "SETTLED", "CONFLICT", "OVERFLOW", "BADCALL"})
"""Refusals that no repetition changes; whatever else a server says is its own trouble and passes."""


def fund_name(lease_id: int) -> str:
    """The fund's name of an engine's lease."""
    return f"lease-{lease_id}"


class Worker:
    """Works one desk's operations off, one after the other."""

    def __init__(self, access: RedisAccess | str | None, desk: Desk):
        """`access` None: the desk is worked by another process."""
        self.desk = desk
        self._access = RedisAccess(access) if isinstance(access, str) else access
        self.fund: InsuranceFund | None = None
        self.failures = 0
        """Calls that had to be repeated because the server did not answer, or could not."""
        self.refused = 0
        """Operations that the fund refused for good: its record and the ledger differ by them."""

    async def work(self) -> None:
        """Work operations off until cancelled; unavailability means back-off, never loss. FundFenced where a later
        worker acts for the venue."""
        try:
            while True:
                operation = await self.desk.next()
                await self._insist(operation)
                await self.desk.done(operation)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection to the fund."""
        if self.fund is not None:
            await self.fund.close()
            self.fund = None

    async def reach(self, access: RedisAccess) -> None:
        """The server is somewhere else from now on."""
        self._access = access
        await self.close()

    async def _insist(self, operation: Operation) -> None:
        attempt = 0
        while True:
            try:
                await self._do(await self.open(), operation)
                return
            except FundFenced:
                raise
            except FundError as error:
                if error.code in DEFINITE:
                    log.error("the insurance fund refused %s: %s", operation, error)
                    self.refused += 1
                    return
                self.failures += 1
                if attempt == 0:
                    level = logging.WARNING if isinstance(error, FundUnavailable) else logging.ERROR
                    log.log(level, "the insurance fund cannot do %s now (%s); operations wait", operation, error)
                await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                attempt += 1

    async def open(self) -> InsuranceFund:
        """The connection, made where there is none."""
        if self._access is None:
            raise RuntimeError("the fund worker runs in another process")
        if self.fund is None:
            fund = await InsuranceFund.open(self._access, self.desk.venue_id, self.desk.epoch)
            try:
                if fund.durable is False:
                    log.warning("the insurance fund's server does not sync every write")
                await self._close_unknown(fund)
            except BaseException:
                await fund.close()
                raise
            self.fund = fund
        return self.fund

    async def _close_unknown(self, fund: InsuranceFund) -> None:
        """Give back leases that the fund holds for this venue and that the engine does not know (it knows a lease until
        the fund has confirmed its end)."""
        held = await fund.leases()
        known = {fund_name(view.lease_id) for view in await self.desk.leases()}
        for lease in held:
            if lease.lease_id not in known:
                log.warning("giving back the unknown lease %s", lease.lease_id)
                await fund.settle(lease.lease_id, 0)

    async def _do(self, fund: InsuranceFund, operation: Operation) -> None:
        currency = self.desk.currencies[operation.currency]
        if operation.kind == "endow":
            await fund.endow(operation.operation_id, currency, operation.amount_minor)
        elif operation.kind == "credit":
            await fund.credit(operation.operation_id, currency, operation.amount_minor)
        elif operation.kind == "lease":
            await self._lease(fund, operation, currency)
        else:
            await self._settle(fund, operation, currency)

    async def _live(self, lease_id: int) -> LeaseView | None:
        return next((view for view in await self.desk.leases() if view.lease_id == lease_id), None)

    async def _lease(self, fund: InsuranceFund, operation: Operation, currency: str) -> None:
        """Bring the lease to the total asked for, as far as the fund reaches, and tell the engine."""
        view = await self._live(operation.lease_id)
        if view is None or view.state != "requested" or view.requested_minor != operation.amount_minor:
            return  # answered in an earlier life, over, or asked for anew by an operation that follows
        name = fund_name(operation.lease_id)
        held = next((one.granted_minor for one in await fund.leases() if one.lease_id == name), None)
        if held is None:
            held = (await fund.reserve(name, currency, operation.amount_minor)).total_minor
        elif held < operation.amount_minor:
            # the id names the total held before: a repetition is the same call, or rightly another one
            top_up_id = f"{operation.operation_id}-{held}"
            held = (await fund.top_up(name, top_up_id, operation.amount_minor - held)).total_minor
        view = await self._live(operation.lease_id)
        if view is None or view.state != "requested":
            return
        claim = (await self.desk.claims())[operation.currency]
        amount = max(min(held, view.requested_minor, view.used_minor + claim), view.granted_minor)
        await self.desk.grant(operation.lease_id, operation.currency, amount, amount < view.requested_minor)

    async def _settle(self, fund: InsuranceFund, operation: Operation, currency: str) -> None:
        """Draw what was used, give the rest back, and tell the engine."""
        name = fund_name(operation.lease_id)
        try:
            await fund.settle(name, operation.amount_minor)
        except FundError as error:
            if error.code != "NOLEASE":
                raise
            if operation.amount_minor:  # a lease without a request was never known to the fund; this one it has lost
                log.error("the insurance fund has lost %s; what was drawn on it is taken from the claim", name)
                await fund.debit(operation.operation_id, currency, operation.amount_minor)
        view = await self._live(operation.lease_id)
        if view is None or view.state != "settling":
            return
        await self.desk.settled(operation.lease_id, operation.currency, operation.amount_minor)

    async def difference(self) -> dict[str, int]:
        """Fund's record of this venue's claim less the ledger's, per currency; zeros at rest."""
        fund = await self.open()
        found = {}
        for currency, ledger in zip(self.desk.currencies, await self.desk.claims(), strict=True):
            state = await fund.state(currency)
            found[currency] = state.claims_minor.get(fund.venue_id, 0) - ledger
        return found


class FundWorker(Worker):
    """A worker on its venue's own loop, with the desk: `observe` takes events in, `run` works them off."""

    desk: LocalDesk

    def __init__(
        self,
        access: RedisAccess | str | None,
        epoch: int,
        cursor_file: Path,
        submit: Callable[[bytearray], bytes | None],
        on_fenced: Callable[[Exception], None] = lambda error: None,
        in_memory: int = IN_MEMORY,
    ):
        super().__init__(access, LocalDesk(epoch, cursor_file, submit, in_memory, on_fenced))
        self._on_fenced = on_fenced

    @property
    def cursor(self) -> int:
        """The seq up to which everything is confirmed."""
        return self.desk.queue.cursor

    @property
    def waiting(self) -> int:
        """Operations not confirmed yet."""
        return len(self.desk.queue)

    def observe(self, seq: int, events: bytes) -> None:
        """Take in one command's events (also those of a replay)."""
        self.desk.observe(seq, events)

    def observe_facts(self, seq: int, facts: list[tuple[int, Any]]) -> None:
        """The same, decoded."""
        self.desk.observe_facts(seq, facts)

    def attach(self, engine: Any, sequencer: Any) -> None:
        """The engine to answer; what was observed before this came from the journal and is durable."""
        self.desk.attach(engine, sequencer)

    async def run(self) -> None:
        """`work`, telling the venue where a later life of it has taken over."""
        try:
            await self.work()
        except FundFenced as error:
            self._on_fenced(error)
            raise

    async def drained(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until nothing waits; False after the timeout."""
        for _ in range(int(timeout_seconds / 0.01)):
            if not self.waiting:
                return True
            await asyncio.sleep(0.01)
        return not self.waiting


__all__ = ["FundWorker", "Operation", "Worker", "operations", "read_cursor"]
