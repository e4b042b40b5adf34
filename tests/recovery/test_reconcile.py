"""`margrave fund`: the fund's books against its history, and a venue's ledger against the fund, from outside."""

import asyncio
import json
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from exchange.views import LeaseView
from gateway.admin import AdminClient
from gateway.cli_fund import app
from gateway.fund_queue import Operation
from gateway.reconcile import Books, audit, reconcile
from persistence.embedded_redis import EmbeddedRedis
from persistence.insurance_fund import InsuranceFund
from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis
KEY = "{margrave-fund}"


def fund(*words, status: int = 0):
    """A command in this process, which would take seconds to start another."""
    done = CliRunner().invoke(app, [str(word) for word in (*words, "--json")])
    assert done.exit_code == status, done.output
    return json.loads(done.stdout)


def test_a_running_venue_agrees_until_somebody_tampers(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Served(data_dir, "--config", small_config(tmp_path / "venue.toml")) as venue:
        with AdminClient(data_dir / "admin.sock") as admin:
            admin.call("endow_fund", currency="BTC", amount="0.0000000007")
        report = fund("reconcile", "--data-dir", data_dir)
        assert report["agrees"] and report["faults"] == []
        btc = report["currencies"]["BTC"]
        assert btc["ledger_minor"] == btc["fund_minor"] + btc["owed_minor"] == 100 * 10**10 + 7
        state = fund("state", "--data-dir", data_dir)
        assert state["faults"] == [] and state["leases"] == [] and state["currencies"]["USDC"]["free_minor"] > 0
        assert fund("cap", "BTC", "5", "--data-dir", data_dir, "--id", "one")["event_cap_minor"] == 5
        assert fund("cap", "BTC", "5", "--data-dir", data_dir, "--id", "one")["id"] == "one"
        entries = fund("history", "--data-dir", data_dir)["entries"]
        assert [one["kind"] for one in entries] == ["endow"] * 4 + ["limit"]
        first = fund("history", "--data-dir", data_dir, "--limit", "2")["entries"]
        rest = fund("history", "--data-dir", data_dir, "--after", first[-1]["entry_id"])["entries"]
        assert first + rest == entries
        with redis.Redis(unix_socket_path=(data_dir / "redis" / "server.lock").read_text()) as raw:
            raw.hincrby(f"{KEY}:claims:BTC", report["venue_id"], -3)
        broken = fund("state", "--data-dir", data_dir, status=1)
        assert any("sum of claims" in fault for fault in broken["faults"])
        broken = fund("reconcile", "--data-dir", data_dir, status=1)
        assert not broken["agrees"]
        assert any(f"claim of {report['venue_id']}" in fault for fault in broken["faults"])
        assert venue.stop()[0] == 0
    done = margrave("fund", "state", "--data-dir", data_dir)
    assert done.returncode == 1 and "UNAVAILABLE" in done.stderr
    for words in (("state",), ("reconcile", "--redis", "unix:///x"), ("cap",), ("history", "--limit", "0")):
        assert CliRunner().invoke(app, list(words)).exit_code == 2


def test_what_is_on_its_way_explains_a_difference_and_nothing_else_does(tmp_path: Path) -> None:
    used = LeaseView(lease_id=4, auction_id=1, currency="BTC", requested_minor=50, granted_minor=50, used_minor=20,
                     state="granted")  # fmt: skip

    async def scenario() -> None:
        async with await InsuranceFund.open(server.url, "v", 1) as reached:
            await reached.endow("1-0", "BTC", 100)
            await reached.credit("2-0", "BTC", 5)
            await reached.reserve("lease-4", "BTC", 50)
            waiting = [
                Operation(2, 0, "credit", 0, 5),
                Operation(3, 0, "credit", 0, 7),
                Operation(3, 1, "lease", 0, 9, 5),
            ]
            # 105 in the fund; the ledger has 7 more on their way, and has drawn 20
            books = Books("v", ["BTC"], [92], [used], waiting)
            report, last = await reconcile(reached, books)
            assert report.agrees, report
            assert report.on_the_way == ["credit 3-0: 7 BTC", "draw on lease-4: 20 BTC"]
            (one,) = report.currencies.values()
            assert (one.fund_minor, one.ledger_minor, one.drawn_minor, one.owed_minor) == (105, 92, 20, 7)
            assert last == [entry.entry_id async for entry in reached.history()][-1]
            for wrong, word in (
                (Books("v", ["BTC"], [91], [used], waiting), "1 minor units"),
                (Books("v", ["BTC"], [92], [used], waiting[1:2] * 2), "7 minor units"),
                (Books("v", ["BTC"], [92], [], waiting), "unknown to the venue"),
            ):
                report, _ = await reconcile(reached, wrong)
                assert not report.agrees and any(word in fault for fault in report.faults), report
            assert (await audit(reached)).faults == []

    with EmbeddedRedis.start(tmp_path) as server:
        asyncio.run(scenario())


def forged(kind: str, balance: str, free: str, *amounts: str) -> tuple[str, ...]:
    """An entry that somebody wrote past the functions."""
    fields = {"kind": kind, "venue": "v", "epoch": "1", "id": "l", "currency": "BTC", "amount": amounts[0]}
    fields |= {"result": amounts[1], "balance": balance, "free": free}
    return ("XADD", f"{KEY}:history", "*", *(word for pair in fields.items() for word in pair))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("HINCRBY", f"{KEY}:currency:BTC", "free", "1"), "free is 51, should be 50"),
        (("HINCRBY", f"{KEY}:currency:BTC", "leased", "-1"), "leased is 49, should be 50"),
        (("HINCRBY", f"{KEY}:claims:BTC", "w", "2"), "claim of w is 2, should be 0"),
        (("HSET", f"{KEY}:currency:BTC", "event_cap", "9"), "event cap is 9"),
        (forged("settle", "99", "90", "1", "40"), "held 50, settled 1 and released 40"),
        (forged("gift", "101", "51", "1", "1"), "unknown kind gift"),
        (forged("credit", "100", "50", "1", "1"), "says balance 100, free 50; history gives 101, 51"),
    ],
)
def test_every_kind_of_damage_is_found(tmp_path: Path, words, fault) -> None:
    async def scenario() -> None:
        async with await InsuranceFund.open(server.url, "v", 1) as reached:
            await reached.endow("e", "BTC", 100)
            await reached.reserve("l", "BTC", 50)
            assert (await audit(reached)).faults == []
            with redis.Redis.from_url(server.url) as raw:
                raw.execute_command(*words)
            assert any(fault in found for found in (await audit(reached)).faults)

    with EmbeddedRedis.start(tmp_path) as server:
        asyncio.run(scenario())
