"""Client of the shared insurance fund: one server-side function per operation, atomic, idempotent and fenced.

Amounts are whole minor units of a currency, 0 to 2^63 - 1, and exact over that range. Operation and lease ids
belong to the venue; repeating a call with the same id and arguments returns the first answer, so every call
may be sent again after a lost connection. The functions are in insurance_fund.lua.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import resources
from typing import Self

import redis
import redis.asyncio

from persistence.errors import PersistenceError
from persistence.redis_access import RedisAccess, RedisAccessError, connect

LIBRARY = "margrave_fund"
LIBRARY_VERSION = 2
LIBRARY_FILES = ("insurance_fund_base.lua", "insurance_fund.lua")
AMOUNT_LIMIT_MINOR = 2**63 - 1
_HISTORY_PAGE = 500


class FundError(PersistenceError):
    """The fund refused a call; nothing was changed. `code` is one of

    FENCED        a process with a later epoch acts for this venue (raised as FundFenced)
    INSUFFICIENT  a debit larger than what is free of the venue's claim
    EXCEEDED      a settlement larger than the lease
    NOLEASE, SETTLED    the lease is unknown, or settled already
    CONFLICT      the id was used before with other arguments
    OVERFLOW      a sum would leave 64 bits
    BADCALL       an id, currency or amount is malformed
    UNAVAILABLE   no answer in time: it may have been done, repeat it with its id (raised as FundUnavailable)
    ACCESS        the address, secret or certificate cannot be used
    SERVER        any other error of the server: no right, out of memory, read-only, loading
    VERSION       the server's function library is newer than this client
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class FundFenced(FundError):
    """This process is stale and must stop acting for the venue."""


class FundUnavailable(FundError):
    """The outcome is unknown; repeat the call with the same id."""


_CODES = frozenset({"FENCED", "INSUFFICIENT", "EXCEEDED", "NOLEASE", "SETTLED", "CONFLICT", "OVERFLOW", "BADCALL"})


@dataclass(frozen=True, slots=True)
class Balance:
    """The fund in one currency right after a credit or debit."""

    balance_minor: int
    free_minor: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a reserve or top-up added to the lease (0: the fund is exhausted), and the lease's total."""

    granted_minor: int
    total_minor: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a lease ended: used was drawn from the fund, released went back to the free part."""

    used_minor: int
    released_minor: int


@dataclass(frozen=True, slots=True)
class FundState:
    """One currency: balance = free + leased = sum of the venues' claims. event_cap_minor: most that a lease holds."""

    currency: str
    balance_minor: int
    free_minor: int
    leased_minor: int
    claims_minor: dict[str, int]
    event_cap_minor: int = AMOUNT_LIMIT_MINOR


@dataclass(frozen=True, slots=True)
class OpenLease:
    """A lease not settled yet; epoch is that of the process that took it."""

    lease_id: str
    currency: str
    granted_minor: int
    epoch: int


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One operation. result_minor was granted, released, credited or debited; balances are after it."""

    entry_id: str
    kind: str
    venue_id: str
    epoch: int
    operation_id: str
    currency: str
    amount_minor: int
    result_minor: int
    balance_minor: int
    free_minor: int


class InsuranceFund:
    """The fund for one venue's process, known by (venue_id, epoch). open() and close(), or async with."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        venue_id: str,
        epoch: int,
        *,
        name: str,
        call_timeout_seconds: float,
    ) -> None:
        self._client = client
        self._key = "{" + name + "}"
        self._call_timeout_seconds = call_timeout_seconds
        self.venue_id = venue_id
        self.epoch = epoch
        self.durable: bool | None = None

    @classmethod
    async def open(
        cls,
        access: RedisAccess | str,
        venue_id: str,
        epoch: int,
        *,
        name: str = "margrave-fund",
        call_timeout_seconds: float = 5.0,
        attach: bool = True,
    ) -> Self:
        """Connect, load the function library if it is missing or old, fence older epochs (with `attach`).

        Afterwards `durable` says whether the server syncs each write before it answers; None: unknown.
        """
        try:
            client = connect(access)
        except RedisAccessError as error:
            raise FundError("ACCESS", str(error)) from None
        fund = cls(client, venue_id, epoch, name=name, call_timeout_seconds=call_timeout_seconds)
        try:
            await fund._guarded(fund._load_library())
            fund.durable = await fund._guarded(fund._read_durability())
            if attach:
                await fund._write("attach")
        except BaseException:
            await fund.close()
            raise
        return fund

    async def close(self) -> None:
        """Close the connections; open leases stay open."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def endow(self, operation_id: str, currency: str, amount_minor: int) -> Balance:
        """Add capital from outside."""
        return Balance(*map(int, await self._write("endow", operation_id, currency, _amount(amount_minor))))

    async def credit(self, operation_id: str, currency: str, amount_minor: int) -> Balance:
        """Add what the venue's ledger owes the fund: fees, dust, remainders of liquidations."""
        return Balance(*map(int, await self._write("credit", operation_id, currency, _amount(amount_minor))))

    async def debit(self, operation_id: str, currency: str, amount_minor: int) -> Balance:
        """Take from the free part of this venue's claim; INSUFFICIENT where it holds less."""
        return Balance(*map(int, await self._write("debit", operation_id, currency, _amount(amount_minor))))

    async def reserve(self, lease_id: str, currency: str, amount_minor: int) -> Grant:
        """Take a lease on the amount, or on as much as is free of this venue's claim and the event cap allows."""
        return Grant(*map(int, await self._write("reserve", lease_id, currency, _amount(amount_minor))))

    async def top_up(self, lease_id: str, operation_id: str, amount_minor: int) -> Grant:
        """Add the amount to an open lease, or as much as claim and event cap leave."""
        return Grant(*map(int, await self._write("top_up", lease_id, operation_id, _amount(amount_minor))))

    async def settle(self, lease_id: str, used_minor: int) -> Settlement:
        """End a lease: draw what was used, free the rest."""
        return Settlement(*map(int, await self._write("settle", lease_id, _amount(used_minor))))

    async def limit(self, operation_id: str, currency: str, event_cap_minor: int) -> None:
        """Set what one lease, which is one default, may hold at most, for all venues; AMOUNT_LIMIT_MINOR: no cap."""
        await self._write("limit", operation_id, currency, _amount(event_cap_minor))

    async def state(self, currency: str) -> FundState:
        """Balances and claims in one currency; zeros where the fund has none of it."""
        balance, free, leased, cap, *claims = await self._read("state", currency)
        venues = dict(zip(claims[::2], map(int, claims[1::2]), strict=True))
        return FundState(currency, int(balance), int(free), int(leased), venues, int(cap))

    async def leases(self) -> list[OpenLease]:
        """This venue's open leases by id, for closing the difference after a crash."""
        words = await self._read("leases", self.venue_id)
        rows = zip(*[iter(words)] * 4, strict=True)
        return sorted(
            (OpenLease(lease_id, currency, int(granted), int(epoch)) for lease_id, currency, granted, epoch in rows),
            key=lambda lease: lease.lease_id,
        )

    async def history(self, after: str = "-") -> AsyncIterator[HistoryEntry]:
        """All operations in order, of every venue; `after` an entry_id begins behind that entry."""
        start = after if after == "-" else f"({after}"
        while True:
            page = await self._guarded(self._client.xrange(f"{self._key}:history", min=start, count=_HISTORY_PAGE))
            for entry_id, fields in page:
                yield HistoryEntry(
                    entry_id,
                    fields["kind"],
                    fields["venue"],
                    int(fields["epoch"]),
                    fields["id"],
                    fields["currency"],
                    int(fields["amount"]),
                    int(fields["result"]),
                    int(fields["balance"]),
                    int(fields["free"]),
                )
            if len(page) < _HISTORY_PAGE:
                return
            start = f"({page[-1][0]}"

    async def _write(self, function: str, *words: str) -> list[str]:
        return await self._call(self._client.fcall, function, self.venue_id, str(self.epoch), *words)

    async def _read(self, function: str, *words: str) -> list[str]:
        return await self._call(self._client.fcall_ro, function, *words)

    async def _call(self, fcall, function: str, *words: str):
        async def attempt():
            try:
                return await fcall(f"{LIBRARY}_{function}", 1, self._key, *words)
            except redis.ResponseError as error:
                if "Function not found" not in str(error):
                    raise
                # The server was replaced by an empty one; its data decides what the call means now.
                await self._load_library()
                return await fcall(f"{LIBRARY}_{function}", 1, self._key, *words)

        return await self._guarded(attempt())

    async def _guarded(self, awaitable):
        """Await within the time limit, errors in the fund's terms.

        The call is a task of its own: the client library may swallow a cancellation (redis 8.1 under Python
        3.11 does), and neither the time limit nor who cancels this may depend on it.
        """
        call = asyncio.ensure_future(awaitable)
        try:
            async with asyncio.timeout(self._call_timeout_seconds):
                await asyncio.wait({call})
            return call.result()
        except (redis.ConnectionError, redis.TimeoutError, TimeoutError) as error:
            raise FundUnavailable("UNAVAILABLE", str(error) or "no answer in time") from error
        except redis.RedisError as error:
            code, _, message = str(error).partition(" ")
            if code == "FENCED":
                raise FundFenced(code, message) from None
            if code in _CODES:
                raise FundError(code, message) from None
            raise FundError("SERVER", str(error)) from error
        finally:
            if not call.done():
                call.cancel()
                call.add_done_callback(_forget)

    async def _load_library(self) -> None:
        """Put this client's library on the server unless it has the same or a later one."""
        files = resources.files(__package__)
        code = "\n".join(files.joinpath(name).read_text() for name in LIBRARY_FILES)
        try:
            found = int(await self._client.fcall_ro(f"{LIBRARY}_version", 1, self._key))
        except redis.ResponseError as error:
            if "Function not found" not in str(error):
                raise
            found = 0
        if found > LIBRARY_VERSION:
            raise FundError("VERSION", f"the server has function library {found}, this client {LIBRARY_VERSION}")
        if found < LIBRARY_VERSION:
            await self._client.function_load(code, replace=True)

    async def _read_durability(self) -> bool | None:
        try:
            settings = await self._client.config_get("append*")
        except redis.ResponseError:
            return None
        return settings.get("appendonly") == "yes" and settings.get("appendfsync") == "always"


def _forget(call: asyncio.Future) -> None:
    """An abandoned call's outcome is of no interest to anybody."""
    if not call.cancelled():
        call.exception()


def _amount(amount_minor: int) -> str:
    if not isinstance(amount_minor, int) or not 0 <= amount_minor <= AMOUNT_LIMIT_MINOR:
        raise FundError("BADCALL", f"{amount_minor!r} is not an amount of 0 to 2^63 - 1 minor units")
    return str(amount_minor)
