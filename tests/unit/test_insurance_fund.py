"""The insurance fund on the real embedded server: exact integers, idempotence, fencing, leases,
conservation."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from persistence.embedded_redis import EmbeddedRedis
from persistence.insurance_fund import (
    AMOUNT_LIMIT_MINOR,
    Balance,
    FundError,
    FundFenced,
    FundState,
    FundUnavailable,
    Grant,
    InsuranceFund,
    Settlement,
)

ODD = 2**53 + 1  # the first integer a double cannot hold


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@pytest.fixture(scope="module", params=["embedded", "redis-server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The embedded server, and an installed redis-server (7.0 or later) where there is one."""
    directory = tmp_path_factory.mktemp("redis")
    if request.param == "embedded":
        with EmbeddedRedis.start(directory) as running:
            yield Server(running.url, running.pid)
        return
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    path = directory / "redis.sock"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", path, "--dir", directory, "--appendonly", "yes"]
        + ["--appendfsync", "always", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(unix_socket_path=str(path)) as client:
            client.ping()
        yield Server(f"unix://{path}", process.pid)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def url(server: Server) -> str:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        client.function_flush()
    return server.url


def run(url: str, scenario: Callable[[InsuranceFund], Awaitable[None]], venue: str = "one", epoch: int = 1) -> None:
    async def connected() -> None:
        async with await InsuranceFund.open(url, venue, epoch) as fund:
            await scenario(fund)

    asyncio.run(connected())


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(FundError) as caught:
        await call
    return caught.value.code


def test_sums_are_exact_beyond_doubles(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        assert await fund.endow("e1", "BTC", ODD) == Balance(ODD, ODD)
        assert await fund.credit("c1", "BTC", 2) == Balance(ODD + 2, ODD + 2)
        assert await fund.debit("d1", "BTC", 1) == Balance(ODD + 1, ODD + 1)
        assert await refused(fund.debit("d2", "BTC", ODD + 2)) == "INSUFFICIENT"
        assert await fund.reserve("l1", "BTC", ODD) == Grant(ODD, ODD)
        assert await fund.settle("l1", ODD - 2) == Settlement(ODD - 2, 2)
        assert await fund.state("BTC") == FundState("BTC", 3, 3, 0, {"one": 3})

    run(url, scenario)


def test_sums_stay_within_64_bits_and_refusals_change_nothing(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        assert await fund.credit("c1", "USD", AMOUNT_LIMIT_MINOR - 1) == Balance(*[AMOUNT_LIMIT_MINOR - 1] * 2)
        before = await fund.state("USD")
        assert await refused(fund.credit("c2", "USD", 2)) == "OVERFLOW"
        assert await fund.state("USD") == before
        assert await fund.credit("c2", "USD", 1) == Balance(AMOUNT_LIMIT_MINOR, AMOUNT_LIMIT_MINOR)
        # Another venue's claim has room, but the balance has none: the first of the sums must be undone.
        async with await InsuranceFund.open(url, "two", 1) as other:
            assert await refused(other.credit("c1", "USD", 1)) == "OVERFLOW"
            assert (await other.state("USD")).claims_minor == {"one": AMOUNT_LIMIT_MINOR, "two": 0}
            assert await refused(other.debit("d1", "USD", 1)) == "INSUFFICIENT"
            assert await fund.debit("d1", "USD", 5) == Balance(*[AMOUNT_LIMIT_MINOR - 5] * 2)
            assert await other.credit("c2", "USD", 5) == Balance(*[AMOUNT_LIMIT_MINOR] * 2)
            assert await refused(fund.credit("c3", "USD", 1)) == "OVERFLOW"
            assert (await other.state("USD")).claims_minor == {"one": AMOUNT_LIMIT_MINOR - 5, "two": 5}
        for amount in (-1, AMOUNT_LIMIT_MINOR + 1, 1.0, "1"):
            assert await refused(fund.credit("c9", "USD", amount)) == "BADCALL"  # type: ignore[arg-type]

    run(url, scenario)


def test_every_operation_is_idempotent(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        calls = [
            (fund.endow, ("e", "BTC", 100), Balance(100, 100)),
            (fund.credit, ("c", "BTC", 50), Balance(150, 150)),
            (fund.debit, ("d", "BTC", 30), Balance(120, 120)),
            (fund.reserve, ("l", "BTC", 80), Grant(80, 80)),
            (fund.top_up, ("l", "t", 100), Grant(40, 120)),
            (fund.top_up, ("l", "u", 1), Grant(0, 120)),
            (fund.reserve, ("m", "BTC", 5), Grant(0, 0)),
            (fund.settle, ("l", 70), Settlement(70, 50)),
            (fund.settle, ("m", 0), Settlement(0, 0)),
        ]
        for method, arguments, answer in calls:
            assert await method(*arguments) == answer
            assert await method(*arguments) == answer
        for method, arguments, answer in calls:
            assert await method(*arguments) == answer
        assert await fund.state("BTC") == FundState("BTC", 50, 50, 0, {"one": 50})
        history = [entry async for entry in fund.history()]
        assert [entry.kind for entry in history] == [
            "endow", "credit", "debit", "reserve", "top_up", "top_up", "reserve", "settle", "settle",
        ]  # fmt: skip
        assert [entry.free_minor for entry in history] == [100, 150, 120, 40, 0, 0, 0, 50, 50]
        later = [entry async for entry in fund.history(after=history[6].entry_id)]
        assert later == history[7:]

    run(url, scenario)


def test_ids_cannot_be_reused_for_something_else(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        await fund.endow("e", "BTC", 100)
        await fund.reserve("l", "BTC", 10)
        await fund.top_up("l", "t", 5)
        for call in (
            fund.endow("e", "BTC", 101),
            fund.endow("e", "ETH", 100),
            fund.credit("e", "BTC", 100),
            fund.reserve("l", "BTC", 11),
            fund.reserve("l", "ETH", 10),
            fund.top_up("l", "t", 6),
            fund.top_up("l", "e", 100),
        ):
            assert await refused(call) == "CONFLICT"
        assert await refused(fund.settle("l", 16)) == "EXCEEDED"
        assert await refused(fund.settle("none", 0)) == "NOLEASE"
        assert await refused(fund.top_up("none", "x", 0)) == "NOLEASE"
        assert await fund.settle("l", 15) == Settlement(15, 0)
        assert await refused(fund.settle("l", 14)) == "CONFLICT"
        assert await refused(fund.top_up("l", "v", 1)) == "SETTLED"
        for bad in ("", "a b", "x" * 129, "ü"):
            assert await refused(fund.credit(bad, "BTC", 1)) == "BADCALL"
        assert await fund.state("BTC") == FundState("BTC", 85, 85, 0, {"one": 85})

    run(url, scenario)


def test_a_stale_epoch_is_refused_everywhere(url: str) -> None:
    async def scenario(stale: InsuranceFund) -> None:
        await stale.endow("e", "BTC", 100)
        await stale.reserve("l", "BTC", 60)
        async with await InsuranceFund.open(url, "one", 8) as fresh:
            for call in (
                stale.endow("e", "BTC", 100),
                stale.credit("c", "BTC", 1),
                stale.debit("d", "BTC", 1),
                stale.reserve("m", "BTC", 1),
                stale.top_up("l", "t", 1),
                stale.settle("l", 1),
            ):
                with pytest.raises(FundFenced):
                    await call
            with pytest.raises(FundFenced):
                await InsuranceFund.open(url, "one", 7)
            # The successor sees the lease, and the first answers hold for it as well.
            (lease,) = await fresh.leases()
            assert (lease.lease_id, lease.currency, lease.granted_minor, lease.epoch) == ("l", "BTC", 60, 7)
            assert await fresh.reserve("l", "BTC", 60) == Grant(60, 60)
            assert await fresh.settle("l", 10) == Settlement(10, 50)
            assert await fresh.leases() == []
        async with await InsuranceFund.open(url, "two", 1) as other:  # epochs are per venue
            assert await other.endow("e", "BTC", 1) == Balance(91, 91)

    run(url, scenario, epoch=7)


def test_concurrent_reservations_never_exceed_a_claim(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        await fund.endow("e", "BTC", 1000)
        async with await InsuranceFund.open(url, "two", 1) as other:
            await other.endow("e", "BTC", 100)
            both = [(f, f"l{i}") for i in range(40) for f in (fund, other)]
            grants = await asyncio.gather(*(f.reserve(lease_id, "BTC", 37) for f, lease_id in both))
            for venue, claim, rest in ((fund, 1000, 1), (other, 100, 26)):
                mine = [grant.granted_minor for grant, (f, _) in zip(grants, both, strict=True) if f is venue]
                assert sum(mine) == claim and sorted(set(mine)) == [0, rest, 37]
            assert len(await fund.leases()) == len(await other.leases()) == 40

    run(url, scenario)


def test_one_default_takes_at_most_the_event_cap(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        await fund.endow("e", "BTC", 2 * ODD)
        for _ in range(2):
            await fund.limit("cap-1", "BTC", ODD)
        assert (await fund.state("BTC")).event_cap_minor == ODD
        assert await fund.reserve("l", "BTC", ODD - 4) == Grant(ODD - 4, ODD - 4)
        assert await fund.top_up("l", "t", 100) == Grant(4, ODD)
        assert await fund.reserve("m", "BTC", ODD) == Grant(ODD, ODD)  # another default
        assert await refused(fund.limit("cap-1", "BTC", 5)) == "CONFLICT"
        await fund.limit("cap-2", "BTC", 10)
        assert await fund.top_up("l", "u", 1) == Grant(0, ODD)  # holds more and keeps it
        assert await fund.settle("l", 5) == Settlement(5, ODD - 5)
        await fund.limit("cap-3", "BTC", AMOUNT_LIMIT_MINOR)
        assert await fund.reserve("n", "BTC", ODD) == Grant(ODD - 5, ODD - 5)
        kinds = [(entry.kind, entry.amount_minor) async for entry in fund.history() if entry.kind == "limit"]
        assert kinds == [("limit", ODD), ("limit", 10), ("limit", AMOUNT_LIMIT_MINOR)]

    run(url, scenario)


def test_claims_of_an_earlier_library_are_counted_at_first_use(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        await fund.endow("e", "BTC", 100)
        await fund.reserve("l", "BTC", 60)
        with redis.Redis.from_url(url) as client:
            client.delete("{margrave-fund}:available:BTC")
            assert await fund.reserve("m", "BTC", 60) == Grant(40, 40)
            client.delete("{margrave-fund}:available:BTC")
            assert await fund.settle("l", 10) == Settlement(10, 50)
            assert await fund.reserve("n", "BTC", 60) == Grant(50, 50)

    run(url, scenario)


def test_random_operations_match_a_plain_model(url: str) -> None:
    """Against a model in Python integers; balance = free + leased = sum of claims after every operation."""
    rng = random.Random(11)

    async def scenario(fund: InsuranceFund) -> None:
        async with await InsuranceFund.open(url, "two", 1) as second:
            free, leased = 0, 0
            claims = {"one": 0, "two": 0}
            granted: dict[tuple[str, str], int] = {}
            scale = 2**56

            def held(venue: str) -> int:
                return sum(amount for (name, _), amount in granted.items() if name == venue)

            for i in range(400):
                actor = rng.choice([fund, second])
                venue, amount = actor.venue_id, rng.randrange(scale)
                open_ids = [lease_id for name, lease_id in granted if name == venue]
                kind = rng.choice(["credit", "debit", "reserve", "top_up", "settle"])
                if kind == "credit":
                    await actor.credit(f"o{i}", "BTC", amount)
                    free, claims[venue] = free + amount, claims[venue] + amount
                elif kind == "debit":
                    if amount > claims[venue] - held(venue):
                        assert await refused(actor.debit(f"o{i}", "BTC", amount)) == "INSUFFICIENT"
                        continue
                    await actor.debit(f"o{i}", "BTC", amount)
                    free, claims[venue] = free - amount, claims[venue] - amount
                elif kind == "reserve" or not open_ids:
                    expected = min(amount, claims[venue] - held(venue))
                    assert (await actor.reserve(f"l{i}", "BTC", amount)).granted_minor == expected
                    free, leased = free - expected, leased + expected
                    granted[venue, f"l{i}"] = expected
                elif kind == "top_up":
                    lease_id, expected = rng.choice(open_ids), min(amount, claims[venue] - held(venue))
                    total = granted[venue, lease_id] + expected
                    assert await actor.top_up(lease_id, f"o{i}", amount) == Grant(expected, total)
                    free, leased = free - expected, leased + expected
                    granted[venue, lease_id] = total
                else:
                    lease_id = rng.choice(open_ids)
                    total = granted.pop((venue, lease_id))
                    used = rng.randint(0, total)
                    assert await actor.settle(lease_id, used) == Settlement(used, total - used)
                    free, leased, claims[venue] = free + total - used, leased - total, claims[venue] - used
                state = await actor.state("BTC")
                seen = {venue: state.claims_minor.get(venue, 0) for venue in claims}
                assert (state.balance_minor, state.free_minor, state.leased_minor, seen) == (
                    free + leased, free, leased, claims,
                )  # fmt: skip
                assert state.balance_minor == sum(claims.values())

    run(url, scenario)


def test_functions_survive_being_flushed_and_newer_ones_are_left_alone(url: str) -> None:
    async def scenario(fund: InsuranceFund) -> None:
        assert fund.durable is True
        await fund.endow("e", "BTC", 5)
        with redis.Redis.from_url(url) as client:
            client.function_flush()
            assert await fund.endow("f", "BTC", 5) == Balance(10, 10)
            client.function_load(
                "#!lua name=margrave_fund\nredis.register_function{function_name='margrave_fund_version',"
                "callback=function() return '999' end, flags={'no-writes'}}",
                replace=True,
            )
        with pytest.raises(FundError) as caught:
            await InsuranceFund.open(url, "one", 2)
        assert caught.value.code == "VERSION"

    run(url, scenario)


def test_restart_keeps_everything_and_reconnects(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = EmbeddedRedis.start(tmp_path)
        try:
            async with await InsuranceFund.open(server.url, "one", 1, call_timeout_seconds=1.0) as fund:
                await fund.endow("e", "BTC", ODD)
                assert (await fund.reserve("l", "BTC", 10)).granted_minor == 10
                server.stop()
                with pytest.raises(FundUnavailable):
                    await fund.top_up("l", "t", 1)
                server = EmbeddedRedis.start(tmp_path)
                assert await fund.top_up("l", "t", 1) == Grant(1, 11)
                assert await fund.state("BTC") == FundState("BTC", ODD, ODD - 11, 11, {"one": ODD})
        finally:
            server.stop()

    asyncio.run(scenario())


def test_a_silent_server_is_unavailable_in_time(url: str, server: Server) -> None:
    async def scenario() -> None:
        async with await InsuranceFund.open(url, "one", 1, call_timeout_seconds=0.3) as fund:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                with pytest.raises(FundUnavailable):
                    await asyncio.wait_for(fund.credit("c", "BTC", 1), 2)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            # The call may or may not have been done; repeating it settles the question.
            assert await fund.credit("c", "BTC", 1) == Balance(1, 1)

    asyncio.run(scenario())
