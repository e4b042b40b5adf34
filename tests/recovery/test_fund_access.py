"""An operator's own server: TLS both ways, a user with the few rights that the fund needs, secrets in files."""

import asyncio
from pathlib import Path

import pytest
import redis

from persistence.insurance_fund import Balance, FundError, FundState, Grant, InsuranceFund, Settlement
from persistence.redis_access import RedisAccess, RedisAccessError, connect
from tests.redis_server import access, secured

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    with secured(folder) as (port, pem):
        yield folder, port, pem


async def everything(reached: RedisAccess, venue: str) -> None:
    """Each function of the fund, and its history."""
    async with await InsuranceFund.open(reached, venue, 1) as fund:
        assert fund.durable is True
        assert await fund.endow("e", venue, 100) == Balance(100, 100)
        assert await fund.credit("c", venue, 10) == Balance(110, 110)
        assert await fund.debit("d", venue, 5) == Balance(105, 105)
        assert await fund.reserve("l", venue, 50) == Grant(50, 50)
        assert await fund.top_up("l", "t", 10) == Grant(10, 60)
        await fund.limit("m", venue, 80)
        assert [lease.granted_minor for lease in await fund.leases()] == [60]
        assert await fund.settle("l", 20) == Settlement(20, 40)
        assert await fund.state(venue) == FundState(venue, 85, 85, 0, {venue: 85}, 80)
        assert len([entry async for entry in fund.history() if entry.venue_id == venue]) == 7


def test_the_fund_works_over_tls_with_the_documented_rights(server) -> None:
    folder, port, pem = server
    asyncio.run(everything(access(folder, port, pem), "ABC"))


def test_the_user_may_do_nothing_else(server) -> None:
    folder, port, pem = server

    async def refused() -> None:
        client = connect(access(folder, port, pem))
        for words in (
            ("FLUSHALL",), ("SET", "x", "1"), ("DEL", "{margrave-fund}:history"), ("HSET", "x", "a", "1"),
            ("KEYS", "*"), ("EVAL", "return 1", "0"), ("FUNCTION", "FLUSH"), ("CONFIG", "SET", "appendonly", "no"),
            ("XTRIM", "{margrave-fund}:history", "MAXLEN", "0"), ("SHUTDOWN",),
        ):  # fmt: skip
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.execute_command(*words)
        await client.aclose()

    asyncio.run(refused())


@pytest.mark.parametrize("fault", ["no ca", "wrong ca", "no certificate", "wrong certificate", "wrong name", "plain"])
def test_a_connection_that_is_not_secured_as_it_should_be_is_none(server, fault) -> None:
    folder, port, pem = server
    good = access(folder, port, pem)
    changed = {
        "no ca": access(folder, port, pem, ca=None),
        "wrong ca": access(folder, port, pem, ca=pem["stranger"]),
        "no certificate": access(folder, port, pem, certificate=None, key=None),
        "wrong certificate": access(folder, port, pem, certificate=pem["stranger"], key=pem["stranger-key"]),
        "wrong name": RedisAccess(good.url.replace("127.0.0.1", "localhost"), good.user, good.password_file, good.ca,
                                  good.certificate, good.key),
        "plain": RedisAccess(good.url.replace("rediss", "redis"), good.user, good.password_file),
    }[fault]  # fmt: skip

    async def tried() -> None:
        with pytest.raises(FundError) as caught:
            await InsuranceFund.open(changed, "v", 1, call_timeout_seconds=3.0)
        assert caught.value.code == "UNAVAILABLE"

    asyncio.run(tried())


def test_a_wrong_password_is_refused_and_said(server, tmp_path: Path) -> None:
    folder, port, pem = server
    wrong = tmp_path / "wrong"
    wrong.write_text("guess\n")
    wrong.chmod(0o600)

    async def tried(reached: RedisAccess, code: str, word: str) -> None:
        with pytest.raises(FundError, match=word) as caught:
            await InsuranceFund.open(reached, "v", 1, call_timeout_seconds=3.0)
        assert caught.value.code == code

    asyncio.run(tried(access(folder, port, pem, password_file=wrong), "UNAVAILABLE", "WRONGPASS|invalid username"))
    wrong.chmod(0o644)
    asyncio.run(tried(access(folder, port, pem, password_file=wrong), "ACCESS", "0600"))
    asyncio.run(tried(access(folder, port, pem, password_file=tmp_path / "none"), "ACCESS", "No such file"))


def test_what_cannot_be_right_is_said_before_anything_is_tried(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    for wrong, word in (
        (RedisAccess("http://x"), "expected"),
        (RedisAccess("redis://"), "expected"),
        (RedisAccess("redis://x", ca=secret), "rediss"),
        (RedisAccess("rediss://x", certificate=secret), "go together"),
        (RedisAccess("rediss://x", ca=tmp_path / "none"), "cannot be read"),
        (RedisAccess("redis://u:p@x", password_file=secret), "not in both"),
    ):
        with pytest.raises(RedisAccessError, match=word):
            wrong.check()
    assert RedisAccess("rediss://u:p@x:1/0").shown == "rediss://x:1/0"
