"""A market crash on a served venue with bots: auctions, the fund, kill -9 in the middle, and the books at the end."""

import asyncio
import time
from pathlib import Path

import pytest

from exchange.engine import Engine
from gateway.admin import AdminClient
from gateway.venue_core import ADMIN_SOCKET, replay_into
from persistence.embedded_redis import EmbeddedRedis
from persistence.insurance_fund import InsuranceFund
from tests.serving import Served, margrave

pytestmark = [pytest.mark.redis, pytest.mark.full]
CONFIG = """
[sim]
shocks = [
  { after_ns = 5_000_000_000, log_return = -0.12 },
  { after_ns = 5_500_000_000, log_return = -0.12 },
  { after_ns = 6_000_000_000, log_return = -0.12 },
]
[liquidation]
fast_ns = 3_000_000_000
slow_ns = 5_000_000_000
[population]
accounts = 60
"""


def wait_for_auctions(venue: Served, closed: int, seconds: float) -> None:
    """Until so many auctions have closed since genesis."""
    deadline = time.monotonic() + seconds
    with AdminClient(venue.data_dir / ADMIN_SOCKET) as admin:
        while (counters := admin.call("status")["counters"])["auctions_closed"] < closed:
            assert time.monotonic() < deadline, counters
            assert venue.process.poll() is None, venue.errors()
            time.sleep(0.05)


async def fund_differences(data_dir: Path, engine: Engine) -> dict[str, int]:
    """Per currency: the fund's record less the ledger's claim, less what leases in flight have used."""
    with EmbeddedRedis.start(data_dir / "redis") as server:
        fund = await InsuranceFund.open(server.url, engine.config.venue_id, 0, attach=False)
        async with fund:
            found = {}
            for currency in engine.config.currencies:
                state = await fund.state(currency.name)
                in_flight = sum(one.used_minor for one in engine.leases() if one.currency == currency.name)
                claim = engine.ledger(currency.name)["fund"]
                found[currency.name] = state.claims_minor[fund.venue_id] - claim - in_flight
            return found


def test_a_crash_with_a_kill_in_the_middle_leaves_sound_books(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "venue.toml"
    file.write_text(CONFIG)
    with Served(data_dir, "--config", file, "--bots", "--seed", "8") as venue:
        wait_for_auctions(venue, 3, 60.0)
        venue.kill()
    assert margrave("verify", data_dir).returncode == 0
    with Served(data_dir, "--config", file, "--bots") as venue:
        wait_for_auctions(venue, 10, 60.0)
        assert venue.stop()[0] == 0, venue.errors()
    done = margrave("verify", data_dir)
    assert done.returncode == 0, done.stderr
    engine = Engine()
    replay_into(engine, data_dir / "journal")
    assert engine.counters().liquidations >= 10
    assert asyncio.run(fund_differences(data_dir, engine)) == {"BTC": 0, "ETH": 0, "USDC": 0}
